"""Leak, accuracy and compute: every method beside retraining in fewer epochs.

    python launch.py --experiment=frontier

An audit of a random request of the digits, with every method that takes one and with
retraining in 1 to 15 of its 30 epochs; constants were chosen by attacks on another
request (`--tune --config.tune.objective=audit --config.tune.trials=9`; in the same
folder, the page says how well the two agree). It ends in `frontier.html` (hover, choose
the axes), `frontier.csv` and `frontier.md` beside the page of the audit.
"""

from unlearn import pipeline

from . import digits_audit
from ._audit import run
from ._constants import set_constants
from ._digits_audited import AUDITED
from ._digits_others import MORE

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = digits_audit.get_config(preset)
    config.audit.harder.models = 0
    if preset == "smoke":
        config.run = "finetune", "retrain_short"
        config.methods.retrain_short.update(epochs=1, batch_size=64)
        return config
    set_constants(config, AUDITED)
    config.run = tuple(dict.fromkeys((*pipeline.fitting(config), *MORE)))
    return config
