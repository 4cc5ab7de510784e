"""Relearning: how fast a model takes the forget set up again.

    relearn time r(f)     = steps of training on the forget set until its accuracy is
                            at least (1 - margin) of the original model's
    Anamnesis Index of f  = r(f) / r(retrained)

1 is ideal; near 0, the model still remembers; well above 1, it resists relearning,
which gives away that something was removed. Chundawat et al., "Zero-Shot Machine
Unlearning", IEEE TIFS 2023, https://arxiv.org/abs/2201.05629, with a margin of 5 %.

A model that does not return within the steps tried has an infinite relearn time, not
the number of steps: capped is not converged. The index says nothing alone: show it
beside the original (the upper anchor: 0 steps) and a model from scratch (the lower
one). Training starts with a fresh optimiser; its old state would remember, too.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.metrics.membership import spread
from unlearn.problem import Problem
from unlearn.training import (
    OPTIMIZERS,
    classification,
    cross_entropy,
    epoch,
    predict_set,
    shuffle,
    start,
)

__all__ = ["anamnesis_index", "relearn", "relearn_time"]


class Curves(NamedTuple):
    """Accuracy and loss of the forget set, before relearning and after every step."""

    accuracy: jax.Array | np.ndarray  # float32[steps + 1]
    loss: jax.Array | np.ndarray  # float32[steps + 1], in nats


def relearn(
    key: jax.Array,
    variables: dict,
    problem: Problem,
    *,
    steps: int = 50,
    batch_size: int = 128,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    optimizer: str = "sgd",
    examples: int = 500,
) -> Curves:
    """Trains on the forget set and measures it after every step.

    Pure, so it jits, and vmaps over keys, variables, forget sets and floats. All models
    of a comparison should get the same key, hence the same batches. Nothing is
    augmented.

    Args:
      steps: batches of `batch_size` (or all there are), in a fresh order each pass.
      momentum: of `sgd`.
      optimizer: sgd or adam.
      examples: at most so many of the forget set, evenly spaced, are measured; without
        a limit, measuring would take most of the time.

    Raises:
      InputError: an unknown optimiser.
    """
    if optimizer not in OPTIMIZERS:
        raise InputError(f"unknown optimizer {optimizer!r}: {', '.join(OPTIMIZERS)}")
    options = {"momentum": momentum} if optimizer == "sgd" else {}
    descent = OPTIMIZERS[optimizer](learning_rate, **options)
    objective, problem = classification(problem.model), problem.replace(augment=None)
    size = len(problem.forget)
    measured = problem.forget[spread(size, min(size, examples))]
    labels = problem.labels[measured]

    def measure(variables):
        logits = predict_set(problem, variables, measured)
        hits = jnp.argmax(logits, axis=-1) == labels
        return Curves(jnp.mean(hits), jnp.mean(cross_entropy(logits, labels)))

    def step(state, scanned):
        number, row = scanned
        key_step = jax.random.fold_in(key_steps, number)
        row = jax.tree.map(lambda x: x[None], row)
        state, _ = epoch(key_step, state, problem, row, objective, descent)
        return state, measure(state.variables)

    key_order, key_steps = jax.random.split(key)
    rows = shuffle(key_order, problem.forget, batch_size, steps)
    scanned = jnp.arange(steps), rows
    _, after = jax.lax.scan(step, start(variables, descent), scanned)
    return jax.tree.map(jnp.append, measure(variables), after)


def relearn_time(curve: ArrayLike, target: float, *, rising: bool = True) -> float:
    """Finds the first step at which the curve has reached `target`; infinite if none.

    Args:
      curve: float[steps + 1], the value before and after every step.
      target: an accuracy that it has to rise to, or, without `rising`, a loss to fall
        to. Golatkar et al., CVPR 2020: the original's loss on the forget set.

    Raises:
      InputError: a target that is not finite, or an empty curve.
    """
    values = np.asarray(curve, np.float64)
    if values.ndim != 1 or not len(values) or not math.isfinite(target):
        raise InputError("relearn_time needs a curve of one dimension and a target")
    reached = values >= target if rising else values <= target
    return float(np.argmax(reached)) if reached.any() else math.inf


def anamnesis_index(
    unlearned: ArrayLike,
    retrained: ArrayLike,
    original: float,
    *,
    margin: float = 0.05,
) -> float:
    """Computes the relearn time of an unlearned model over that of a retrained one.

    Args:
      unlearned, retrained: float[steps + 1], accuracies of the forget set.
      original: the original model's accuracy of it, the target.
      margin: returning to `(1 - margin) * original` is enough.

    Returns: infinite if the unlearned model never returns, or if the retrained one is
      back at once and the other not; 1 if both are back at once; NaN if neither ever
      returns, as then nothing can be said: try more steps.
    """
    target = (1 - margin) * original
    ours, reference = (relearn_time(c, target) for c in (unlearned, retrained))
    if math.isinf(ours) and math.isinf(reference):
        return math.nan
    if reference == 0:
        return 1.0 if ours == 0 else math.inf
    return ours / reference
