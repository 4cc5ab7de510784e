"""Products with the logits' Jacobian against the dense one, whatever memory holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import dense
from trees import assert_close, flat

from unlearn import chunks, jacobians

SETTINGS = {
    "all at once": None,
    "one example in two parts": 2,
    "a gradient at a time": 1,
}


@pytest.fixture(params=SETTINGS)
def memory(request, monkeypatch, problem, variables):
    """Room for so many gradients of one output."""
    gradients = SETTINGS[request.param]
    if gradients:
        each = chunks.backward_bytes(
            jacobians.logits_of(variables, problem, jnp.int32(0)),
            variables["params"],
            shared=variables["params"],
        )
        monkeypatch.setattr(chunks, "BUDGET", gradients * each)
    return gradients


def test_gram_is_the_dense_kernel(memory, problem, variables):
    indices = np.asarray(problem.retain)[:11]
    parts = jacobians.output_parts(variables, problem, indices[0])
    assert parts == {None: (3, 1, 3), 2: (3, 2, 2), 1: (3, 3, 1)}[memory]
    _, jacobian, _, _ = dense(problem, variables, indices)
    rows = jacobian.reshape(33, -1)
    table = jacobians.gram_of_logits(variables, problem, indices)
    np.testing.assert_allclose(table, rows @ rows.T, 1e-4, 1e-5)


def test_rows_times_a_vector(memory, problem, variables):
    """A ragged last block; the vector is a tree like the rows."""
    rng, count = np.random.default_rng(0), 7
    rows = {"a": rng.normal(size=(count, 2, 3)), "b": rng.normal(size=(count, 2))}
    vector = {"a": rng.normal(size=3), "b": rng.normal()}
    rows, vector = (jax.tree.map(jnp.float32, tree) for tree in (rows, vector))

    def rows_of(number):
        return jax.tree.map(lambda x: x[number], rows)

    each = {None: 1, 2: chunks.BUDGET // 4, 1: chunks.BUDGET}[memory]
    table, moved = jacobians.gram(rows_of, jnp.arange(count), each, vector)
    dense_rows = np.hstack([rows["a"].reshape(14, 3), rows["b"].reshape(14, 1)])
    along = dense_rows @ np.append(vector["a"], vector["b"])
    np.testing.assert_allclose(table, dense_rows @ dense_rows.T, 1e-5, 1e-5)
    np.testing.assert_allclose(moved, along, 1e-5, 1e-5)


def test_pulled_back_errors(memory, problem, variables):
    indices = np.asarray(problem.retain)
    errors = np.random.default_rng(1).normal(size=(len(indices), 3))
    _, jacobian, _, _ = dense(problem, variables, indices)
    expected = np.einsum("nk,nkp->p", errors, jacobian)
    product = jacobians.pull_back(variables, problem, indices, jnp.float32(errors))
    assert jax.tree.structure(product) == jax.tree.structure(variables["params"])
    np.testing.assert_allclose(flat(product), expected, 1e-3, 1e-4)


@pytest.mark.slow
def test_the_kernel_maps_over_models(problem, variables):
    """A loop of blocks inside `vmap`: each model gets its own kernel."""
    indices = problem.retain[:5]
    others = jax.tree.map(lambda x: 1.5 * x, variables)
    both = jax.tree.map(lambda *x: jnp.stack(x), variables, others)
    tables = jax.vmap(lambda v: jacobians.gram_of_logits(v, problem, indices))(both)
    for table, model in zip(tables, (variables, others), strict=True):
        alone = jacobians.gram_of_logits(model, problem, indices)
        assert_close(table, alone, 1e-4, 1e-5)
