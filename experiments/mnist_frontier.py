"""Leak, accuracy and compute on MNIST: every method beside shorter retraining.

    python launch.py --experiment=mnist_frontier

The request, the nets and the models of `mnist_audit`: the 7 goes, by every method, and
retraining in 1 to 6 of its 8 epochs, and going back to epoch 1 or 2 of the original's
own training; floats were chosen by attacks on another class (`--tune`). One model of
every kind takes 290 s on two cores, so that the 66 of the study take five hours, and
three minutes in 14 processes on one H200 (`--join`); `--methods` takes some now and
others later. No method is within; `README.md` beside this file has the table.
"""

from . import mnist_audit
from ._audit import run, set_frontier
from ._constants import set_constants
from ._mnist_constants import FIRST, FLOATS, LAST, MORE, WHOLE

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = mnist_audit.get_config(preset)
    config.tune.update(objective="audit", trials=5, models=24)
    config.audit.update(canaries=0, chunk=34)  # a stress test doubles the time
    config.seeds = 2
    set_constants(config, FIRST, WHOLE, FLOATS, LAST)
    set_frontier(config, preset, MORE)
    return config
