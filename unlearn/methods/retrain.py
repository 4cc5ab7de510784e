"""Retraining from scratch without the forget set: the reference of every comparison.

    minimise  E_r[CE(f(x), y)]    from fresh random weights

The original's weights are read for nothing: every leaf is initialised anew (published
"retrain" baselines that reset only some layers keep most of the original).
"""

import jax

from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import Recipe, train

DEFAULTS = Recipe()


@method(needs=("retain",), paper="the definition of unlearning", kind="exact")
def retrain(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    epochs: int = DEFAULTS.epochs,
    batch_size: int = DEFAULTS.batch_size,
    learning_rate: float = DEFAULTS.learning_rate,
    momentum: float = DEFAULTS.momentum,
    weight_decay: float = DEFAULTS.weight_decay,
    warmup_epochs: int = DEFAULTS.warmup_epochs,
    schedule: str = DEFAULTS.schedule,
    balance: float = DEFAULTS.balance,
    parts: int = DEFAULTS.parts,
    descent: str = DEFAULTS.descent,
    label_smoothing: float = DEFAULTS.label_smoothing,
) -> tuple[Variables, dict]:
    """Trains anew on the retain set; `info["loss"]` is float32[epochs, steps]."""
    del variables
    recipe = Recipe(
        epochs,
        batch_size,
        learning_rate,
        momentum,
        weight_decay,
        warmup_epochs,
        schedule,
        balance,
        parts,
        descent,
        label_smoothing,
    )
    variables, losses = train(key, problem, problem.retain, recipe)
    return variables, {"loss": losses}
