"""Class forgetting on MNIST, audited: the 7 goes, and random examples of all digits.

    python launch.py --experiment=mnist_audit

The run's request is the 7; the shadow models forget random examples, a quarter of them
mislabelled. To be quick, 3,000 training images and a small net.
"""

from unlearn.auditing import run
from unlearn.pipeline import default_config
from unlearn.studies import SMALLEST, default_audit

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = default_config()
    config.run = tuple(METHODS)
    config.data.name = "mnist"
    config.data.validation = 0.05
    config.forget.kind = "class"
    config.forget.classes = (7,)
    config.model.name = "cnn"
    config.train.batch_size = 64
    config.attack_examples = 1000
    with config.unlocked():
        config.audit = default_audit(preset)
    if preset == "full":
        config.train.epochs = 10
        config.audit.update(models=256, targets=3000, canaries=750, chunk=64)
    else:
        config.data.examples = 3000
        config.model.cnn.widths = (16, 32)
        config.train.epochs = 8
        config.audit.update(models=48, targets=600, canaries=150, chunk=16)
        config.audit.harder.models = 0
    for name, constants in METHODS.items():
        config.methods[name].update(constants)
    if preset == "smoke":
        config.data.name = "synthetic:28x28x1,classes=10,train=300,test=100"
        config.data.examples = 0
        config.data.validation = 0.1
        config.model.cnn.widths = (4, 8)
        config.run = ("finetune",)
        config.seeds = 2
        config.train.epochs = 1
        config.audit.update(SMALLEST, examples=50)
        config.audit.layers.relearning.steps = 10
    return config


METHODS = {
    "finetune": dict(learning_rate=0.1, epochs=2, batch_size=64),
    "random_labels": dict(learning_rate=0.01, epochs=2, alpha=8.0, batch_size=64),
    "newton_head": dict(weight_decay=1e-3),
    "boundary_shrink": dict(learning_rate=5e-4, epochs=15),
}
