"""Random 10 % of the digits that scikit-learn ships: seven methods, a short retraining.

    python launch.py

Five seeds in 52 s on two CPU cores, 28 s with the compilation cache; the table is in
the README. The digits are learnt so well that forgetting needs hardly any change: the
original is 0.9 points of Avg. Gap from retraining, two retrained models are 0.6 from
each other. Retraining in 6 of the 30 epochs loses 0.4 points of test accuracy.
"""

from unlearn.pipeline import default_config

from ._constants import set_constants
from ._digits_others import OTHERS, set_training


def get_config(preset: str):
    config = default_config()
    config.run = tuple(METHODS)
    config.model.name = "cnn"
    set_training(config)
    if preset == "smoke":
        config.data.name = "synthetic:8x8x1,classes=10,train=600,test=200"
        config.seeds = 2
        config.train.epochs = 3
        return config
    set_constants(config, METHODS, OTHERS)
    return config


# Chosen by `--tune --config.tune.draws=3 --config.tune.seeds=2`.
METHODS = {
    "finetune": dict(learning_rate=0.1, epochs=10, batch_size=64),
    "gradient_ascent": dict(learning_rate=0.0553, epochs=5, batch_size=64),
    "neggrad_plus": dict(
        learning_rate=0.1, epochs=5, alpha=0.86, batch_size=64, forget_batch_size=64
    ),
    "random_labels": dict(learning_rate=0.00107, epochs=5, alpha=12.4, batch_size=64),
    "salun": dict(
        learning_rate=0.00127, epochs=5, alpha=5.0, batch_size=64, fraction=0.101
    ),
    "scrub": dict(
        optimizer="adam",
        learning_rate=0.00226,
        epochs=6,
        max_epochs=3,
        gamma=1.0,
        alpha=0.00317,
        temperature=2.0,
        batch_size=64,
        forget_batch_size=32,
    ),
    "ssd": dict(alpha=6.0, dampening=0.3),
    "retrain_short": dict(epochs=6, learning_rate=0.05, batch_size=64),
}
