"""Class forgetting on MNIST, audited: the 7 goes, and random examples of all digits.

    python launch.py --experiment=mnist_audit

Judged on images of the 7: 66 unlearned models against 66 retrained ones, so methods for
classes only can be audited too; 66 more pairs forget mislabelled images, a stress test
with a verdict of its own. To be quick, 3,000 training images and a small net. `full`
has not been run yet. The tables: `README.md` beside this file.
"""

from . import _audit as shared
from ._audit import run
from ._constants import set_constants, shorter

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = shared.base_config(preset, tuple(METHODS))
    config.data.name = "mnist"
    config.data.validation = 0.05
    config.forget.update(kind="class", classes=(7,))
    config.train.batch_size = 64
    config.attack_examples = 1000
    set_constants(config, METHODS, SHORTER)
    if preset == "full":
        config.train.epochs = 10
        config.audit.update(request_models=256, stress_models=128, chunk=64)
        return config
    config.data.examples = 3000
    config.model.cnn.widths = (16, 32)
    config.train.epochs = 8
    config.audit.update(chunk=16)
    config.audit.harder.models = 0
    if preset == "smoke":
        shared.make_smoke(config, "28x28x1")
    return config


METHODS = {
    "finetune": dict(learning_rate=0.1, epochs=2, batch_size=64),
    "random_labels": dict(learning_rate=0.01, epochs=2, alpha=8.0, batch_size=64),
    "newton_head": dict(weight_decay=1e-3),
    "boundary_shrink": dict(learning_rate=5e-4, epochs=15),
}
# Retraining in fewer of the 8 epochs: name them in `--methods` for a frontier.
SHORTER = shorter(dict.fromkeys((1, 2, 4), 0.1))
