"""Four methods on the digits, audited with 128 shadow models: the report page.

    python launch.py --experiment=digits_audit --config.audit.reason="request 17"

6 to 7 min on two cores with `--preset=cpu`, 1.5 of them in the compiler.

AUCs of U-LiRA (0.5: nothing can be told) on all 300 targets and on the 75 mislabelled
ones; of the population attack of the standard metrics; test accuracy:

    original          0.772   1.000   0.562   96.3
    retrain           0.493   0.496   0.507   96.9
    head_distill      0.668   0.934   0.524   96.7
    finetune          0.627   0.856   0.522   97.0
    salun             0.760   1.000   0.537   96.3
    scrub             0.765   1.000   0.559   96.4
    ssd               0.556   0.657   0.514   47.8
    by chance         +-.009  +-.019

Every control comes out as it must, and every method is outside: what the population
attack cannot see U-LiRA finds nearly always. All columns and controls: `README.md`
beside this file.
"""

from unlearn.audit import run

from . import _audit as shared
from ._constants import set_constants
from .digits_forget import METHODS

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = shared.base_config(preset, ("finetune", "salun", "scrub", "ssd"))
    config.data.name = "digits"
    config.train.epochs = 30
    config.train.batch_size = 64
    config.train.learning_rate = 0.05
    if preset == "smoke":
        shared.make_smoke(config, "8x8x1")
        return config
    set_constants(config, {name: METHODS[name] for name in config.run})
    return config
