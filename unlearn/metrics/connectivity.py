"""Where a model lies among others: distance of weights, and barriers between them.

    theta(a)   = (1 - a) theta_1 + a theta_2
    barrier    = max over a of  L(theta(a)) - [(1 - a) L(theta_1) + a L(theta_2)]

A model that is near the original and connected to it by a straight line of low loss is
in the original's basin: what it hides comes back by a few steps on retained data
(`relearning`). A retrained model lies elsewhere. Siddiqui et al., "From Dormant to
Deleted", NeurIPS 2025, https://arxiv.org/abs/2505.22310; barriers: Frankle et al., ICML
2020, https://arxiv.org/abs/1912.05671.

The line to a *retrained* model tells less than one thinks: a retrained model with
another seed is as far from the original as from a second retrained model, so that the
original, too, lies at the floor. The line to the *original* tells: a distance of 0 and
no barrier for the original, for a retrained model the distance that all else is divided
by, and the barrier of two models trained apart.

Batch statistics are variables like others and are interpolated, not estimated again:
for nets that have them, barriers between models trained apart are higher than with new
statistics.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.problem import Problem, Variables
from unlearn.training import cross_entropy, predict_set

__all__ = ["barrier", "path_losses", "weight_distance"]


def weight_distance(one: Variables, other: Variables) -> jax.Array:
    """Computes the Euclidean distance of the parameters of two models."""
    gaps = jax.tree.map(
        lambda a, b: jnp.sum((a - b).astype(jnp.float32) ** 2),
        one["params"],
        other["params"],
    )
    return jnp.sqrt(sum(jax.tree.leaves(gaps)))


def path_losses(
    one: Variables,
    other: Variables,
    problem: Problem,
    indices: jax.Array,
    *,
    points: int = 11,
) -> jax.Array:
    """Computes the mean loss along the line between two models: float32[points].

    Pure: it jits, and vmaps over both models.

    Args:
      one, other: variables; the first and the last point.
      indices: int[N], the examples, such as some of the retain set.
      points: evenly spaced, both ends among them.
    """
    labels = problem.labels[indices]

    def loss(share):
        between = jax.tree.map(
            lambda a, b: ((1 - share) * a + share * b).astype(a.dtype), one, other
        )
        logits = predict_set(problem, between, indices)
        return jnp.mean(cross_entropy(logits, labels))

    return jax.lax.map(loss, jnp.linspace(0, 1, points))


def barrier(losses: ArrayLike) -> float:
    """Computes how far the loss rises above the line between its ends, in nats.

    Args:
      losses: float[points], see `path_losses`.

    Returns: 0 or more, as the ends themselves do not rise.
    """
    losses = np.asarray(losses, np.float64)
    return float(np.max(losses - np.linspace(losses[0], losses[-1], len(losses))))
