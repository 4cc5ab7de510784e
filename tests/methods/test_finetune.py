"""Fine-tuning that stops early, and the validation loss it stops by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from trees import assert_close, assert_equal, distance

from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.methods.finetune import validation_loss
from unlearn.problem import withhold
from unlearn.training import cross_entropy

KEY = jax.random.key(4)

CONSTANTS = dict(epochs=3, learning_rate=0.1, decay="constant")


@pytest.mark.slow
def test_result_is_the_best_epoch_and_its_batch_statistics(
    norm_class_problem, norm_variables
):
    """With a constant rate, the first e epochs are those of a run of e epochs."""
    problem = norm_class_problem
    # Wrong labels: in the end, learning makes this worse.
    wrong = (problem.validation.labels + 2) % 3
    problem = problem.replace(validation=problem.validation.replace(labels=wrong))
    candidates = []
    for epochs in (1, 2, 3):
        fn, seen = case("finetune", problem, **CONSTANTS | {"epochs": epochs})
        candidates.append(fn(KEY, norm_variables, seen)[0])
    scores = [float(validation_loss(problem, v)) for v in candidates]
    best = int(np.argmin(scores))
    fn, seen = case("finetune", problem, early_stopping=True, **CONSTANTS)
    after, info = fn(KEY, norm_variables, seen)
    assert info["best_epoch"] == best + 1 < 3
    assert_close(after, candidates[best])
    assert distance(after, candidates[-1]) > 1e-3
    fn, seen = case("finetune", problem, **CONSTANTS)
    assert fn(KEY, norm_variables, seen)[1]["best_epoch"] == 3


@pytest.mark.slow
def test_validation_loss_leaves_the_forgotten_class_out(class_problem, variables):
    held_out = class_problem.validation
    logits, _ = class_problem.model.apply(
        variables, held_out.inputs(jnp.arange(len(held_out.labels)))
    )
    losses = np.asarray(cross_entropy(logits, held_out.labels))
    labels = np.asarray(held_out.labels)
    found = validation_loss(class_problem, variables)
    np.testing.assert_allclose(found, losses[labels != 1].mean(), rtol=1e-5)
    found = validation_loss(class_problem, variables, balance=1.0)
    means = [losses[labels == c].mean() for c in (0, 2)]
    np.testing.assert_allclose(found, np.mean(means), rtol=1e-5)
    everything = class_problem.replace(forget_classes=jnp.zeros(0, jnp.int32))
    found = validation_loss(everything, variables)
    np.testing.assert_allclose(found, losses.mean(), rtol=1e-5)


def test_needs_a_validation_set(problem, variables):
    fn, seen = case("finetune", problem.replace(validation=None), early_stopping=True)
    with pytest.raises(InputError, match="stops early by a validation set"):
        fn(KEY, variables, seen)


@pytest.mark.slow
def test_without_it_the_last_epoch_is_returned_without_a_validation_set(
    problem, variables
):
    fn, seen = case("finetune", problem)
    fn_without, without = case("finetune", problem.replace(validation=None))
    assert_equal(fn(KEY, variables, seen)[0], fn_without(KEY, variables, without)[0])


def test_a_validation_set_of_forgotten_classes_only_is_refused(
    norm_class_problem, norm_variables
):
    """Its loss on retained classes is NaN, which no epoch would ever be below."""
    held_out = norm_class_problem.validation
    gone = jnp.full_like(held_out.labels, norm_class_problem.forget_classes[0])
    problem = norm_class_problem.replace(validation=held_out.replace(labels=gone))
    fn, seen = METHODS["finetune"].fn, withhold(problem, METHODS["finetune"].needs)
    with pytest.raises(InputError, match="forgotten classes only"):
        fn(KEY, norm_variables, seen, early_stopping=True)
    fn(KEY, norm_variables, seen, epochs=1)
