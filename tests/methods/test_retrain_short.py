"""Shortened retraining: a training of its own, or the first part of a long one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_problem, trained
from trees import assert_close, assert_equal

from unlearn.methods import METHODS
from unlearn.training import Recipe, train

RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=0.05, warmup_epochs=1)


def short(problem, **constants):
    info = METHODS["retrain_short"]
    options = dict(batch_size=16, learning_rate=0.05) | constants
    original = trained(problem, epochs=3)
    return jax.jit(lambda key: info.fn(key, original, problem, **options))


@pytest.mark.slow
def test_it_is_a_training_of_as_many_epochs(problem):
    key = jax.random.key(5)
    found, info = short(problem, epochs=6)(key)
    expected, losses = train(key, problem, problem.retain, RECIPE)
    assert_close(found, expected)
    np.testing.assert_allclose(info["loss"], losses, rtol=1e-5)


@pytest.mark.slow
def test_stopped_it_is_the_first_part_of_a_long_one(problem):
    """The same losses as a full training; a squeezed one has others."""
    key = jax.random.key(5)
    _, losses = train(key, problem, problem.retain, RECIPE)
    _, info = short(problem, epochs=3, planned_epochs=6)(key)
    np.testing.assert_allclose(info["loss"], losses[:3], rtol=1e-5)
    _, squeezed = short(problem, epochs=3)(key)
    assert abs(squeezed["loss"][2] / losses[2] - 1).max() > 1e-3


@pytest.mark.slow
def test_it_keeps_nothing_of_the_original():
    problem = tiny_problem()
    original = trained(problem, epochs=3)
    fn, seen = case("retrain_short", problem)
    after, _ = fn(jax.random.key(5), original, seen)
    again, _ = fn(jax.random.key(5), jax.tree.map(jnp.zeros_like, original), seen)
    assert_equal(after, again)
