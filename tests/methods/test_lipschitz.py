"""What is particular to JiT."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from references import linear_case
from trees import assert_equal

from unlearn.surgery import replace

KEY = jax.random.key(3)


def identity_case(classes=16):
    """Logits are the 16 pixels: every slope is exactly 1."""
    problem, original = linear_case(classes)
    head = {"kernel": jnp.eye(16), "bias": jnp.zeros(classes)}
    return problem, replace(original, ("params", "head"), head)


def test_lipschitz_gradient_of_the_identity():
    """d |xi W| / |xi| at W = 1 is xi xi^T / |xi|^2: trace 1, mean 1 / 16; no bias."""
    problem, original = identity_case()
    fn, seen = case(
        "lipschitz",
        problem,
        learning_rate=0.5,
        epochs=1,
        copies=200,
        batch_size=40,
        through_noise=True,
    )
    after, info = fn(KEY, original, seen)
    np.testing.assert_allclose(info["loss"], 1, rtol=1e-5)
    head = after["params"]["head"]
    change = np.asarray(jnp.eye(16) - head["kernel"]) / 0.5
    np.testing.assert_allclose(np.trace(change), 1, rtol=1e-4)
    np.testing.assert_allclose(change, np.eye(16) / 16, atol=0.012)
    np.testing.assert_allclose(head["bias"], 0, atol=1e-6)


def test_lipschitz_as_released_lets_no_gradient_through_the_noise():
    """Only f(x) moves: the bias, which cancels in the difference, moves too."""
    problem, original = identity_case()
    fn, seen = case("lipschitz", problem, learning_rate=0.5, through_noise=False)
    after, info = fn(KEY, original, seen)
    assert np.abs(after["params"]["head"]["bias"]).max() > 1e-3
    np.testing.assert_allclose(info["loss"][0, 0], 1, rtol=1e-5)


@pytest.mark.slow
def test_lipschitz_of_a_constant_net_is_finite():
    problem, original = identity_case()
    constant = jax.tree.map(jnp.zeros_like, original)
    fn, seen = case("lipschitz", problem)
    assert_equal(fn(KEY, constant, seen)[0], constant)
