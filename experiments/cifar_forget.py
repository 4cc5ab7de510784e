"""Random 10 % of CIFAR-10: eight methods, losses before and after."""

from unlearn.pipeline import default_config


def get_config(preset: str):
    config = default_config()
    config.data.name = "cifar10"
    config.data.flip = True
    if preset == "full":
        config.data.crop = 4
        config.model.name = "resnet18"
        config.train.epochs = 100
        config.train.batch_size = 256
        return config
    config.model.name = "cnn"
    config.model.cnn.widths = (32, 64, 128)
    config.seeds = 1
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


# Chosen by Avg. Gap on the validation split.
SMALL_NET = {
    "finetune": dict(learning_rate=0.1, epochs=3, batch_size=128),
    "gradient_ascent": dict(learning_rate=1e-3, epochs=2, batch_size=128),
    "neggrad_plus": dict(
        learning_rate=0.02, epochs=1, alpha=0.75, batch_size=128, forget_batch_size=64
    ),
    "random_labels": dict(learning_rate=0.01, epochs=1, batch_size=128),
    "salun": dict(learning_rate=0.01, epochs=1, batch_size=128),
    "scrub": dict(
        learning_rate=5e-4,
        epochs=3,
        max_epochs=2,
        gamma=1.0,
        alpha=0.5,
        batch_size=128,
        forget_batch_size=64,
    ),
    "ssd": dict(alpha=1.2),
}
