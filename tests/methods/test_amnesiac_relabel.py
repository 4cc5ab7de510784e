"""What is particular to relabelling once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import case
from conftest import tiny_problem
from references import cross_entropies, descend_with
from trees import flat

FULL = dict(batch_size=100)  # every pass is one step on all there is

KEY = jax.random.key(3)


@pytest.mark.slow
def test_amnesiac_labels_are_drawn_once(variables):
    """Four full-batch steps of Adam with one and the same wrong label in all."""
    problem, epochs, rate = tiny_problem(forget=1), 4, 0.02
    fn, seen = case(
        "amnesiac_relabel", problem, epochs=epochs, learning_rate=rate, **FULL
    )
    afters = [fn(jax.random.key(seed), variables, seen)[0] for seed in range(3)]
    everything, found = jnp.arange(len(problem.labels)), [0, 0, 0]
    for wrong in set(range(3)) - {int(problem.labels[problem.forget[0]])}:
        labels = problem.labels.at[problem.forget].set(wrong)
        _, params = descend_with(
            optax.adam(rate),
            lambda p, y=labels: cross_entropies(problem, p, everything, y).mean(),
            variables["params"],
            epochs,
        )
        for i, after in enumerate(afters):
            close = np.allclose(flat(params), flat(after["params"]), 1e-4, 1e-5)
            found[i] += int(close)
    assert found == [1, 1, 1]
