"""Fisher matrices, WoodFisher and the Gauss-Newton product against dense references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_data
from dense import expected_fisher, fisher, gauss_newton, standard, unflattened
from references import dense_fisher
from scipy.special import softmax
from trees import assert_close, assert_equal, flat

from unlearn import Model, chunks, curvature, jacobians, make_problem
from unlearn.curvature import fisher_diagonal
from unlearn.models import create


def test_fisher_is_the_mean_of_squared_example_gradients(problem, variables):
    exact = fisher_diagonal(variables, problem, problem.forget)
    assert_close(exact, dense_fisher(problem, variables, problem.forget), 1e-4)


@pytest.mark.parametrize(
    "room", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (None, 1, 7))]
)
@pytest.mark.slow
def test_results_do_not_depend_on_what_an_accelerator_holds(
    room, problem, variables, monkeypatch
):
    """Room for so many gradients; 3 is a whole example of the expected Fisher."""
    params, retain = variables["params"], np.asarray(problem.retain)
    if room:
        fn = jacobians.logits_of(variables, problem, retain[0])
        each = chunks.backward_bytes(fn, params, shared=params)
        monkeypatch.setattr(chunks, "BUDGET", room * each)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    damping = 0.1

    @jax.jit
    def everything(variables, params):
        args = variables, problem, problem.retain
        return (
            fisher_diagonal(*args),
            curvature.expected_fisher_diagonal(*args),
            curvature.woodfisher(*args, params, damping),
        )

    empirical, expected, solved = everything(variables, params)
    assert_close(empirical, dense_fisher(problem, variables, problem.retain), 1e-4)
    dense = unflattened(expected_fisher(problem, variables, retain), params)
    assert_close(expected, dense, 1e-3, 1e-7)
    matrix = fisher(problem, variables, retain)
    dense = np.linalg.solve(matrix + damping * np.eye(len(matrix)), flat(params))
    assert_close(solved, unflattened(dense, params), 1e-3, 1e-4)


@pytest.mark.slow
def test_batch_mean_fisher_shrinks_with_the_group(problem, variables):
    """The control: the published variant does depend on the batch size."""
    sizes = [
        flat(fisher_diagonal(variables, problem, problem.retain, group=g)).sum()
        for g in (1, 4, 33)
    ]
    assert sizes[0] > 1.2 * sizes[1] > 1.2 * sizes[2]


def three_parameters():
    def apply(variables, images, *, train=False, key=None):
        return images.reshape(len(images), -1)[:, :3] * variables["params"], variables

    return Model(None, apply)


@pytest.mark.slow
def test_woodfisher_is_the_dense_inverse_fisher_product():
    images, labels = tiny_data(30)
    problem = make_problem(images, labels, [0], three_parameters(), num_classes=3)
    variables = {"params": jnp.array([0.5, -1.0, 2.0])}
    vector, damping = np.array([1.0, -2.0, 0.5]), 0.01
    x, y = standard(problem, problem.retain)[:, :3], labels[1:]
    each = (softmax(x * np.asarray(variables["params"]), -1) - np.eye(3)[y]) * x
    matrix = each.T @ each / len(each) + damping * np.eye(3)
    expected = np.linalg.solve(matrix, vector)
    args = variables, problem, problem.retain, jnp.float32(vector), damping
    np.testing.assert_allclose(curvature.woodfisher(*args), expected, 1e-3)

    inverse = np.eye(3) / damping  # Singh & Alistarh's recursion
    for g in each:
        u = inverse @ g
        inverse -= np.outer(u, u) / (len(each) + g @ u)
    np.testing.assert_allclose(inverse @ vector, expected, 1e-8)

    k, o = vector / damping, each[0] / damping  # released code's: the control
    for g in each[1:]:
        k = k - k @ g / (len(each) + o @ g) * o
        o = o - o @ g / (len(each) + o @ g) * o
    assert np.linalg.norm(k - expected) > 0.5 * np.linalg.norm(expected)


@pytest.mark.slow
def test_gauss_newton_product_through_custom_gradients():
    """Convolutions and pooling here refuse plain forward mode; a ragged last batch."""
    images, labels = tiny_data(11)
    net = create("cnn", 3, widths=(2,), dense=4)
    problem = make_problem(images, labels, [0], net, num_classes=3)
    variables = net.init(jax.random.key(0), problem.inputs(problem.forget))
    params, unflatten = jax.flatten_util.ravel_pytree(variables["params"])
    vector = jax.random.normal(jax.random.key(1), params.shape)
    product = jax.jit(
        lambda variables, vector: curvature.gauss_newton_product(
            variables, problem, problem.retain, vector, batch_size=3
        )
    )
    matrix = gauss_newton(problem, variables, np.asarray(problem.retain))
    expected = unflatten(jnp.float32(matrix @ vector))
    assert_close(product(variables, unflatten(vector)), expected, 1e-3, 1e-4)


@pytest.mark.slow
def test_curvature_examples_are_a_part_of_the_set():
    indices = jnp.arange(100, 120)
    chosen = np.asarray(curvature.draw(jax.random.key(0), indices, 8))
    assert len(set(chosen)) == 8 and set(chosen) <= set(range(100, 120))
    for count in (0, 20, 50):
        assert_equal(curvature.draw(jax.random.key(0), indices, count), indices)
