"""What is particular to datamodel matching: the influence of the forget set."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_problem

from unlearn.methods.datamodel_matching import (
    Weighted,
    datamodel_matching,
    influence,
    moved_logits,
)
from unlearn.training import Recipe, fit, predict_set

KEY = jax.random.key(4)
GENTLE = Recipe(6, 16, 0.05, 0.5, 5e-4, 1)


def everyone(problem):
    return jnp.concatenate([problem.forget, problem.retain])


def logits_without(problem, share, key=KEY):
    """Logits of a training in which the forget set weighs 1 - share."""
    key_init, key_fit = jax.random.split(key)
    weights = jnp.ones(len(problem.labels)).at[problem.forget].add(-share)
    seen = everyone(problem)
    variables = fit(
        key_fit,
        problem.model.init(key_init, problem.inputs(seen[:1])),
        Weighted(problem, weights),
        seen,
        GENTLE.objective(problem.model),
        GENTLE.optimizer(len(seen)),
        epochs=GENTLE.epochs,
        batch_size=GENTLE.batch_size,
    )[0]
    return np.asarray(predict_set(problem, variables, seen), np.float64)


@pytest.fixture(scope="module")
def moved(problem):
    return np.asarray(influence(KEY, problem, everyone(problem), GENTLE))


def test_the_influence_is_the_slope_of_trainings(problem, moved):
    step = 0.02
    high, low = (logits_without(problem, share) for share in (step, -step))
    slope = (high - low) / (2 * step)
    assert np.abs(slope).max() > 0.05
    np.testing.assert_allclose(moved, slope, atol=0.02 * np.abs(slope).max())


@pytest.mark.slow
def test_it_predicts_what_leaving_the_set_out_does(problem, moved):
    actual = logits_without(problem, 1.0) - logits_without(problem, 0.0)
    assert np.corrcoef(actual.ravel(), moved.ravel())[0, 1] > 0.9


def test_an_example_of_weight_zero_is_not_learnt_from(problem):
    weights = jnp.ones(len(problem.labels)).at[3].set(0.0)
    batch = Weighted(problem, weights).batch(jnp.array([2, 3]), jnp.array([0.5, 1.0]))
    np.testing.assert_array_equal(batch.weights, [0.5, 0.0])


@pytest.mark.slow
def test_logits_move_as_the_forward_derivative_says(norm_problem, norm_variables):
    """Along parameters and batch statistics."""
    direction = jax.tree.map(jnp.cos, norm_variables)
    seen = everyone(norm_problem)
    found = moved_logits(norm_problem, norm_variables, direction, seen)
    inputs = norm_problem.inputs(seen)
    _, wanted = jax.jvp(
        lambda v: norm_problem.model.apply(v, inputs)[0],
        (norm_variables,),
        (direction,),
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_target_is_the_original_moved_by_the_influence(problem, variables):
    """Its loss before the first step; without the influence nothing moves."""
    small = dict(replays=2, replay_epochs=2, epochs=1, ratio=99, batch_size=99)
    key_replay, _ = jax.random.split(KEY)
    recipe = Recipe(2, 128, 0.02, 0.5, 5e-4, 1)
    each = [
        influence(key, problem, everyone(problem), recipe)
        for key in jax.random.split(key_replay, 2)
    ]
    wanted = 1.5 * np.mean(each, axis=0)
    _, info = datamodel_matching(KEY, variables, problem, scale=1.5, **small)
    np.testing.assert_allclose(info["loss"][0, 0], np.mean(wanted**2), rtol=1e-3)
    forgotten = wanted[: len(problem.forget)] / 1.5
    rms = np.sqrt(np.mean(forgotten**2))
    np.testing.assert_allclose(info["influence"], rms, rtol=1e-4)
    same, info = datamodel_matching(KEY, variables, problem, scale=0.0, **small)
    assert float(info["loss"][0, 0]) < 1e-10
    assert jax.tree.all(jax.tree.map(jnp.allclose, same["params"], variables["params"]))


@pytest.mark.slow
def test_retained_examples_are_moved_too(problem, variables):
    """An original that is confident of all follows its target on both sets."""
    options = dict(epochs=60, ratio=99, replays=1, scale=20.0, learning_rate=0.02)
    after, _ = datamodel_matching(KEY, variables, problem, **options)
    seen = everyone(problem)
    change = predict_set(problem, after, seen) - predict_set(problem, variables, seen)
    key_replay, _ = jax.random.split(KEY)
    recipe = Recipe(12, 128, 0.02, 0.5, 5e-4, 1)
    (key,) = jax.random.split(key_replay, 1)
    wanted = influence(key, problem, seen, recipe)
    for part in (slice(len(problem.forget)), slice(len(problem.forget), None)):
        found = np.corrcoef(change[part].ravel(), wanted[part].ravel())[0, 1]
        assert found > 0.7


@pytest.mark.slow
def test_integer_variables_have_no_derivative():
    """Counters, as haiku's statistics have, stay what they are."""
    model = plain_model()

    def init(key, inputs):
        return {**model.init(key, inputs), "state": {"count": jnp.int32(3)}}

    counted = model._replace(init=init)
    problem = tiny_problem(counted)
    variables = problem.model.init(KEY, problem.inputs(problem.forget[:1]))
    after, _ = datamodel_matching(
        KEY, variables, problem, epochs=1, replays=1, replay_epochs=1
    )
    assert after["state"]["count"] == 3
