"""What is particular to LFSSD."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import case
from references import example_gradients, logits_of
from trees import assert_close

KEY = jax.random.key(3)


def test_lfssd_dampens_by_the_formula(problem, variables):
    alpha, dampening = 1.0, 0.8

    def squared_norm(params, indices):
        return jnp.sum(logits_of(problem, params, indices) ** 2, -1)

    def sensitivity(indices):
        return jax.tree.map(
            lambda g: np.mean(np.abs(g), 0),
            example_gradients(problem, variables["params"], indices, squared_norm),
        )

    def dampen(p, f, d):
        return np.where(f > alpha * d, p * np.minimum(dampening * d / f, 1), p)

    expected = jax.tree.map(
        dampen,
        variables["params"],
        sensitivity(problem.forget),
        sensitivity(jnp.arange(len(problem.labels))),
    )
    fn, seen = case("lfssd", problem, alpha=alpha, dampening=dampening)
    after, info = fn(KEY, variables, seen)
    assert_close(after["params"], expected, 1e-4)
    assert 0 < info["selected"] < 1
