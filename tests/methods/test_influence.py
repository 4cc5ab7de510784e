"""Influence against dense float64 solutions."""

import jax
import numpy as np
import pytest
from cases import case
from dense import (
    FORGET,
    PENALTY,
    at_optimum,
    fisher,
    gauss_newton,
    gradients,
    linear_problem,
)
from trees import flat

from unlearn.errors import InputError


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


def test_influence_names_its_solvers(problem, variables):
    with pytest.raises(InputError, match="cg, woodfisher"):
        case("influence", problem, solver="lissa")[0](
            jax.random.key(0), variables, problem
        )
