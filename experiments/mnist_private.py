"""MNIST by DP-SGD: a model of which no example can be told, and what that costs.

    pip install "unlearn-jax[privacy]"
    python launch.py --experiment=mnist_private

Trains at several epsilon, and without noise. Canaries, images with wrong labels, are
trained on by a coin each: what an attack tells of them bounds epsilon from below,
beside what is proven. Noise that is a tenth of what its epsilon needs is the control:
where it is not refuted, a low bound says nothing of the others either. It ends in
`summary.md`, `results.csv` and `figures/privacy.png`. The digits, in half a minute:

    python launch.py --experiment=mnist_private --config.data.name=digits \\
        --config.model.name=mlp --config.model.widths=64, --config.model.dense=0 \\
        --config.delta=1e-4 --config.canaries=200 --config.train.batch_size=512 \\
        --config.train.steps=60 --config.train.learning_rate=1 --seeds=5
"""


def get_config(preset: str):
    from ml_collections import ConfigDict

    from ._private import recipe

    config = ConfigDict(
        {
            "data": {"name": "mnist", "examples": 0, "test": 0},  # 0: all
            "model": {  # dense 0: of nets that have no such setting
                "name": "cnn",
                "widths": (16, 32, 32),
                "dense": 32,
            },
            "train": recipe(
                steps=300, batch_size=1024, learning_rate=4.0, microbatch=32
            ),
            "epsilons": (1.0, 3.0, 8.0),
            "delta": 1e-5,
            "broken": 3.0,  # the epsilon that a tenth of its noise claims
            "canaries": 1000,
            "request": 10,  # examples of a request, for its budget
            "seeds": 2,
        }
    )
    if preset == "full":
        config.train.update(steps=3000, batch_size=2048)
        config.seeds = 10
    if preset == "smoke":
        config.data.name = "synthetic:8x8x1,classes=4,train=200,test=60"
        config.model.update(widths=(4,), dense=4)
        config.train.update(steps=3, batch_size=40, microbatch=8)
        config.update(epsilons=(3.0,), delta=1e-3, canaries=20, seeds=2)
    return config


def run(config, folder, *, data_dir=None):
    """Trains every model, attacks it; continues where it stopped."""
    from . import _private

    return _private.run(config, folder, data_dir=data_dir)
