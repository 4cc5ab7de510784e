"""Operations against counts by hand."""

import jax
import jax.numpy as jnp
import pytest
from conftest import tiny_problem

from unlearn import operations
from unlearn.methods import METHODS
from unlearn.models.layers import Conv


def test_products_and_convolutions():
    a, b = jnp.zeros((5, 3, 4)), jnp.zeros((5, 4, 7))
    assert operations.count(jnp.matmul, a, b) == 2 * 5 * 3 * 4 * 7
    images, layer = jnp.zeros((2, 8, 8, 3)), Conv(6, (3, 3), strides=2, padding=1)
    variables = layer.init(jax.random.key(0), images)
    found = operations.count(layer.apply, variables, images)
    assert found == 2 * (2 * 4 * 4 * 6) * (3 * 3 * 3)


def test_loops_branches_and_what_is_inside_others():
    square = jnp.zeros((3, 3))
    once = 2 * 27

    def step(x, _):
        return jax.jit(jnp.matmul)(x, square), None

    def scanned(x):
        return jax.lax.scan(step, x, length=10)[0]

    def branches(x):
        return jax.lax.cond(x[0, 0] > 0, scanned, lambda x: x @ square, x)

    def unknown(x):
        return jax.lax.while_loop(lambda x: x[0, 0] < 0, lambda x: x @ square, x)

    assert operations.count(scanned, square) == 10 * once
    assert operations.count(jax.checkpoint(scanned), square) == 10 * once
    assert operations.count(branches, square) == 10 * once
    assert operations.count(unknown, square) == once
    assert operations.count(lambda x: jax.vmap(scanned)(x[None]), square) == 10 * once


@pytest.mark.parametrize("epochs, batch", [(2, 16), (3, 33)])
def test_a_training(epochs, batch):
    """A step of a perceptron: three products a layer, of the first but two."""
    problem = tiny_problem()  # 16 pixels, 8 hidden units, 3 classes
    variables = problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))
    constants = dict(epochs=epochs, batch_size=batch)

    def finetune(variables):
        key = jax.random.key(0)
        return METHODS["finetune"].fn(key, variables, problem, **constants)[0]

    size = len(problem.retain)
    seen = -(-size // batch) * min(batch, size)  # the filling is computed too
    each = 2 * (2 * 16 * 8 + 3 * 8 * 3)
    assert operations.count(finetune, variables) == epochs * seen * each
