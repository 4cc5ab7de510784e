"""What is particular to NegGrad+."""

import jax
import numpy as np
import pytest
from cases import case
from trees import assert_close, flat

from unlearn.training import cross_entropy


@pytest.mark.slow
def test_neggrad_plus_descends_one_loss_and_climbs_the_other(problem, variables):
    """The first step is alpha grad_r - (1 - alpha) grad_f, neither of them zero."""
    alpha, rate = 0.7, 0.05
    size = dict(batch_size=40, forget_batch_size=40, weight_decay=0.0)
    fn, seen = case(
        "neggrad_plus", problem, alpha=alpha, learning_rate=rate, epochs=1, **size
    )
    after, _ = fn(jax.random.key(0), variables, seen)

    def loss(params, indices):
        logits, _ = problem.model.apply({"params": params}, problem.inputs(indices))
        return cross_entropy(logits, problem.labels[indices]).mean()

    up = jax.grad(loss)(variables["params"], problem.forget)
    down = jax.grad(loss)(variables["params"], problem.retain)
    assert np.linalg.norm(flat(up)) > 0.1
    expected = jax.tree.map(
        lambda p, r, f: p - rate * (alpha * r - (1 - alpha) * f),
        variables["params"],
        down,
        up,
    )
    assert_close(after["params"], expected)
