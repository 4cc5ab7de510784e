"""MNIST without one digit: remove every 7, retrain, compare class by class."""

from unlearn.pipeline import default_config


def get_config(preset: str):
    config = default_config()
    config.run = ()
    config.data.name = "mnist"
    config.data.validation = 0.05
    config.forget.kind = "class"
    config.forget.classes = (7,)
    config.forget.fraction = 1.0
    config.model.name = "cnn"
    config.train.learning_rate = 0.1
    config.attack_examples = 2000
    if preset == "smoke":
        config.data.name = "synthetic:28x28x1,classes=10,train=600,test=200"
        config.seeds = 1
        config.train.epochs = 1
        config.train.batch_size = 64
    elif preset == "cpu":
        config.seeds = 3
        config.train.epochs = 5
        config.train.batch_size = 128
    else:
        config.seeds = 5
        config.train.epochs = 20
        config.train.batch_size = 256
        config.attack_examples = 0
    return config
