"""Leak, accuracy and compute on CIFAR-10: every method beside shorter retraining.

    python launch.py --experiment=cifar_frontier

The request, the nets and the models of `cifar_audit`, with every method that takes a
random request, retraining in 1 to 14 of its 20 epochs, and going back to epoch 1, 2 or
4 of the original's own training; all floats were chosen by attacks on another request
(`--tune`). Hours on two cores; several processes share it (`--join`).
"""

from . import cifar_audit
from ._audit import run, set_frontier
from ._cifar_constants import FIRST, FLOATS, MORE, WHOLE
from ._constants import set_constants

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = cifar_audit.get_config(preset)
    config.tune.update(objective="audit", trials=5)
    config.audit.update(canaries=0, chunk=34)  # a stress test adds half of the time
    set_constants(config, FIRST, WHOLE, FLOATS)
    set_frontier(config, preset, MORE)
    return config
