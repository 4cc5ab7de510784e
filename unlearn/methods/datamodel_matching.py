"""Datamodel matching: towards what retraining is predicted to answer.

    t(x) = f_0(x) + d f_w(x) / dw      f_w: trained with weight 1 − w on F, at w = 0
    minimise  E_{F ∪ S}[ |f(x) − t(x)|² / K ]

The weight is that of F in the loss: it stays in batch statistics. The derivative goes
through a whole training, forwards: no step is stored, and a replay costs some three
trainings of its epochs, more than retraining. It is of use where the replay is tame. On
the digits (net and request of `digits_audit`, six replays) the derivative of a gentle
training (12 epochs, rate 0.02, momentum 0.5) has a correlation of .96 with what leaving
F out does to the logits, that of the training itself (30 epochs, rate 0.05, momentum
0.9) one of 0: its steps are chaotic.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from unlearn.methods.matching import Matching, match_logits
from unlearn.methods.registry import method
from unlearn.methods.taught import teacher
from unlearn.problem import Batch, Problem, Variables
from unlearn.training import Recipe, in_order, train


@method(
    needs=("forget", "retain"),
    paper="arXiv:2410.23232",
    differs="the forget set's influence is the derivative of other, gentler trainings "
    "by its weight, as MAGIC's (theirs: regressed on thousands of trainings), and may "
    "be scaled; batch 64 and a rate of 5e-3 for small forget sets (theirs: 512, 5e-4)",
    search={"learning_rate": (5e-4, 2e-2), "scale": (0.5, 5.0)},
)
def datamodel_matching(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    epochs: int = 5,
    ratio: int = 3,
    batch_size: int = 64,
    learning_rate: float = 5e-3,
    decay_rate: float = 0.95,
    scale: float = 1.0,
    replays: int = 2,
    replay_epochs: int = 12,
    replay_batch_size: int = 128,
    replay_learning_rate: float = 0.02,
    replay_momentum: float = 0.5,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Moves the logits by `scale` times the influence of the forget set.

    Args:
      ratio: retained examples, drawn anew each epoch, for each to forget.
      decay_rate: of the learning rate, an epoch.
      replays: trainings whose derivatives are averaged.

    Returns: the variables, and `info` with the losses float32[epochs, steps] and the
    root mean square of the influence on the logits of the forget set, a float32.
    """
    recipe = Recipe(
        replay_epochs,
        replay_batch_size,
        replay_learning_rate,
        replay_momentum,
        weight_decay,
        min(1, replay_epochs),
    )
    key_replay, key_match = jax.random.split(key)
    everyone = jnp.concatenate([problem.forget, problem.retain])

    def add(total, key):
        return total + influence(key, problem, everyone, recipe) / replays, None

    nothing = jnp.zeros((len(everyone), problem.num_classes), jnp.float32)
    moved, _ = jax.lax.scan(add, nothing, jax.random.split(key_replay, replays))
    shape = len(problem.labels), moved.shape[-1]
    shift = jnp.zeros(shape, jnp.float32).at[everyone].set(scale * moved)
    original = teacher(problem, variables, everyone)
    variables, losses = match_logits(
        key_match,
        variables,
        problem,
        lambda inputs, indices: original(inputs, indices) + shift[indices],
        Matching(epochs, ratio, batch_size, learning_rate, decay_rate),
    )
    size = jnp.sqrt(jnp.mean(moved[: len(problem.forget)] ** 2))
    return variables, {"loss": losses, "influence": size}


def influence(
    key: jax.Array, problem: Problem, indices: jax.Array, recipe: Recipe
) -> jax.Array:
    """Returns what leaving the forget set out of a training does, to first order.

    The derivative of the logits on the examples at `indices`, float32[len, K], where
    the weight of the forget set begins to fall.
    """
    everyone = jnp.concatenate([problem.forget, problem.retain])
    gone = jnp.zeros(len(problem.labels), jnp.float32).at[problem.forget].set(1.0)

    def without(share):
        weighted = Weighted(problem, 1 - share * gone)
        return train(key, problem, everyone, recipe, examples=weighted)[0]

    at, direction = jax.jvp(without, (jnp.float32(0),), (jnp.float32(1),))
    return moved_logits(problem, at, direction, indices)


class Weighted(NamedTuple):
    """A problem for `training.train` whose examples have weights, float32[N]."""

    problem: Problem
    weights: jax.Array

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples at `indices`; each counts as often as it weighs."""
        batch = self.problem.batch(indices, weights, key=key)
        return batch._replace(weights=batch.weights * self.weights[indices])


def moved_logits(
    problem: Problem, variables: Variables, direction: Variables, indices: jax.Array
) -> jax.Array:
    """Returns the derivative of logits along a direction of the variables.

    By transposing the backward pass: the convolutions of this package have no forward
    derivative on a CPU.
    """
    leaves, tree = jax.tree.flatten(variables)
    moves = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
    along = [
        towards
        for towards, floats in zip(jax.tree.leaves(direction), moves, strict=True)
        if floats
    ]

    def one(row):
        def logits_of(floats):
            left = iter(floats)
            mixed = [
                next(left) if moved else leaf
                for leaf, moved in zip(leaves, moves, strict=True)
            ]
            here = problem.model.apply(jax.tree.unflatten(tree, mixed), inputs)[0]
            return here.astype(jnp.float32)

        inputs = problem.inputs(row)
        at = [leaf for leaf, moved in zip(leaves, moves, strict=True) if moved]
        logits, pull = jax.vjp(logits_of, at)
        (moved,) = jax.linear_transpose(lambda x: pull(x)[0], logits)(along)
        return moved

    rows = in_order(indices, 500).indices
    found = jax.lax.map(one, rows)
    return found.reshape(-1, problem.num_classes)[: len(indices)]
