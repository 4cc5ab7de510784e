"""What is particular to l1-sparse."""

import functools

import jax
import jax.numpy as jnp
import pytest
from cases import case
from references import heavy_ball
from trees import assert_close, distance

from unlearn.training import cross_entropy

KEY = jax.random.key(3)

WHOLE = dict(batch_size=40, momentum=0.9)


@pytest.mark.slow
def test_l1_penalty_falls_to_zero_by_epochs(problem, variables):
    """Four epochs, the last without: alpha times 1, 2/3, 1/3, 0; on every weight."""
    alpha, rate = 0.02, 0.05

    def loss(params, penalty):
        logits, _ = problem.model.apply(
            {"params": params}, problem.inputs(problem.retain)
        )
        size = sum(jnp.abs(w).sum() for w in jax.tree.leaves(params))
        ce = cross_entropy(logits, problem.labels[problem.retain]).mean()
        return ce + penalty * size

    def expected(penalties):
        gradients = [jax.grad(functools.partial(loss, penalty=p)) for p in penalties]
        return heavy_ball(variables["params"], gradients, rate)

    options = dict(alpha=alpha, learning_rate=rate, epochs=4, no_l1_epochs=1)
    fn, seen = case("l1_sparse", problem, weight_decay=0.0, **options, **WHOLE)
    after, _ = fn(KEY, variables, seen)
    falling = [alpha, alpha * 2 / 3, alpha / 3, 0.0]
    assert_close(after["params"], expected(falling), 1e-4, 1e-5)
    assert distance(after["params"], expected([alpha] * 4)) > 1e-3
