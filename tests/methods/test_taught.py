"""Answers of a teacher that are asked for once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import NormNet, tiny_problem, trained
from trees import assert_close

from unlearn.methods.taught import taught
from unlearn.models import from_linen
from unlearn.problem import Model

KEY = jax.random.key(3)
NAMES = [
    "delete",
    "scrub",
    pytest.param("reset_head_distill", marks=pytest.mark.slow),
    pytest.param("prune_reinit_entropy", marks=pytest.mark.slow),
    pytest.param("bad_teacher", marks=pytest.mark.slow),
]
INDICES = jnp.array([15, 30, 2, 17])  # none is forgotten


def nothing(key, inputs):
    return inputs


def shifted(key, inputs):
    return inputs + jax.random.normal(key, inputs.shape)


@pytest.fixture(scope="module")
def problem():
    return tiny_problem(from_linen(NormNet()))


@pytest.fixture(scope="module")
def teacher(problem):
    return trained(problem)


@pytest.mark.parametrize("augment", [None, shifted])
@pytest.mark.slow
def test_answers_are_those_to_the_inputs_of_the_batch(problem, teacher, augment):
    problem = problem.replace(augment=augment)
    pupils = taught(problem, teacher, problem.retain)
    inputs, answers = pupils.batch(INDICES, key=KEY).inputs
    plain = problem.inputs(INDICES)
    assert np.allclose(inputs, plain) == (augment is None)
    wanted, _ = problem.model.apply(teacher, inputs)
    np.testing.assert_allclose(answers, wanted, atol=1e-5)


def test_a_teacher_knows_only_what_it_was_asked(problem, teacher):
    pupils = taught(problem, teacher, problem.retain)
    batch = pupils.batch(jnp.arange(len(problem.labels)))
    np.testing.assert_array_equal(batch.labels, problem.labels)
    known = np.isfinite(batch.inputs[1]).all(-1)
    assert known[problem.retain].all() and not known[problem.forget].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_once_is_the_same_as_every_epoch(problem, teacher, name):
    """An augmentation that changes nothing asks the teacher again at every step."""
    if name == "bad_teacher":  # Adam makes a step of the noise before a BatchNorm
        problem = tiny_problem()
        teacher = trained(problem)
    after = [
        case(name, problem.replace(augment=augment), epochs=3)[0](
            KEY, teacher, problem.replace(augment=augment)
        )[0]
        for augment in (None, nothing)
    ]
    assert_close(*after, 1e-4, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_teacher_is_asked_outside_the_epochs(problem, teacher, name):
    """Examples seen in evaluation mode: whole sets, or every batch again."""
    once, always = (asked(problem, teacher, name, a, 4) for a in (None, nothing))
    assert 2 * once < always


def asked(problem, teacher, name, augment, epochs):
    """How many examples the model is asked about in evaluation mode in a run."""
    rows, apply = [], problem.model.apply

    def counted(variables, inputs, *, train=False, key=None):
        if not train:
            jax.debug.callback(lambda: rows.append(len(inputs)))
        return apply(variables, inputs, train=train, key=key)

    model = Model(problem.model.init, counted, problem.model.activations)
    watched = problem.replace(model=model, augment=augment)
    options = dict(statistics="batch") if name == "delete" else {}
    fn, seen = case(name, watched, epochs=epochs, **options)
    jax.block_until_ready(fn(KEY, teacher, seen)[0])
    jax.effects_barrier()
    return sum(rows)
