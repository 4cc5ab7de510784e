"""What is particular to retraining."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import case
from conftest import tiny_problem, trained
from trees import assert_equal


def test_retrain_keeps_nothing_of_the_original(problem):
    from unlearn.models import create

    wide = tiny_problem(create("mlp", 3, widths=(64, 64)))
    original = trained(wide, epochs=3)
    fn, seen = case("retrain", wide)
    after, _ = fn(jax.random.key(5), original, seen)
    again, _ = fn(jax.random.key(5), jax.tree.map(jnp.zeros_like, original), seen)
    assert_equal(after, again)
    kernels = [
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(v) if x.ndim > 1])
        for v in (original, after)
    ]
    assert abs(np.corrcoef(*kernels)[0, 1]) < 0.05
