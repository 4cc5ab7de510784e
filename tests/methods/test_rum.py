"""Thirds by loss, and each third's method as it is alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_problem, trained
from trees import assert_close, assert_equal

from unlearn.errors import InputError
from unlearn.methods import delete, finetune, l1_sparse, rum, salun
from unlearn.methods.rum import by_memorisation, usable
from unlearn.pipeline import checks
from unlearn.pipeline.config import method_defaults

KEY = jax.random.key(2)
OPTIONS = dict(epochs=2, learning_rate=0.05, batch_size=16)


@pytest.fixture
def original(problem):
    return trained(problem, epochs=3)


def losses(problem, variables, indices):
    logits, _ = problem.model.apply(variables, problem.inputs(indices))
    chances = jax.nn.log_softmax(logits)
    return -np.asarray(chances)[np.arange(len(indices)), problem.labels[indices]]


@pytest.mark.parametrize(
    "count, sizes", [(8, [2, 2, 4]), (2, [0, 0, 2]), (1, [0, 0, 1])]
)
def test_thirds_of_the_forget_set_by_loss(original, count, sizes):
    problem = tiny_problem(size=30, forget=count)
    thirds = by_memorisation(problem, original)
    assert [len(third) for third in thirds] == sizes
    order = np.concatenate(thirds)
    assert sorted(order) == sorted(np.asarray(problem.forget))
    assert (np.diff(losses(problem, original, jnp.asarray(order))) >= 0).all()


@pytest.mark.slow
def test_nothing_then_fine_tuning_then_salun(original, problem):
    found, info = rum(KEY, original, problem, **OPTIONS, forget_epochs=2, alpha=3.0)
    low, middle, high = by_memorisation(problem, original)
    assert min(len(low), len(middle)) > 0
    keys = jax.random.split(KEY)
    retain = jnp.concatenate([problem.retain, high])
    second, _ = finetune(keys[0], original, problem.replace(retain=retain), **OPTIONS)
    expected, known = salun(
        keys[1],
        second,
        problem.replace(forget=high),
        **OPTIONS | {"learning_rate": 0.013},
        alpha=3.0,
    )
    assert_equal(found, expected)
    assert info.keys() == {"loss"}
    np.testing.assert_array_equal(info["loss"], known["loss"])


@pytest.mark.slow
def test_a_single_example_has_salun_alone(original):
    problem = tiny_problem(size=30, forget=1)
    found, _ = rum(KEY, original, problem, **OPTIONS, forget_epochs=1)
    expected, _ = salun(
        jax.random.split(KEY)[1],
        original,
        problem,
        epochs=1,
        batch_size=16,
        learning_rate=0.013,
    )
    assert_close(found, expected)


@pytest.mark.slow
def test_thirds_are_forgotten_by_what_is_named(original, problem):
    """With the constants that are theirs: the alpha of L1-sparse is not that of SalUn.

    What is not forgotten yet is retained, and nothing is nothing.
    """
    named = dict(low="l1_sparse", medium="none", high="delete", alpha=3.0)
    strong = dict(forget_learning_rate=0.02, forget_epochs=1)
    found, info = rum(KEY, original, problem, **OPTIONS, **strong, **named)
    _, medium, high = by_memorisation(problem, original)
    retain = jnp.concatenate([problem.retain, medium, high])
    key = jax.random.fold_in(KEY, 0)
    expected, _ = l1_sparse(key, original, problem.replace(retain=retain), **OPTIONS)
    expected, known = delete(
        jax.random.split(KEY)[1],
        expected,
        problem.replace(forget=high),
        learning_rate=0.02,
        epochs=1,
        batch_size=16,
    )
    assert_equal(found, expected)
    np.testing.assert_array_equal(info["loss"], known["loss"])


@pytest.mark.parametrize("name", ["rewind", "trew", "retrain", "rum", "fintune", ""])
def test_what_does_not_fit_is_refused_in_one_line(original, problem, name):
    assert {"none", "finetune", "salun", "scrub"} <= set(usable())
    with pytest.raises(InputError, match=f"rum cannot forget by '{name}', as low sa"):
        rum(KEY, original, problem, low=name)


@pytest.mark.parametrize("label", ["rum", "rum__5pc"])
def test_folders_from_before_there_was_a_choice_go_on(label):
    defaults, later = method_defaults("rum"), checks.LATER["rum"]
    assert later.items() <= defaults.items()
    kept = checks.as_kept(label, defaults)
    assert defaults.keys() - kept.keys() == later.keys()
    other = checks.as_kept(label, defaults | {"high": "finetune"})
    assert other == kept | {"high": "finetune"}
