"""Four methods on the digits, audited with 128 shadow models: the report page.

python launch.py --experiment=digits_audit
"""

from unlearn.auditing import run
from unlearn.pipeline import default_config
from unlearn.studies import SMALLEST, default_audit

__all__ = ["get_config", "run"]


def get_config(preset: str):
    from experiments.digits_forget import METHODS

    config = default_config()
    config.run = ("finetune", "salun", "scrub", "ssd")
    config.data.name = "digits"
    config.model.name = "cnn"
    config.train.epochs = 30
    config.train.batch_size = 64
    config.train.learning_rate = 0.05
    with config.unlocked():
        config.audit = default_audit(preset)
    if preset == "smoke":
        config.data.name = "synthetic:8x8x1,classes=10,train=300,test=100"
        config.run = ("finetune",)
        config.seeds = 2
        config.train.epochs = 2
        config.methods.finetune.epochs = 1
        config.audit.update(SMALLEST, examples=100)
        return config
    for name in config.run:
        config.methods[name].update(METHODS[name])
    return config
