"""Random forgetting on CIFAR-10, audited with shadow models.

    python launch.py --experiment=cifar_audit

`cpu`: a small residual net, 96 shadow models and 66 of each other kind, 2,000 images;
about 85 min on two idle cores. `full`: ResNet-18, 256 shadow models of 25,000 images
each (Hayes et al.); not run yet. What came out is in `README.md` beside this file.

The models of `cpu` are not as good as those of `cifar_forget`: an audit trains about
520 of them, methods apart. Validation accuracy and processor seconds of one training
(busy cores, true labels), and the hours that 520 would take on two cores:

    widths      images  epochs   accuracy  seconds  hours
    8, 16, 32     2000      20     54.5 %       16    1.2   this preset
    16, 32, 64    2000      20     59.8 %       32    2.3
    16, 32, 64    4000      10     61.8 %       28    2.0
    32, 64, 128  45000       8     85.5 %      635   45.9
"""

from . import _audit as shared
from ._audit import run
from ._constants import set_constants, shorter

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = shared.base_config(preset, ("finetune", "neggrad_plus", "salun", "scrub"))
    config.data.name = "cifar10"
    config.data.update(flip=True, crop=4 if preset == "full" else 2)
    config.attack_examples = 2000
    config.audit.harder.models = 0
    set_constants(config, SHORTER)
    if preset == "full":
        config.data.examples = 25_000
        config.model.name = "resnet18"
        config.model.dtype = "bfloat16"
        config.train.epochs = 30
        config.train.batch_size = 256
        config.audit.update(models=256, targets=1200, chunk=16)
        return config
    config.model.name = "poolnet"
    config.model.poolnet.widths = (8, 16, 32)
    config.data.examples = 2000
    config.train.update(epochs=20, batch_size=64, warmup_epochs=2)
    config.seeds = 3
    config.audit.update(models=96, chunk=16)
    set_constants(config, METHODS)
    if preset == "smoke":
        shared.make_smoke(config, "32x32x3")
    return config


# Retraining in fewer of the 20 epochs: name them in `--methods` for a frontier.
SHORTER = shorter(dict.fromkeys((2, 4, 8), 0.1))

# Floats: `--tune --config.tune.objective=audit --config.tune.trials=9`.
METHODS = {
    "finetune": dict(learning_rate=0.176, epochs=3, batch_size=64),
    "neggrad_plus": dict(learning_rate=0.098, epochs=2, alpha=0.813, batch_size=64),
    "salun": dict(learning_rate=0.003, epochs=2, alpha=8.0, batch_size=64),
    "scrub": dict(
        optimizer="adam",
        learning_rate=0.00226,
        alpha=0.00317,
        epochs=3,
        max_epochs=2,
        batch_size=64,
        forget_batch_size=64,
    ),
}
