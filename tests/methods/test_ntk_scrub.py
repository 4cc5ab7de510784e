"""NTK scrubbing against two ridge regressions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from dense import at_optimum, dense, linear_problem
from trees import flat

from unlearn.problem import sample_retain


def ridge(problem, variables, indices):
    """In the space of the weights."""
    _, jacobian, _, error = dense(problem, variables, indices)
    rows, error = jacobian.reshape(-1, jacobian.shape[-1]), error.reshape(-1)
    matrix = rows.T @ rows + len(indices) * 0.1 * np.eye(rows.shape[1])
    return -np.linalg.solve(matrix, rows.T @ error)


def dense_step(problem, variables):
    """The step, and how many times the difference it is: by its angle, as released."""
    retain = np.asarray(problem.retain)
    of_retain = ridge(problem, variables, retain)
    delta = of_retain - ridge(problem, variables, np.append(retain, problem.forget))
    miss = -of_retain
    lengths = np.linalg.norm(delta), np.linalg.norm(miss)
    cosine = delta @ miss / np.prod(lengths)
    angle = np.arccos(cosine) - (np.pi / 2 if cosine < 0 else 0)
    side = np.sin(angle) if cosine < 0 else np.cos(angle)
    length = lengths[0] + 2 * side * lengths[1]
    return delta * length / lengths[0], length / lengths[0]


def taken_step(problem, variables, **constants):
    fn, seen = case("ntk_scrub", problem, **constants)
    after, info = fn(jax.random.key(0), variables, seen)
    return flat(after["params"]) - flat(variables["params"]), info


ALL = dict(examples=0, forget_examples=0)


@pytest.mark.parametrize("linear", [True, False])
def test_ntk_scrub_is_the_difference_of_two_ridge_regressions(
    linear, problem, variables
):
    if linear:
        problem = linear_problem("random")
        variables = at_optimum(problem, np.arange(60))
    step, factor = dense_step(problem, variables)
    moved, info = taken_step(problem, variables, **ALL)
    assert np.linalg.norm(moved - step) < 5e-3 * np.linalg.norm(step)
    np.testing.assert_allclose(info["trapezium"], factor, 5e-3)
    np.testing.assert_allclose(info["step"], np.linalg.norm(step), 5e-3)


def copies(problem, retain=5, forget=2):
    """So many of each example: a sample of one of each tells the whole."""
    return problem.replace(
        retain=jnp.tile(problem.retain, retain), forget=jnp.tile(problem.forget, forget)
    )


@pytest.mark.slow
def test_a_sample_counts_by_the_true_sizes_of_the_sets():
    """Exactly that of all the data, where each drawn example stands for its copies."""
    problem = linear_problem("random")
    variables = at_optimum(problem, np.arange(60))
    step, _ = dense_step(copies(problem), variables)
    sizes = len(problem.retain), len(problem.forget)
    sample = problem.replace(
        retain=problem.retain,
        forget=problem.forget,
        total_retain=5 * sizes[0],
        total_forget=2 * sizes[1],
    )
    moved, _ = taken_step(sample, variables, **ALL)
    assert np.linalg.norm(moved - step) < 5e-3 * np.linalg.norm(step)
    unweighted, _ = taken_step(problem, variables, **ALL)  # the control
    assert np.linalg.norm(unweighted - step) > 0.1 * np.linalg.norm(step)


@pytest.mark.slow
def test_a_random_sample_is_near_the_step_of_all_the_data():
    """Of 265 retained and 14 forgotten examples 100 and 7; a smaller set as given."""
    problem = copies(linear_problem("random"))
    variables = at_optimum(problem, np.arange(60))
    step, _ = dense_step(problem, variables)
    fn, seen = case("ntk_scrub", problem, examples=100, forget_examples=7)
    part = sample_retain(jax.random.key(1), seen, 120)
    for given in (seen, part):
        for seed in range(3):
            after, _ = fn(jax.random.key(seed), variables, given)
            moved = flat(after["params"]) - flat(variables["params"])
            lengths = np.linalg.norm(moved), np.linalg.norm(step)
            assert moved @ step > 0.8 * np.prod(lengths)
            assert 0.6 < lengths[0] / lengths[1] < 1.6
