"""Four methods on the digits, audited with 144 shadow models: the report page.

    python launch.py --experiment=digits_audit --config.audit.reason="request 17"

The 129 requested examples, each forgotten by 72 models and never seen by 72: AUC of the
strongest attack on single examples, and of the attack on a model's whole forgotten set
(0.5: nothing can be told), with 95 % intervals:

    original          0.553 (.534 to .575)   0.97 (.95 to 1.0)   outside
    retrain           0.504 (.497 to .514)   0.46 (.37 to .56)   within
    finetune          0.550 (.532 to .568)   0.93                outside
    salun             0.533 (.514 to .552)   0.79                outside
    scrub             0.515 (.503 to .529)   0.61                inconclusive
    ssd               0.541 (.525 to .556)   0.79                outside

Retrained models in which 30 % of the examples, or the 12 memorised most, are left as
they were are outside (0.76 and 0.96 as a set): what leaks is little of each example,
and plain of all together. `--methods=all`: six of 38 are within. Test accuracy, stress
test and tables: the page, and `README.md` beside this file.
"""

from unlearn.audit import run

from . import _audit as shared
from ._constants import set_constants
from ._digits_others import OTHERS, set_training
from .digits_forget import METHODS

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = shared.base_config(preset, ("finetune", "salun", "scrub", "ssd"))
    set_training(config)
    if preset == "smoke":
        shared.make_smoke(config, "8x8x1")
        return config
    set_constants(config, METHODS, OTHERS)
    return config
