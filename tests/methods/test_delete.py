"""What is particular to DELETE."""

import jax
import numpy as np
import optax
from cases import case
from references import descend_with, kl, logits_of
from trees import assert_close

FULL = dict(batch_size=100)  # every pass is one step on all there is

KEY = jax.random.key(3)


def test_delete_distils_the_other_classes(problem, variables):
    """Three full-batch steps against the sum over c != y, written out."""
    rate, rows = 0.1, np.arange(len(problem.forget))
    y = np.asarray(problem.labels[problem.forget])
    others = np.array([[c for c in range(3) if c != label] for label in y])
    logits = logits_of(problem, variables["params"], problem.forget)
    p = jax.nn.softmax(logits[rows[:, None], others])

    def loss(params):
        q = jax.nn.softmax(logits_of(problem, params, problem.forget))
        return kl(p, q[rows[:, None], others]).mean()

    losses, params = descend_with(
        optax.sgd(rate, momentum=0.9), loss, variables["params"], 3
    )
    fn, seen = case("delete", problem, epochs=3, learning_rate=rate, **FULL)
    assert seen.retain is None
    after, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["loss"][:, 0], losses, 1e-4)
    assert_close(after["params"], params, 1e-4, 1e-5)
