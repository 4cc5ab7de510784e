"""Retraining from scratch without the forget set: the reference of every comparison.

    minimise  E_r[CE(f(x), y)]    from fresh random weights

The original's weights are read for nothing: every leaf is initialised anew (published
"retrain" baselines that reset only some layers keep most of the original).
"""

from unlearn.training import Recipe, train


def retrain(
    key,
    variables,
    problem,
    *,
    epochs=Recipe().epochs,
    batch_size=Recipe().batch_size,
    learning_rate=Recipe().learning_rate,
    momentum=Recipe().momentum,
    weight_decay=Recipe().weight_decay,
    warmup_epochs=Recipe().warmup_epochs,
    schedule=Recipe().schedule,
):
    """Trains a new model on the retain set; `info["loss"]` is float32[epochs, steps]."""
    del variables
    recipe = Recipe(
        epochs,
        batch_size,
        learning_rate,
        momentum,
        weight_decay,
        warmup_epochs,
        schedule,
    )
    variables, losses = train(key, problem, problem.retain, recipe)
    return variables, {"loss": losses}
