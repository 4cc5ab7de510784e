"""Thirds by loss, and each third's method as it is alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_problem, trained
from trees import assert_close

from unlearn.methods import finetune, rum, salun
from unlearn.methods.rum import by_memorisation

KEY = jax.random.key(2)
OPTIONS = dict(epochs=2, learning_rate=0.05, batch_size=16)


@pytest.fixture
def original(problem):
    return trained(problem, epochs=3)


def losses(problem, variables, indices):
    logits, _ = problem.model.apply(variables, problem.inputs(indices))
    chances = jax.nn.log_softmax(logits)
    return -np.asarray(chances)[np.arange(len(indices)), problem.labels[indices]]


@pytest.mark.parametrize(
    "count, sizes", [(8, [2, 2, 4]), (2, [0, 0, 2]), (1, [0, 0, 1])]
)
def test_thirds_of_the_forget_set_by_loss(original, count, sizes):
    problem = tiny_problem(size=30, forget=count)
    thirds = by_memorisation(problem, original)
    assert [len(third) for third in thirds] == sizes
    order = np.concatenate(thirds)
    assert sorted(order) == sorted(np.asarray(problem.forget))
    assert (np.diff(losses(problem, original, jnp.asarray(order))) >= 0).all()


@pytest.mark.slow
def test_nothing_then_fine_tuning_then_salun(original, problem):
    found, info = rum(KEY, original, problem, **OPTIONS, forget_epochs=2, alpha=3.0)
    low, middle, high = by_memorisation(problem, original)
    assert min(len(low), len(middle)) > 0
    keys = jax.random.split(KEY)
    retain = jnp.concatenate([problem.retain, high])
    second, _ = finetune(keys[0], original, problem.replace(retain=retain), **OPTIONS)
    expected, known = salun(
        keys[1],
        second,
        problem.replace(forget=high),
        **OPTIONS | {"learning_rate": 0.013},
        alpha=3.0,
    )
    assert_close(found, expected)
    np.testing.assert_allclose(info["loss"], known["loss"], rtol=1e-5)


@pytest.mark.slow
def test_a_single_example_has_salun_alone(original):
    problem = tiny_problem(size=30, forget=1)
    found, _ = rum(KEY, original, problem, **OPTIONS, forget_epochs=1)
    expected, _ = salun(
        jax.random.split(KEY)[1],
        original,
        problem,
        epochs=1,
        batch_size=16,
        learning_rate=0.013,
    )
    assert_close(found, expected)
