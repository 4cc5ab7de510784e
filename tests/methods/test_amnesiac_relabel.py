"""What is particular to relabelling once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import case
from conftest import tiny_problem
from references import cross_entropies, descend_with
from trees import flat

from unlearn.methods.amnesiac_relabel import relabel

FULL = dict(batch_size=100)  # every pass is one step on all there is

KEY = jax.random.key(3)


def relabelled(problem, labels, classes, forget_classes):
    problem = problem.replace(
        labels=jnp.array(labels, jnp.int32),
        forget=jnp.arange(len(labels)),
        forget_classes=jnp.array(forget_classes, jnp.int32),
        num_classes=classes,
    )
    return np.asarray(relabel(KEY, problem))


def test_amnesiac_labels_are_neither_own_nor_forgotten_and_uniform(problem):
    labels = np.repeat(np.arange(5), 3000)
    for forgotten in ([], [1], [0, 3]):
        wrong = relabelled(problem, labels, 5, forgotten)
        for c in range(5):
            allowed = sorted(set(range(5)) - {c} - set(forgotten))
            counts = np.bincount(wrong[labels == c], minlength=5)
            assert counts.sum() == counts[allowed].sum()
            np.testing.assert_allclose(
                counts[allowed] / 3000, 1 / len(allowed), atol=0.04
            )


def test_amnesiac_labels_are_wrong_even_if_every_other_class_is_forgotten(problem):
    wrong = relabelled(problem, [0, 1, 1], 2, [0, 1])
    np.testing.assert_array_equal(wrong, [1, 0, 0])


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
