"""The programs that training compiles, and how long an epoch of one will take."""

import functools
import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from unlearn import devices, training
from unlearn.problem import Model, Problem

FEW = 100  # steps; an epoch of fewer says itself, soon enough, what it takes


@functools.lru_cache(maxsize=64)
def train_functions(
    model: Model, recipe: training.Recipe, examples: int
) -> tuple[Callable, Callable]:
    """Returns the functions that training compiles: its start and an epoch.

    `begin(key, problem) -> state`, `advance(key, state, problem, indices) -> (state,
    loss)`.
    """
    optimizer = recipe.optimizer(examples)
    objective = recipe.objective(model)

    def begin(key, problem):
        variables = model.init(key, problem.inputs(jnp.zeros(1, jnp.int32)))
        return training.start(variables, optimizer)

    def advance(key, state, problem, indices):
        state, losses = training.shuffled_epoch(
            key,
            state,
            problem,
            indices,
            objective,
            optimizer,
            batch_size=recipe.batch_size,
            balance=recipe.balance,
            parts=recipe.parts,
        )
        return state, losses.sum() * recipe.batch_size / examples

    return begin, advance


def epoch_seconds(
    key: jax.Array,
    state: training.State,
    problem: Problem,
    indices: jax.Array,
    recipe: training.Recipe,
) -> float:
    """Estimates the seconds of an epoch by two of its steps; NaN if it has few."""
    steps, batch_size = training.batch_shape(len(indices), recipe.batch_size)
    if steps < FEW:
        return math.nan
    two = indices[: 2 * batch_size]
    args = key, state, problem, two
    _, advance = train_functions(problem.model, recipe, len(two))
    advance, _ = devices.compiled(advance, *args)
    jax.block_until_ready(advance(*args))
    started = time.perf_counter()
    jax.block_until_ready(advance(*args))
    return (time.perf_counter() - started) / 2 * steps
