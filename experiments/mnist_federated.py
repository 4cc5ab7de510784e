"""Federated MNIST: one of 10 or of 100 clients leaves; what is left, who pays.

    python launch.py --experiment=mnist_federated

Clients that are alike or not (Dirichlet 1 and 0.1). The client that leaves has clean
images, then a backdoor, then wrong labels; every method is compared with federations
that never had it: test accuracy, the backdoor, wrong labels that are given back, the
attack on the client as a whole, the loss of every other client, and what the method
costs in rounds, messages and storage. It ends in `federated.html`, `summary.md` and
`results.csv`. Floats of the methods were chosen by attacks on another client
(`--tune`). `full`: 60,000 images and a convolutional net; not run yet.
"""


def get_config(preset: str):
    from ml_collections import ConfigDict

    from unlearn.metrics import purpose

    from ._federated import constants_of, recipe

    config = ConfigDict(
        {
            "data": {
                "name": "mnist",
                "examples": 1500,  # of all clients
                "test": 1000,
                "server": 300,  # that the server has, without labels
            },
            "model": {"name": "mlp", "widths": (64, 64)},
            "clients": (10, 100),
            "alphas": (1.0, 0.1),
            # Of 10 clients all take part in each round, of 100 a fifth.
            "train": recipe(
                rounds=40,
                participants=20,
                batch_size=10,
                learning_rate=0.1,
                keep_every=2,
            ),
            "tune": {"trials": 8, "seeds": 12, "utility": purpose.TEST},
            "run": RUN,
            "methods": {name: constants_of(name) for name in RUN},
            "seeds": 24,  # federations with the client's own images
            "planted_seeds": 8,  # with a backdoor, and with wrong labels
        }
    )
    set_rounds(config, 8)
    for name, constants in TUNED.items():
        config.methods[name].update(constants)
    if preset == "full":
        config.data.update(examples=0, test=0, server=5000)
        config.model.update(name="cnn", widths=(32, 64))
        config.train.update(rounds=100, batch_size=32)
        set_rounds(config, 20)
        config.seeds, config.planted_seeds = 64, 10
    if preset == "smoke":
        config.data.name = "synthetic:28x28x1,classes=10,train=120,test=60"
        config.data.update(examples=0, test=0, server=20)
        config.model.widths = (2, 2)
        config.clients, config.alphas = (4,), (1.0,)
        config.train.update(rounds=4, participants=0)
        config.tune.update(trials=2, seeds=4)
        set_rounds(config, 1)
        config.seeds = config.planted_seeds = 4
        config.run = "retrain", "federaser"
    return config


def set_rounds(config, rounds: int) -> None:
    """Gives every method that takes rounds, but full retraining, as many."""
    for name, constants in config.methods.items():
        if "rounds" in constants and name != "retrain":
            constants.rounds = rounds


RUN = (
    "retrain",
    "retrain__short",
    "federaser",
    "projected_ascent",
    "negation",
    "pseudo_gradient",
    "distillation",
)


# By `--tune`, eight trials each; `retrain__short` and `projected_ascent` stay as they
# are, and `federaser` has no floats.
TUNED = {
    "negation": dict(rate=0.641),
    "pseudo_gradient": dict(scale=1.31, rate=0.424),
    "distillation": dict(learning_rate=0.00679, temperature=6.44),
}


def run(config, folder, *, data_dir=None):
    """Trains the federations, lets the client leave; writes tables, figures, page."""
    from . import _federated

    return _federated.run(config, folder, data_dir=data_dir)


def tune(config, folder, *, data_dir=None):
    """Chooses floats of the methods by attacks on a client that no table shows."""
    from . import _federated_tune

    return _federated_tune.run(config, folder, data_dir=data_dir)
