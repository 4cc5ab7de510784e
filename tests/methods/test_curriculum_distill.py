"""What is particular to the curriculum."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case, settings
from conftest import trained
from references import losses_of
from trees import assert_equal, distance

from unlearn.methods import METHODS
from unlearn.training import in_order

curriculum = importlib.import_module("unlearn.methods.curriculum_distill")


@pytest.fixture(scope="module")
def variables(class_problem):
    return trained(class_problem)


@pytest.fixture(scope="module")
def norm_variables(norm_class_problem):
    return trained(norm_class_problem)


@pytest.mark.slow
def test_curriculum_goes_from_easy_to_hard_class_by_class(class_problem, variables):
    indices = class_problem.retain[::-1]
    ordered = np.asarray(curriculum.easy_to_hard(class_problem, variables, indices))
    np.testing.assert_array_equal(np.sort(ordered), class_problem.retain)
    labels = np.asarray(class_problem.labels)[ordered]
    inputs = class_problem.inputs(ordered)
    losses = np.asarray(losses_of(class_problem, variables, inputs, labels))
    for c in (0, 2):
        assert np.all(np.diff(losses[labels == c]) >= 0)
        assert 6 <= np.sum(labels[:14] == c) <= 8  # half of the pool: half of the class


@pytest.mark.slow
def test_curriculum_pool_grows():
    ordered = jnp.arange(10_000)[::-1]
    rows = curriculum.growing_pool(jax.random.key(0), ordered, 40, 500, 0.2)
    assert rows.indices.shape == (40, 500) and np.all(rows.weights == 1)
    size = 10_000 - np.asarray(rows.indices).min(axis=1)  # of the pool
    expected = np.minimum(10_000, 2000 + 8000 * np.arange(40) / 20)
    np.testing.assert_allclose(size, expected, rtol=0.02)
    assert np.all(size <= expected)
    rows = curriculum.growing_pool(jax.random.key(0), ordered[:100], 2, 2000, 1.0)
    assert np.all(np.ptp(np.asarray(rows.indices), axis=1) == 99)


@pytest.mark.parametrize("share", [0.0, 0.004, 0.03])
def test_a_pool_is_never_smaller_than_a_batch(share):
    """A share of less than half an example of 100 is not the first one alone."""
    ordered = jnp.arange(100)
    rows = curriculum.growing_pool(jax.random.key(0), ordered, 40, 8, share)
    assert set(range(5)) <= set(np.asarray(rows.indices)[:5].ravel().tolist())
    assert np.asarray(rows.indices)[0].max() < 8


@pytest.mark.slow
def test_curriculum_distils_what_the_original_says_of_the_other_classes(
    norm_class_problem, norm_variables, monkeypatch
):
    """Loss, by numpy: teacher in evaluation mode, the forgotten class masked."""
    problem, temperature = norm_class_problem, 3.0
    monkeypatch.setattr(
        curriculum, "impair", lambda key, variables, *_, **__: variables
    )
    monkeypatch.setattr(
        curriculum, "growing_pool", lambda key, ordered, *_: in_order(ordered, 28)
    )
    before = jax.tree.map(np.array, norm_variables)
    constants = settings(METHODS["curriculum_distill"]) | dict(
        examples=0, batch_size=28, epochs=1
    )
    after, info = curriculum.curriculum_distill(
        jax.random.key(0),
        norm_variables,
        problem,
        temperature=temperature,
        alpha=0.5,
        **constants,
    )
    assert_equal(jax.tree.map(np.asarray, norm_variables), before)
    assert distance(after["params"], norm_variables["params"]) > 1e-3

    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    inputs, labels = problem.inputs(problem.retain), problem.labels[problem.retain]
    apply = problem.model.apply
    teacher = np.asarray(apply(norm_variables, inputs)[0], np.float64)[:, [0, 2]]
    student = np.asarray(apply(norm_variables, inputs, train=True)[0], np.float64)
    wanted = log_softmax(teacher / temperature)
    said = log_softmax(student / temperature)[:, [0, 2]]
    kl = temperature**2 * np.sum(np.exp(wanted) * (wanted - said), -1)
    ce = -log_softmax(student)[np.arange(28), labels]
    np.testing.assert_allclose(info["loss"], [[np.mean(kl + 0.5 * ce)]], rtol=1e-5)


@pytest.mark.slow
def test_curriculum_has_the_budget_of_unsir(class_problem, variables):
    losses = []
    for name in ("unsir", "curriculum_distill"):
        fn, seen = case(name, class_problem, epochs=2)
        losses.append(fn(jax.random.key(0), variables, seen)[1]["loss"])
    assert losses[0].shape == losses[1].shape == (2, 2)
