"""Optimisers and schedules against closed forms and PyTorch's recursions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trees import assert_close

from unlearn import optimizers


def test_sgd_decays_every_weight_before_momentum():
    params = {"w": jnp.array([[1.0, -2.0]]), "b": jnp.array([3.0])}
    gradients = [{"w": jnp.array([[0.5, 1.0]]), "b": jnp.array([-1.0])}] * 3
    optimizer = optimizers.sgd(0.1, momentum=0.9, weight_decay=0.01)
    state, velocity = optimizer.init(params), jax.tree.map(jnp.zeros_like, params)
    expected = params
    for g in gradients:
        updates, state = optimizer.update(g, state, params)
        params = optax.apply_updates(params, updates)
        velocity = jax.tree.map(
            lambda v, g, p: 0.9 * v + g + 0.01 * p, velocity, g, expected
        )
        expected = jax.tree.map(lambda p, v: p - 0.1 * v, expected, velocity)
    assert_close(params, expected)


def test_without_gradients_weights_shrink_as_published_constants_mean_it():
    """w_t of w <- w - lr v, v <- mu v + wd w: powers of a 2 x 2 matrix."""
    rate, momentum, decay, steps = 0.1, 0.9, 5e-4, 1760
    optimizer = optimizers.sgd(rate, momentum=momentum, weight_decay=decay)
    params = {"kernel": jnp.ones((2, 2)), "scale": jnp.ones(2)}

    def step(carry, _):
        params, state = carry
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, state = optimizer.update(zeros, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, start, length=steps)
    once = np.array([[1 - rate * decay, -rate * momentum], [decay, momentum]])
    expected = (np.linalg.matrix_power(once, steps) @ [1.0, 0.0])[0]
    for leaf in jax.tree.leaves(params):
        np.testing.assert_allclose(leaf, expected, rtol=1e-5)
    assert np.log(expected) == pytest.approx(-steps * rate * decay * 10, rel=0.01)


def test_adam_scales_the_decay_with_the_gradient():
    """Without a gradient, L2 through Adam moves every weight by the learning rate."""
    params = {"w": jnp.array([[1.0, -2.0]]), "b": jnp.array([3.0])}
    optimizer = optimizers.adam(1e-2, weight_decay=0.1)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    moved = jax.tree.map(lambda p: -1e-2 * jnp.sign(p), params)
    assert_close(updates, moved)


@pytest.mark.parametrize("epochs, mean", [(3, 2 / 3), (4, 0.625)])
def test_a_cosine_by_the_epoch_is_that_of_pytorch(epochs, mean):
    """CosineAnnealingLR(T_max=epochs), stepped after each epoch of 5 steps."""
    rate = optimizers.schedule("cosine", 0.1, 5 * epochs)
    held = optimizers.by_epoch(rate, 5)
    found = [float(held(jnp.int32(step))) for step in range(5 * epochs)]
    released = 0.05 * (1 + np.cos(np.pi * np.arange(epochs) / epochs))
    np.testing.assert_allclose(found, np.repeat(released, 5), rtol=1e-5)
    assert np.mean(found) == pytest.approx(0.1 * mean, rel=1e-5)


def test_schedules():
    rate = optimizers.schedule("cosine", 2.0, 100, warmup=10)
    assert [float(rate(s)) for s in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert float(rate(55)) == pytest.approx(1.0)
    assert float(rate(100)) == pytest.approx(0.0, abs=1e-6)
    rate = optimizers.schedule("step", 1.0, 100, warmup=10)
    assert [float(rate(s)) for s in (20, 49, 51, 76)] == pytest.approx(
        [1, 1, 0.1, 0.01]
    )
    assert float(optimizers.schedule("constant", 0.3, 10)(7)) == pytest.approx(0.3)
    rate = optimizers.schedule("linear", 2.0, 100, warmup=20)
    assert [float(rate(s)) for s in (9, 20, 60, 100)] == pytest.approx([1, 2, 1, 0])


FILTERS = jax.random.normal(jax.random.key(0), (3, 3, 4, 8))


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (1, 1, 4, 8)], ids=["tall", "wide"])
def test_the_orthogonal_factor_has_the_singular_vectors_and_values_near_one(shape):
    filters = jax.random.normal(jax.random.key(1), shape)
    matrix = np.asarray(filters).reshape(-1, 8)
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    found = np.asarray(optimizers.orthogonal_factor(filters, steps=5)).reshape(-1, 8)
    values = left.T @ found @ right.T
    assert np.abs(values - np.diag(np.diag(values))).max() < 0.05
    assert (np.diag(values) > 0.5).all() and (np.diag(values) < 1.4).all()


def test_muon_turns_filters_and_leaves_the_rest_to_adam():
    params = {"conv": {"kernel": FILTERS}, "head": {"kernel": jnp.ones((8, 3))}}
    gradient = jax.tree.map(lambda x: jnp.sin(3 * x) + 0.1, params)
    muon = optimizers.muon(0.1, momentum=0.6, weight_decay=0.2)
    state, before, moved = muon.init(params), params, params
    for _ in range(2):
        before = moved
        updates, state = muon.update(gradient, state, moved)
        moved = optax.apply_updates(moved, updates)
    # Momentum of two equal gradients points where they do.
    kernel = before["conv"]["kernel"]
    expected = kernel * np.sqrt(8) / jnp.linalg.norm(kernel)
    expected -= 0.1 * optimizers.orthogonal_factor(gradient["conv"]["kernel"])
    assert_close(moved["conv"]["kernel"], expected, atol=2e-3)

    adam = optax.adamw(0.1 / 12, b1=0.85, b2=0.99, weight_decay=0.2)
    state, head = adam.init(params["head"]), params["head"]
    for _ in range(2):
        updates, state = adam.update(gradient["head"], state, head)
        head = optax.apply_updates(head, updates)
    assert_close(moved["head"], head, rtol=1e-6)


def test_muon_takes_a_schedule_and_traced_numbers():
    params = {"conv": FILTERS, "bias": jnp.ones(3)}
    gradient = jax.tree.map(jnp.cos, params)

    @jax.jit
    def step(rate):
        muon = optimizers.muon(rate)
        return muon.update(gradient, muon.init(params), params)[0]

    muon = optimizers.muon(lambda count: 0.1 * (count + 1))
    updates, _ = muon.update(gradient, muon.init(params), params)
    assert_close(step(0.1), updates, rtol=1e-3, atol=1e-3)
