"""Random 10 % of the digits that scikit-learn ships, eight methods, no download."""

from unlearn.pipeline import default_config


def get_config(preset: str):
    config = default_config()
    config.data.name = "digits"
    config.model.name = "cnn"
    config.train.epochs = 30
    config.train.batch_size = 64
    if preset == "smoke":
        config.seeds = 2
        config.train.epochs = 3
        config.data.name = "synthetic:8x8x1,classes=10,train=600,test=200"
    return config
