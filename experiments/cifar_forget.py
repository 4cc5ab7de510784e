"""Random 10 % of CIFAR-10: eight methods, losses before and after.

    python launch.py --experiment=cifar_forget

One seed in 10.5 minutes on two CPU cores (`--preset=cpu`, 356,810 parameters):

    model            forget  retain  test   MIA   Avg. Gap  seconds
    original           89.8    89.8  76.9  14.6       7.80    178.9
    retrain            75.6    89.1  76.3  30.2               160.7
    finetune           80.0    86.0  76.2  26.6       2.79     44.2
    neggrad_plus       77.6    86.5  74.6  23.9       3.13     18.3
    salun              85.0    87.7  74.5  22.4       5.07     14.1
    random_labels      85.6    87.5  74.6  18.6       6.22     12.7
    scrub              84.6    85.1  74.4  19.2       6.46     58.7
    gradient_ascent    88.5    89.2  76.4  15.8       6.89      2.6
    ssd                86.9    86.5  75.2  17.3       6.94     18.2

The losses are in `figures/loss_histograms.png`. `--seeds=5` adds intervals and floor.
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

# Chosen from small grids by Avg. Gap on the validation split, seed 0.
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
