"""Images made of noise that stand for a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import trained
from references import losses_of

from unlearn import chunks
from unlearn.methods.noise import (
    WithNoise,
    error_maximizing_noise,
    error_minimizing_noise,
)
from unlearn.training import cross_entropy


@pytest.fixture(scope="module")
def variables(class_problem):
    return trained(class_problem)


@pytest.mark.slow
def test_noise_raises_the_loss_of_its_own_class(class_problem, variables):
    """And of no other: labels one class off (the published mistake) are seen."""
    labels = jnp.array([0, 1, 2, 2, 1, 0])
    key = jax.random.key(0)
    start = jax.random.normal(key, (6, 4, 4, 1))
    noise = error_maximizing_noise(key, variables, class_problem, labels)
    own = losses_of(class_problem, variables, noise, labels)
    assert np.all(own > losses_of(class_problem, variables, start, labels))
    assert np.all(own > 1.5 * np.log(3))
    for wrong in (labels + 1, labels + 2, 0 * labels + 1):
        others = losses_of(class_problem, variables, noise, wrong % 3)
        assert not np.all(others > 1.5 * np.log(3))
    easy = error_minimizing_noise(key, variables, class_problem, labels)
    assert np.all(losses_of(class_problem, variables, easy, labels) < 0.2)


@pytest.mark.slow
def test_noise_is_adam_on_the_penalised_loss(class_problem, variables):
    labels, penalty = jnp.array([1, 2]), 0.05
    key = jax.random.key(3)
    x = np.array(jax.random.normal(key, (2, 4, 4, 1)))
    first, second = np.zeros_like(x), np.zeros_like(x)

    def loss(x):
        logits = class_problem.model.apply(variables, x)[0]
        picked = jax.nn.log_softmax(logits)[jnp.arange(2), labels]
        return jnp.sum(picked) + penalty * jnp.sum(x**2)

    for t in range(1, 4):
        gradient = np.asarray(jax.grad(loss)(x))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        scaled = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        x = x - 0.2 * scaled
    noise = error_maximizing_noise(
        key, variables, class_problem, labels, learning_rate=0.2, steps=3, penalty=0.05
    )
    np.testing.assert_allclose(noise, x, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_noise_joins_the_examples_and_is_not_augmented(class_problem):
    problem = class_problem.replace(augment=lambda key, inputs: -inputs)
    noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    noisy = WithNoise(problem, noise, jnp.array([1, 2]))
    np.testing.assert_array_equal(noisy.indices, [42, 43])
    batch = noisy.batch(jnp.array([43, 5, 42]), key=jax.random.key(1))
    real = problem.inputs(jnp.array([5]))[0]
    np.testing.assert_array_equal(batch.inputs, jnp.stack([noise[1], -real, noise[0]]))
    np.testing.assert_array_equal(batch.labels, [2, problem.labels[5], 1])
    alone = WithNoise(problem.replace(examples=None, labels=None), *noisy[1:])
    np.testing.assert_array_equal(alone.batch(alone.indices).inputs, noise)


@pytest.fixture(scope="module")
def well_trained(class_problem):
    return trained(class_problem, epochs=20)


@pytest.mark.slow
@pytest.mark.parametrize("c", range(3))
def test_noise_of_a_class_moves_the_loss_of_that_class(c, class_problem, well_trained):
    _, seen = case("emmn", class_problem)
    key, labels = jax.random.key(3), jnp.full(20, c)

    def loss(make, label=c, **constants):
        images = make(key, well_trained, seen, labels, **constants)
        logits, _ = seen.model.apply(well_trained, images)
        return float(cross_entropy(logits, jnp.full(20, label)).mean())

    start = loss(error_minimizing_noise, steps=0)
    assert loss(error_minimizing_noise) < 0.5 * start
    assert loss(error_maximizing_noise, penalty=0.0) > 2 * start
    others = [loss(error_minimizing_noise, label=k) for k in range(3) if k != c]
    assert min(others) > start


@pytest.mark.slow
@pytest.mark.parametrize("make", [error_maximizing_noise, error_minimizing_noise])
def test_noise_does_not_depend_on_how_many_are_made_at_once(
    make, class_problem, variables, monkeypatch
):
    """Seven images, three at a time: the last part is ragged."""
    labels = jnp.array([0, 1, 2, 0, 1, 2, 1])
    args = jax.random.key(5), variables, class_problem, labels
    whole = make(*args, steps=5)
    monkeypatch.setattr(chunks, "at_once", lambda each, most: min(3, most))
    np.testing.assert_allclose(make(*args, steps=5), whole, rtol=1e-4, atol=1e-5)
