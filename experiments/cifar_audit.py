"""Random forgetting on CIFAR-10, audited with shadow models.

    python launch.py --experiment=cifar_audit

`cpu`: a small net, 64 shadow models, 2,000 images; 31 min on two cores. `full`:
ResNet-18, 256 shadow models of 25,000 images each (Hayes et al.); not run yet.

Every control comes out as it must, and every method is outside: U-LiRA tells forgotten
from never-seen examples with an AUC of 0.62 to 0.77 (retrain 0.50, original 0.81).
Nearest is `finetune`, which keeps the accuracy as well. Here the net is so overfitted
(81 % of the images to forget are answered rightly before, 46 % after retraining) that
the population attack sees most of it too: 0.59 to 0.68. The whole table: `README.md`
beside this file.
"""

from unlearn.audit import run

from . import _audit as shared
from ._constants import set_constants

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = shared.base_config(preset, ("finetune", "neggrad_plus", "salun", "scrub"))
    config.data.name = "cifar10"
    config.data.flip = True
    config.attack_examples = 2000
    config.audit.harder.models = 0
    if preset == "full":
        config.data.crop = 4
        config.data.examples = 25_000
        config.model.name = "resnet18"
        config.model.resnet18.dtype = "bfloat16"
        config.train.epochs = 30
        config.train.batch_size = 256
        config.audit.update(models=256, targets=1200, canaries=300, chunk=16)
        return config
    config.model.cnn.widths = (8, 16, 32)
    config.data.examples = 2000
    config.train.epochs = 20
    config.train.learning_rate = 0.03
    config.train.batch_size = 64
    config.seeds = 3
    config.audit.update(models=64, targets=900, canaries=300, chunk=16)
    set_constants(config, METHODS)
    if preset == "smoke":
        shared.make_smoke(config, "32x32x3")
    return config


METHODS = {
    "finetune": dict(learning_rate=0.05, epochs=3, batch_size=64),
    "neggrad_plus": dict(learning_rate=0.02, epochs=2, alpha=0.95, batch_size=64),
    "salun": dict(learning_rate=0.003, epochs=2, alpha=8.0, batch_size=64),
    "scrub": dict(
        optimizer="adam",
        learning_rate=5e-4,
        epochs=3,
        max_epochs=2,
        batch_size=64,
        forget_batch_size=64,
    ),
}
