"""What is particular to SCRUB."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_problem
from trees import assert_close, assert_equal, distance

from unlearn.errors import InputError
from unlearn.methods.scrub import validation_error
from unlearn.training import kl_divergence


@pytest.mark.slow
def test_scrub_alternates_max_and_min_then_min_only(problem, variables):
    """Four epochs, two of them with a max pass, step by step; no other order gives it.

    The passes are one full batch each, so plain gradient steps are the reference. The
    first max pass alone would show nothing: there student and teacher agree.
    """
    rate, gamma, alpha, temperature = 0.05, 0.8, 0.4, 3.0
    teacher = jax.tree.map(lambda x: x * 1.0, variables)

    def kl(params, indices):
        inputs = problem.inputs(indices)
        p = jax.nn.softmax(problem.model.apply(teacher, inputs)[0] / temperature)
        logits = problem.model.apply({"params": params}, inputs)[0]
        q = jax.nn.softmax(logits / temperature)
        return temperature**2 * jnp.sum(p * (jnp.log(p) - jnp.log(q)), -1).mean()

    def ce(params, indices):
        logits = problem.model.apply({"params": params}, problem.inputs(indices))[0]
        q = jax.nn.softmax(logits)
        return -jnp.log(q[jnp.arange(len(indices)), problem.labels[indices]]).mean()

    def maximum(params):
        return -kl(params, problem.forget)

    def minimum(params):
        retain = problem.retain
        return gamma * ce(params, retain) + alpha * kl(params, retain)

    def both(params):
        return maximum(params) + minimum(params)

    def wrong_sign(params):
        return -maximum(params)

    def after_steps(*losses):
        student = variables["params"]
        velocity = jax.tree.map(jnp.zeros_like, student)
        for loss in losses:
            gradient = jax.jit(jax.grad(loss))(student)
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            student = jax.tree.map(lambda p, v: p - rate * v, student, velocity)
        return student

    expected = after_steps(*(maximum, minimum) * 2, minimum, minimum)
    fn, seen = case(
        "scrub",
        problem,
        epochs=4,
        max_epochs=2,
        learning_rate=rate,
        gamma=gamma,
        alpha=alpha,
        temperature=temperature,
        optimizer="sgd",
        weight_decay=0.0,
        rewind=False,
        batch_size=40,
        forget_batch_size=40,
    )
    after, _ = fn(jax.random.key(0), variables, seen)
    assert_close(after["params"], expected, 1e-4, 1e-5)
    for other in (
        (maximum, maximum, *(minimum,) * 4),
        (minimum,) * 4,
        (both, both, minimum, minimum),
        (*(wrong_sign, minimum) * 2, minimum, minimum),
    ):
        with pytest.raises(AssertionError):
            assert_close(after["params"], after_steps(*other), 1e-4, 1e-5)


def test_scrub_leaves_the_teacher_and_moves_the_student(problem, variables):
    fn, seen = case("scrub", problem, rewind=False, epochs=1, max_epochs=1)
    teacher = jax.tree.map(lambda x: np.array(x), variables)
    after, _ = fn(jax.random.key(0), variables, seen)
    assert_equal(jax.tree.map(np.asarray, variables), teacher)
    assert distance(after, variables) > 1e-4


@pytest.mark.slow
def test_scrub_max_pass_moves_away_from_the_teacher_on_the_forget_set(
    problem, variables
):
    """With the retain pass switched off, the forget loss grows."""
    fn, seen = case(
        "scrub",
        problem,
        rewind=False,
        gamma=0.0,
        alpha=0.0,
        epochs=3,
        max_epochs=3,
        learning_rate=1e-2,
        optimizer="adam",
    )
    after, _ = fn(jax.random.key(0), variables, seen)

    def output(variables):
        return problem.model.apply(variables, problem.inputs(problem.forget))[0]

    assert kl_divergence(output(variables), output(after)).mean() > 1e-3
    assert distance(after, variables) > 1e-2


@pytest.mark.slow
def test_scrub_rewinds_to_the_epoch_closest_to_validation(problem, variables):
    fn, seen = case("scrub", problem, epochs=5, max_epochs=3, learning_rate=2e-2)
    after, info = fn(jax.random.key(2), variables, seen)
    gaps = np.abs(info["forget_error"] - info["validation_error"])
    chosen = int(info["epoch"])
    assert gaps[chosen - 1] == gaps.min()
    logits, _ = problem.model.apply(after, problem.inputs(problem.forget))
    wrong = np.argmax(logits, -1) != problem.labels[problem.forget]
    np.testing.assert_allclose(wrong.mean(), info["forget_error"][chosen - 1])


@pytest.mark.slow
def test_scrub_validation_error_has_the_classes_of_the_forget_set(variables):
    """With one class forgotten, only that class's validation error counts."""
    problem = tiny_problem()
    forget = jnp.flatnonzero(problem.labels == 1)
    held_out = problem.validation
    logits, _ = problem.model.apply(variables, held_out.inputs(held_out.retain))
    wrong = np.argmax(logits, -1) != held_out.labels
    expected = wrong[np.asarray(held_out.labels) == 1].mean()
    np.testing.assert_allclose(
        validation_error(variables, problem.replace(forget=forget)), expected
    )


def test_scrub_without_validation_says_so(problem, variables):
    with pytest.raises(InputError, match="rewind"):
        case("scrub", problem)[0](
            jax.random.key(0), variables, problem.replace(validation=None)
        )
