"""Gradients in float16: right where they would be nothing, and in every mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import assert_close, flat

from unlearn import models, training
from unlearn.models.linen import from_linen
from unlearn.models.loss_scale import SCALE, times
from unlearn.problem import make_problem

SIZES = dict(widths=(4, 4), dense=8)


def problem_of(dtype):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (12, 8, 8, 1), np.uint8)
    model = models.create("cnn", 3, **SIZES, dtype=dtype)
    return make_problem(images, draw.integers(0, 3, 12), [0], model, num_classes=3)


def gradient(problem, model=None, small=1.0):
    model = model or problem.model
    variables = problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))
    objective = training.classification(model)

    def loss(params):
        batch = problem.batch(jnp.arange(12))
        return small * objective({"params": params}, batch, None)[0]

    return jax.jit(jax.grad(loss))(variables["params"])


@pytest.mark.slow
def test_small_gradients_survive():
    """Of a loss so small that float16 alone has next to none of them."""
    whole, half = problem_of("float32"), problem_of("float16")
    small = 1e-6
    expected = flat(gradient(whole, small=small))
    found = flat(gradient(half, small=small))
    plain = from_linen(models.nets.CNN(3, **SIZES, dtype="float16"))
    lost = flat(gradient(half, plain, small))
    size = np.linalg.norm(expected)
    assert np.linalg.norm(found - expected) < 0.02 * size
    assert np.linalg.norm(lost - expected) > 0.1 * size


def test_parameters_and_logits_stay_as_they_are():
    problem = problem_of("float16")
    key, inputs = jax.random.key(0), problem.inputs(jnp.arange(4))
    variables = problem.model.init(key, inputs)
    logits, new = problem.model.apply(variables, inputs, train=True, key=key)
    assert logits.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(new))
    found, again, _ = problem.model.activations(variables, inputs)
    assert len(found) == 4
    np.testing.assert_array_equal(again, problem.model.apply(variables, inputs)[0])


@pytest.mark.parametrize("factor", [SCALE, 1 / SCALE, 3.0])
def test_only_the_way_back_is_multiplied(factor):
    def once(x):
        return jnp.sum(times({"x": x, "n": jnp.arange(2)}, factor)["x"] ** 3)

    x = jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(once(x), jnp.sum(x**3))
    np.testing.assert_allclose(jax.grad(once)(x), factor * 3 * x**2, rtol=1e-6)
    forward, tangent = jax.jvp(once, (x,), (x,))
    np.testing.assert_allclose((forward, tangent), (once(x), 3 * forward), rtol=1e-6)
    both = jnp.stack([x, 2 * x])
    assert_close(jax.vmap(jax.grad(once))(both), factor * 3 * both**2, 1e-6, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("first", [jax.jacrev, jax.jacfwd])
@pytest.mark.parametrize("second", [jax.jacrev, jax.jacfwd])
def test_second_derivatives_are_as_they_are(first, second):
    """In at a thousandth, out at a thousandfold, in any mode and twice."""

    def scaled_cube(x):
        return jnp.sum(times(times(x, 1 / SCALE) ** 3, SCALE))

    x = jnp.array([1.0, -2.0, 0.5])
    found = first(second(scaled_cube))(x)
    np.testing.assert_allclose(found, jnp.diag(6 * x), rtol=1e-5, atol=1e-5)
    third = jax.jacrev(first(second(scaled_cube)))(x)
    np.testing.assert_allclose(np.sum(third), 18, rtol=1e-5)
