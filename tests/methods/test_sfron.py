"""What is particular to SFRon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from references import cross_entropies, example_gradients
from trees import assert_close, assert_equal, distance, flat

from unlearn.methods.sfron import adaptive_mean, fisher_mask

FULL = dict(batch_size=100)  # every pass is one step on all there is

KEY = jax.random.key(3)


def test_sfron_forget_gradient_never_reaches_masked_weights(problem, variables):
    """With nothing in the mask its strength is without effect, momentum or not."""

    fn, seen = case("sfron", problem, weight_decay=0.1)
    run = jax.jit(lambda t, a: fn(KEY, variables, seen, threshold=t, alpha=a))
    (weak, info), (strong, _) = run(1e30, 0.1), run(1e30, 90.0)
    assert_equal(weak, strong)
    assert info["trained"] == 0
    (weak, info), (strong, _) = run(1.0, 0.1), run(1.0, 90.0)
    assert distance(weak, strong) > 1e-2
    assert 0.05 < info["trained"] < 0.95


@pytest.mark.slow
def test_sfron_forget_steps_keep_the_bits_of_masked_weights(problem, variables):
    """Without repair steps, only the mask's weights have moved."""
    fn, seen = case("sfron", problem, retain_steps=0, weight_decay=0.1, epochs=2)
    after, info = fn(KEY, variables, seen)
    same = flat(after["params"]) == flat(variables["params"])
    np.testing.assert_allclose(1 - same.mean(), info["trained"], atol=0.02)
    assert 0.05 < same.mean() < 0.95


@pytest.mark.slow
def test_sfron_against_plain_steps(problem, variables):
    """Mask, weights, strength, clipping, momentum and rate, two epochs by hand."""
    rate, alpha, gamma, exponent, bound, decay = 0.05, 40.0, 0.8, 0.6, 0.5, 0.01
    forget, retain, repairs, epochs = problem.forget, problem.retain, 2, 2

    def losses(params, indices):
        return cross_entropies(problem, params, indices)

    params = variables["params"]
    fisher = [
        jax.tree.map(
            lambda g: np.mean(g**2, 0),
            example_gradients(problem, params, indices, losses),
        )
        for indices in (forget, retain)
    ]
    mask = jax.tree.map(lambda f, r: f / r >= gamma, *fisher)
    velocity = jax.tree.map(np.zeros_like, params)
    calls, clipped = epochs * (1 + repairs), 0
    down = jax.jit(jax.grad(lambda p: losses(p, retain).mean()))
    up = jax.jit(jax.grad(lambda p, shares: shares @ losses(p, forget)))

    def cosine(step, steps):
        return (1 + np.cos(np.pi * step / steps)) / 2

    for call in range(calls):
        number, repair = divmod(call, 1 + repairs)
        if repair:
            gradient = down(params)
        else:
            shares = np.asarray(losses(params, forget)) ** -exponent
            shares = -alpha * cosine(number, epochs) * shares / shares.sum()
            gradient = up(params, shares)
            gradient = jax.tree.map(lambda g, m: g * m, gradient, mask)
            norm = np.linalg.norm(flat(gradient))
            clipped += norm > bound
            shrink = min(1, bound / norm)
            gradient = jax.tree.map(lambda g, s=shrink: g * s, gradient)
        velocity = jax.tree.map(
            lambda v, g, p: 0.9 * v + g + decay * p, velocity, gradient, params
        )
        step = rate * cosine(call, calls)

        def move(p, v, m, step=step, repair=repair):
            return np.where(m | (repair > 0), p - step * v, p)

        params = jax.tree.map(move, params, velocity, mask)
    assert clipped
    fn, seen = case(
        "sfron",
        problem,
        epochs=epochs,
        retain_steps=repairs,
        forget_batch_size=100,
        learning_rate=rate,
        alpha=alpha,
        threshold=gamma,
        exponent=exponent,
        max_norm=bound,
        weight_decay=decay,
        group=1,
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    assert_close(after["params"], params, 1e-3, 1e-4)
    np.testing.assert_allclose(info["trained"], flat(mask).mean(), 1e-5)


def test_sfron_ascent_weights_fall_with_the_loss():
    """w CE is CE^(1 - lambda) of a constant: its gradient is w, summing to one."""
    losses, weights = jnp.array([0.0, 0.25, 4.0, 9.0]), jnp.array([0.0, 1.0, 1.0, 0.0])
    gradient = jax.grad(adaptive_mean)(losses, weights, 0.5)
    np.testing.assert_allclose(gradient, [0, 0.8, 0.2, 0], 1e-5)
    assert np.isfinite(jax.grad(adaptive_mean)(losses, jnp.ones(4), 0.5)).all()


@pytest.mark.slow
def test_sfron_groups_are_of_one_size_in_both_sets(problem, variables):
    """Of seven forgotten examples each: with more, retained means would be smaller."""
    masks = [fisher_mask(variables, problem, 1.0, group=g) for g in (7, 128)]
    assert_equal(*masks)

    gradient = jax.jit(jax.grad(lambda p, g: cross_entropies(problem, p, g).mean()))

    def means(indices):
        groups = np.split(np.asarray(indices), range(7, len(indices), 7))
        gradients = [gradient(variables["params"], g) for g in groups]
        return jax.tree.map(lambda *g: np.mean(np.square(g), 0), *gradients)

    forget, retain = means(problem.forget), means(problem.retain)
    expected = jax.tree.map(lambda f, r: f >= r, forget, retain)
    assert np.mean(flat(masks[0]) == flat(expected)) > 0.98
