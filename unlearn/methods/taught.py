"""A problem whose examples come with the answers of a teacher that never changes.

Distillation asks the original about the same examples epoch after epoch. Where these
are not augmented, its answers are the same each time, and asked for once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from unlearn.problem import Batch, Problem, Variables
from unlearn.training import predict_set

Teacher = Callable[[Any, jax.Array], jax.Array]
"""`(inputs [B, ...], indices int32[B]) -> logits float32[B, K]`."""


class Taught(NamedTuple):
    """A problem for `training.epoch` whose batches have `(inputs, answers)` as inputs.

    `answers` are the teacher's logits float32[B, K] on those very inputs.
    """

    problem: Problem
    teacher: Teacher

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples at `indices` and what the teacher says of them."""
        batch = self.problem.batch(indices, weights, key=key)
        answers = self.teacher(batch.inputs, indices)
        return batch._replace(inputs=(batch.inputs, answers))


def taught(problem: Problem, variables: Variables, indices: jax.Array) -> Taught:
    """Makes a problem that the model with these `variables` teaches; see `teacher`."""
    return Taught(problem, teacher(problem, variables, indices))


def teacher(problem: Problem, variables: Variables, indices: jax.Array) -> Teacher:
    """Makes a model a teacher, in evaluation mode.

    It is asked about the examples at `indices` here, unless they are augmented; its
    answers to other examples are NaN.
    """
    if problem.augment is not None:
        return lambda inputs, _: problem.model.apply(variables, inputs)[0]
    answers = predict_set(problem, variables, indices)
    shape = len(problem.labels), answers.shape[-1]
    known = jnp.full(shape, jnp.nan, jnp.float32).at[indices].set(answers)
    return lambda _, indices: known[indices]
