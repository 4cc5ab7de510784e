"""Random forgetting on CIFAR-10, audited with shadow models.

    python launch.py --experiment=cifar_audit

`full`: ResNet-18, 256 shadow models of 25,000 images each (Hayes et al.). `cpu`: a
small net, 64 shadow models, 2,000 images.

Not measured yet beyond the run's own models: with `cpu` (one seed) the original answers
80 % of the forget set rightly, retraining 43, finetune 55, neggrad_plus 54, salun 59,
scrub 76; on test data 49, 45, 45, 43, 43 and 49 %.
"""

from unlearn.auditing import run
from unlearn.pipeline import default_config
from unlearn.studies import SMALLEST, default_audit

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = default_config()
    config.run = ("finetune", "neggrad_plus", "salun", "scrub")
    config.data.name = "cifar10"
    config.data.flip = True
    config.attack_examples = 2000
    with config.unlocked():
        config.audit = default_audit(preset)
    if preset == "full":
        config.data.crop = 4
        config.data.examples = 25_000
        config.model.name = "resnet18"
        config.model.resnet18.dtype = "bfloat16"
        config.train.epochs = 30
        config.train.batch_size = 256
        config.audit.update(models=256, targets=1200, canaries=300, chunk=16)
        config.audit.harder.models = 0
        return config
    config.model.name = "cnn"
    config.model.cnn.widths = (8, 16, 32)
    config.data.examples = 2000
    config.train.epochs = 20
    config.train.learning_rate = 0.03
    config.train.batch_size = 64
    config.seeds = 3
    config.audit.update(models=64, targets=900, canaries=300, chunk=16)
    config.audit.harder.models = 0
    for name, constants in METHODS.items():
        config.methods[name].update(constants)
    if preset == "smoke":
        config.data.name = "synthetic:32x32x3,classes=10,train=300,test=100"
        config.data.examples = 0
        config.model.cnn.widths = (4, 8)
        config.run = ("finetune",)
        config.seeds = 2
        config.train.epochs = 1
        config.audit.update(SMALLEST, examples=50)
        config.audit.layers.relearning.steps = 10
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
