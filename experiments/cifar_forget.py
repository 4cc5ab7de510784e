"""Random 10 % of CIFAR-10: retraining against eight methods."""

from unlearn.pipeline import default_config


def get_config(preset: str):
    config = default_config()
    config.data.name = "cifar10"
    config.data.flip = True
    config.data.crop = 4
    if preset == "smoke":
        config.data.name = "synthetic:32x32x3,classes=10,train=400,test=100"
        config.model.name = "cnn"
        config.seeds = 1
        config.train.epochs = 1
        config.train.batch_size = 64
        for constants in config.methods.values():
            if "epochs" in constants:
                constants.epochs = 1
    elif preset == "cpu":
        config.model.name = "cnn"
        config.seeds = 1
        config.train.epochs = 10
        config.train.batch_size = 128
        config.attack_examples = 2000
    else:
        config.model.name = "resnet18"
        config.seeds = 5
        config.train.epochs = 100
        config.train.batch_size = 256
    return config
