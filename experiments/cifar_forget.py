"""Random 10 % of CIFAR-10: influence and gradient updates, fine-tuning, losses.

    python launch.py --experiment=cifar_forget

Two seeds of `--preset=cpu` (356,810 parameters), timed on one busy core:

    model               forget  retain  test   MIA   Avg. Gap  seconds
    floor                  0.3     0.9   0.4   1.0       0.65
    original              89.6    89.4  77.5  15.5       6.81    476
    retrain               76.7    88.6  76.2  27.8               424
    influence+finetune    78.5    86.7  76.0  27.8       1.06    202
    finetune              79.6    86.4  76.7  25.7       1.90    142
    neggrad_plus          72.0    85.2  73.6  29.7       3.16    110
    salun                 85.2    86.9  74.7  25.3       3.70     44
    scrub                 89.6    89.6  77.5  15.4       6.90    107

floor: the gap between the two retrained models, one pair. The losses before and after
are in `figures/loss_histograms.png`. On two idle cores an epoch takes 15 s, not 38.
"""

from unlearn.pipeline import default_config


def get_config(preset: str):
    config = default_config()
    config.data.name = "cifar10"
    config.data.flip = True
    config.run = RUN
    if preset == "full":
        config.data.crop = 4
        config.model.name = "resnet18"
        config.train.epochs = 100
        config.train.batch_size = 256
        return config
    config.model.name = "cnn"
    config.model.cnn.widths = (32, 64, 128)
    config.seeds = 2
    config.train.epochs = 12
    config.train.batch_size = 128
    config.attack_examples = 2000
    for name, constants in SMALL_NET.items():
        config.methods[name].update(constants)
    if preset == "smoke":
        config.data.name = "synthetic:32x32x3,classes=10,train=400,test=100"
        config.model.cnn.widths = (4, 8)
        config.train.epochs = 1
        config.train.batch_size = 64
        for constants in config.methods.values():
            if "epochs" in constants:
                constants.epochs = 1
    return config


RUN = (
    "finetune",
    "influence+finetune",
    "neggrad_plus",
    "salun",
    "scrub",
)

# Chosen by hand: small grids by Avg. Gap on the validation split, seed 0; influence,
# scrub and the numbers of epochs untuned.
SMALL_NET = {
    "finetune": dict(learning_rate=0.1, epochs=4, batch_size=128),
    "gradient_ascent": dict(learning_rate=3e-3, epochs=1, batch_size=128),
    "influence": dict(damping=0.01, examples=1000, iterations=10),
    "neggrad_plus": dict(
        learning_rate=0.02, epochs=2, alpha=0.8, batch_size=128, forget_batch_size=64
    ),
    "random_labels": dict(learning_rate=0.01, epochs=1, batch_size=128),
    "salun": dict(learning_rate=0.01, epochs=1, batch_size=128),
    "scrub": dict(
        learning_rate=5e-4,
        epochs=2,
        max_epochs=1,
        gamma=1.0,
        alpha=0.5,
        batch_size=128,
        forget_batch_size=64,
    ),
    "ssd": dict(alpha=1.2),
}
