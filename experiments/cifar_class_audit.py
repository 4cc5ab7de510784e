"""Class forgetting on CIFAR-10, audited: the cats go, from the nets of `cifar_audit`.

    python launch.py --experiment=cifar_class_audit

Judged on images of cats: 66 unlearned models against 66 retrained ones, without the
stress test of planted examples. Constants were tuned on birds and dogs. `full`: the
same class of all images, ResNet-18; not run yet. The table: `README.md` beside this
file.
"""

from . import cifar_audit
from ._audit import run
from ._constants import set_constants

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = cifar_audit.get_config(preset)
    config.forget.update(kind="class", classes=(3,), count=0)
    config.tune.update(objective="tug_of_war", classes=(2, 5))
    if preset == "full":
        return config
    config.audit.canaries = 0  # the stress test doubles the time
    set_constants(config, METHODS)
    if preset == "cpu":
        config.run = tuple(METHODS)
    return config


# A fifth of a retraining's epochs at most; floats by `--tune --config.tune.trials=9`.
METHODS = {
    "retrain_short": dict(epochs=4, batch_size=64),
    "finetune": dict(epochs=3, batch_size=64, learning_rate=0.05),
    "random_labels": dict(epochs=2, batch_size=64, learning_rate=0.01, alpha=1.0),
    "salun": dict(
        epochs=2, batch_size=64, learning_rate=0.00127, alpha=5.0, fraction=0.101
    ),
    "newton_head": dict(weight_decay=0.00415),
    "boundary_shrink": dict(
        epochs=5, batch_size=64, learning_rate=0.000226, bound=0.0192
    ),
}
