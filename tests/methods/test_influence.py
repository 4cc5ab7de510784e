"""Influence against dense float64 solutions."""

import jax
import numpy as np
import pytest
from cases import case
from conftest import tiny_data
from dense import (
    FORGET,
    PENALTY,
    at_optimum,
    fisher,
    gauss_newton,
    gradients,
    linear_model,
    linear_problem,
)
from trees import flat

from unlearn import make_problem
from unlearn.errors import InputError
from unlearn.problem import sample_retain


@pytest.mark.parametrize("solver", ["cg", "woodfisher"])
def test_influence_is_the_dense_solve(solver, problem, variables):
    """On a net with a hidden layer; the retain gradient is the retain set's."""
    forget, retain = np.asarray(problem.forget), np.asarray(problem.retain)
    of_forget = gradients(problem, variables, forget).mean(0)
    of_retain = gradients(problem, variables, retain).mean(0)
    v = 7 / 40 * (of_forget - of_retain)
    dense_matrix = {"cg": gauss_newton, "woodfisher": fisher}[solver]
    matrix = dense_matrix(problem, variables, retain) + 0.1 * np.eye(len(v))
    step = 2.0 * np.linalg.solve(matrix, v)
    settings = dict(scale=2.0, damping=0.1, examples=0, iterations=60)
    fn, seen = case("influence", problem, solver=solver, **settings)
    after, info = fn(jax.random.key(0), variables, seen)
    moved = flat(after["params"]) - flat(variables["params"])
    assert np.linalg.norm(moved - step) < 2e-3 * np.linalg.norm(step)
    np.testing.assert_allclose(info["gradient"], np.linalg.norm(v), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORGET)
def test_influence_is_the_leave_out_newton_step(kind):
    """Of regularised softmax regression: its Hessian is the Gauss-Newton matrix."""
    problem = linear_problem(kind)
    variables = at_optimum(problem, np.arange(60))
    retain, theta = np.asarray(problem.retain), flat(variables["params"])
    gradient = gradients(problem, variables, retain).mean(0) + PENALTY * theta
    hessian = gauss_newton(problem, variables, retain) + PENALTY * np.eye(51)
    newton = theta - np.linalg.solve(hessian, gradient)
    settings = dict(solver="cg", scale=1.0, examples=0, iterations=60)
    fn, seen = case("influence", problem, damping=PENALTY, **settings)
    after = flat(fn(jax.random.key(0), variables, seen)[0]["params"])
    assert np.linalg.norm(after - newton) < 2e-3 * np.linalg.norm(theta - newton)
    goal = flat(at_optimum(problem, retain)["params"])
    closer = 0.2 if kind == "random" else 0.6  # Newton's first step of a long way
    assert np.linalg.norm(after - goal) < closer * np.linalg.norm(theta - goal)


@pytest.fixture(scope="module")
def leave_out():
    """3000 examples of softmax regression, and the exact step without 5 % of them."""
    images, labels = tiny_data(3000, balanced=True)
    problem = make_problem(images, labels, np.arange(150), linear_model())
    variables = at_optimum(problem, np.arange(3000))
    after = at_optimum(problem, np.asarray(problem.retain))
    return problem, variables, flat(after["params"]) - flat(variables["params"])


def cosine_and_length(problem, leave_out, **constants):
    """Of the step of influence, beside the exact one."""
    _, variables, exact = leave_out
    settings = dict(scale=1.0, damping=PENALTY, solver="cg", iterations=60)
    fn, seen = case("influence", problem, **settings | constants)
    after, _ = fn(jax.random.key(0), variables, seen)
    moved = flat(after["params"]) - flat(variables["params"])
    length = np.linalg.norm(moved)
    return moved @ exact / length / np.linalg.norm(exact), length / np.linalg.norm(
        exact
    )


@pytest.mark.parametrize("examples", [0, 500])
def test_influence_is_the_leave_out_step(examples, leave_out):
    """The curvature alone may be of some examples."""
    cosine, length = cosine_and_length(leave_out[0], leave_out, examples=examples)
    assert cosine > 0.99 and 0.95 < length < 1.05


@pytest.mark.slow
def test_influence_of_a_part_of_the_retain_set_has_the_true_length(leave_out):
    """The direction has the noise of g_r; the share of the sample is the control."""
    part = sample_retain(jax.random.key(5), leave_out[0], 400)
    cosine, length = cosine_and_length(part, leave_out, examples=0)
    assert cosine > 0.8 and 0.7 < length < 1.4
    wrong = part.replace(retain=part.retain)  # whole, as far as it can be known
    assert cosine_and_length(wrong, leave_out, examples=0)[1] > 4


def test_influence_names_its_solvers(problem, variables):
    with pytest.raises(InputError, match="cg, woodfisher"):
        case("influence", problem, solver="lissa")[0](
            jax.random.key(0), variables, problem
        )
