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

Relearning on the *retain* set alone shows what a model never lost: without a forgotten
example, the forget accuracy of approximately unlearned models rises from about 50 to
100 %, that of retrained ones stays. Siddiqui et al., "From Dormant to Deleted",
NeurIPS 2025, https://arxiv.org/abs/2505.22310. `extra_rise` compares the two.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.metrics.membership import spread
from unlearn.optimizers import OPTIMIZERS
from unlearn.problem import Problem
from unlearn.training import (
    classification,
    cross_entropy,
    epoch,
    predict_set,
    shuffle,
    start,
)

__all__ = ["anamnesis_index", "extra_rise", "relearn", "relearn_time"]

SETS = ("forget", "retain")


class Curves(NamedTuple):
    """Means over the forget set, before relearning and after each `every` steps.

    float32[steps / every + 1] each.
    """

    accuracy: jax.Array | np.ndarray
    loss: jax.Array | np.ndarray  # in nats
    margin: jax.Array | np.ndarray  # logit-scaled confidence, see `lira.margins`


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
    on: str = "forget",
    every: int = 1,
) -> Curves:
    """Trains on the forget set, or on the retain set, and measures the forget set.

    Pure, so it jits, and vmaps over keys, variables, forget sets and floats. All models
    of a comparison should get the same key, hence the same batches. Nothing is
    augmented.

    Args:
      steps: batches of `batch_size` (or all there are), in a fresh order each pass.
      momentum: of `sgd`.
      optimizer: sgd or adam.
      examples: at most so many of the forget set, evenly spaced, are measured; without
        a limit, measuring would take most of the time.
      on: the set to train on, `forget` or `retain`.
      every: steps between two measurements; it divides `steps`.

    Raises:
      InputError: an unknown optimiser or set, steps that `every` does not divide.
    """
    if on not in SETS:
        raise InputError(f"unknown set {on!r} to relearn on: {', '.join(SETS)}")
    if every < 1 or steps % every:
        raise InputError(f"every must divide the {steps} steps; it is {every}")
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
        losses = cross_entropy(logits, labels)
        own = labels[:, None] == jnp.arange(logits.shape[-1])
        rest = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)
        margins = jnp.sum(jnp.where(own, logits, 0), axis=-1) - rest
        return Curves(jnp.mean(hits), jnp.mean(losses), jnp.mean(margins))

    def some_steps(state, scanned):
        number, row = scanned
        key_step = jax.random.fold_in(key_steps, number)
        state, _ = epoch(key_step, state, problem, row, objective, descent)
        return state, measure(state.variables)

    key_order, key_steps = jax.random.split(key)
    rows = shuffle(key_order, getattr(problem, on), batch_size, steps)
    rows = jax.tree.map(lambda x: x.reshape(-1, every, x.shape[-1]), rows)
    scanned = jnp.arange(steps // every), rows
    _, after = jax.lax.scan(some_steps, start(variables, descent), scanned)
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


def extra_rise(unlearned: ArrayLike, retrained: ArrayLike) -> float:
    """Computes how much more of the forget set comes back than to a retrained model.

        (last - first) of the unlearned - (last - first) of the retrained

    Args:
      unlearned, retrained: float[points], mean margins (or accuracies) of the forget
        set while both relearn on the same batches of the retain set.

    Returns: 0, as retraining; above, what was hidden comes back. The floor is the value
      of a second retrained model. A model that hid nothing does not rise either: read
      it beside the first value.

    Raises:
      InputError: a curve that is empty or not of one dimension.
    """
    rises = []
    for curve in (unlearned, retrained):
        values = np.asarray(curve, np.float64)
        if values.ndim != 1 or not len(values):
            raise InputError("extra_rise needs two curves of one dimension")
        rises.append(values[-1] - values[0])
    return float(rises[0] - rises[1])
