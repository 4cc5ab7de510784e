"""NTK scrubbing against two ridge regressions."""

import jax
import numpy as np
import pytest
from cases import case
from dense import at_optimum, dense, linear_problem
from trees import flat


@pytest.mark.parametrize("linear", [True, False])
def test_ntk_scrub_is_the_difference_of_two_ridge_regressions(
    linear, problem, variables
):
    """In the space of the weights; the trapezium by its angle, as released."""
    if linear:
        problem = linear_problem("random")
        variables = at_optimum(problem, np.arange(60))
    retain = np.asarray(problem.retain)

    def solution(indices):
        _, jacobian, _, error = dense(problem, variables, indices)
        rows, error = jacobian.reshape(-1, jacobian.shape[-1]), error.reshape(-1)
        matrix = rows.T @ rows + len(indices) * 0.1 * np.eye(rows.shape[1])
        return -np.linalg.solve(matrix, rows.T @ error)

    of_retain = solution(retain)
    delta = of_retain - solution(np.append(retain, problem.forget))
    miss = -of_retain
    lengths = np.linalg.norm(delta), np.linalg.norm(miss)
    cosine = delta @ miss / np.prod(lengths)
    angle = np.arccos(cosine) - (np.pi / 2 if cosine < 0 else 0)
    side = np.sin(angle) if cosine < 0 else np.cos(angle)
    length = lengths[0] + 2 * side * lengths[1]
    step = delta * length / lengths[0]
    fn, seen = case("ntk_scrub", problem, examples=0, forget_examples=0)
    after, info = fn(jax.random.key(0), variables, seen)
    moved = flat(after["params"]) - flat(variables["params"])
    assert np.linalg.norm(moved - step) < 5e-3 * np.linalg.norm(step)
    np.testing.assert_allclose(info["trapezium"], length / lengths[0], 5e-3)
