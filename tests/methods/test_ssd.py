"""What is particular to SSD."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import case
from references import dense_fisher
from trees import assert_close


def test_ssd_dampens_by_the_formula(problem, variables):
    alpha, dampening = 1.0, 0.8
    everything = jnp.arange(len(problem.labels))
    of_forget = dense_fisher(problem, variables, problem.forget)
    of_all = dense_fisher(problem, variables, everything)

    def dampen(p, f, d):
        return np.where(f > alpha * d, p * np.minimum(dampening * d / f, 1), p)

    expected = jax.tree.map(dampen, variables["params"], of_forget, of_all)
    fn, seen = case("ssd", problem, alpha=alpha, dampening=dampening)
    after, info = fn(jax.random.key(0), variables, seen)
    assert_close(after["params"], expected, 1e-4)
    assert 0 < info["selected"] < 1
