"""Every method at three costs: 5, 20 and 50 % of what retraining computes.

    python launch.py --experiment=frontier_budgets

The audit of `frontier` with each method as long as each budget allows, its floats
chosen for that length by attacks on another request (`--experiment=frontier --tune
--config.tune.objective=audit --config.tune.budgets=0.05,0.2,0.5`), beside retraining in
1 to 21 of its 30 epochs, with the schedule squeezed or stopped. At 20 % there is what
lies between nothing and retraining as well: back to epoch 1 to 30 and on, and a part of
the way to fresh weights, with noise at the end, away from the original's weights. Hours
on two cores; several processes share it (`--join`).
"""

from unlearn.pipeline import budgets

from . import frontier
from ._audit import run
from ._constants import set_budgets
from ._digits_budgets import BUDGETS
from ._digits_others import CURVE

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = frontier.get_config(preset)
    set_budgets(config, BUDGETS)
    config.seeds = 2
    if preset == "smoke":
        config.methods.finetune__5pc.batch_size = 64
        config.run = "finetune__5pc", "retrain_short"
        return config
    config.audit.update(models=96, canaries=0, chunk=48)
    others = [name for name in config.run if not budgets.has_length(config, name)]
    anew = [name for name in CURVE if name.startswith("retrain_short")]
    # `datamodel_matching` costs more than any budget: as it is.
    config.run = *others, *anew, *BUDGETS, "datamodel_matching"
    return config
