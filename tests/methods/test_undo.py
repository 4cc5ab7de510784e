"""The two ends of the family, and the distillation between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import trained
from trees import assert_close, flat

from unlearn.methods import finetune, retrain_short, undo
from unlearn.training import kl_divergence, predict_set

SHARED = dict(learning_rate=0.05, epochs=2, batch_size=16)
KEY = jax.random.key(3)
KEY_FIT = jax.random.split(KEY)[1]


@pytest.fixture
def original(problem):
    return trained(problem, epochs=3)


@pytest.mark.slow
def test_nothing_of_a_fresh_start_is_fine_tuning(problem, original):
    options = dict(share=0.0, warmup_epochs=0, labels=1.0)
    found, info = undo(KEY, original, problem, **SHARED, **options)
    expected, known = finetune(KEY_FIT, original, problem, **SHARED)
    assert_close(found, expected)
    np.testing.assert_allclose(info["loss"], known["loss"], rtol=1e-5)


def test_all_of_it_is_retraining(problem, original):
    found, _ = undo(KEY, original, problem, **SHARED, share=1.0, labels=1.0)
    expected, _ = retrain_short(KEY, original, problem, **SHARED)
    assert_close(found, expected)


@pytest.mark.slow
def test_it_goes_a_part_of_the_way(problem, original):
    """Without steps that move: on the line from the original to a fresh net."""

    def at(share):
        options = SHARED | dict(learning_rate=0.0, share=share)
        return flat(undo(KEY, original, problem, **options)[0]["params"])

    start, end = at(0.0), at(1.0)
    np.testing.assert_allclose(start, flat(original["params"]))
    assert np.linalg.norm(end - start) > 1
    np.testing.assert_allclose(at(0.3), 0.7 * start + 0.3 * end, atol=1e-6)


@pytest.mark.slow
def test_only_the_last_layers_go(problem, original):
    options = SHARED | dict(learning_rate=0.0, share=0.7)
    some, _ = undo(KEY, original, problem, **options, layers=1)
    every, _ = undo(KEY, original, problem, **options)
    names = list(original["params"])
    changed = []
    for name in names:
        if all(np.array_equal(*pair) for pair in leaves(some, original, name)):
            continue
        changed.append(name)
        assert all(np.array_equal(*pair) for pair in leaves(some, every, name))
    assert changed == ["head"] and len(names) > 1


def leaves(one, other, name):
    """The weights of a layer in two models, in pairs."""
    return zip(*(jax.tree.leaves(v["params"][name]) for v in (one, other)), strict=True)


@pytest.mark.slow
def test_distillation_starts_at_the_divergence_from_the_original(problem, original):
    """Of the mixed net, in one batch of all; of the original itself it is nothing."""
    options = dict(epochs=1, batch_size=1000, temperature=2.0)  # as it is by default
    mixed, info = undo(KEY, original, problem, learning_rate=0.0, share=0.4, **options)
    theirs, ours = (predict_set(problem, v, problem.retain) for v in (original, mixed))
    expected = jnp.mean(kl_divergence(theirs, ours, 2.0))
    assert expected > 1e-3
    np.testing.assert_allclose(info["loss"][0, 0], expected, rtol=1e-4)
    _, same = undo(KEY, original, problem, learning_rate=0.0, share=0.0, **options)
    assert abs(same["loss"][0, 0]) < 1e-6
