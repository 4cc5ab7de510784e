"""Retraining from scratch without the forget set: the reference of every comparison.

    minimise  E_r[CE(f(x), y)]    from fresh random weights

The original's weights are read for nothing: every leaf is initialised anew (published
"retrain" baselines that reset only some layers keep most of the original).
"""

from unlearn.training import Recipe, train

DEFAULTS = Recipe()


def retrain(
    key,
    variables,
    problem,
    *,
    epochs=DEFAULTS.epochs,
    batch_size=DEFAULTS.batch_size,
    learning_rate=DEFAULTS.learning_rate,
    momentum=DEFAULTS.momentum,
    weight_decay=DEFAULTS.weight_decay,
    warmup_epochs=DEFAULTS.warmup_epochs,
    schedule=DEFAULTS.schedule,
    balance=DEFAULTS.balance,
):
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
    )
    variables, losses = train(key, problem, problem.retain, recipe)
    return variables, {"loss": losses}
