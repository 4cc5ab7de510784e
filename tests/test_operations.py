"""Operations against counts by hand."""

import jax
import jax.numpy as jnp
import pytest
from conftest import tiny_problem, trained

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


# What depends on data


def counts(fn, *args):
    return operations.count(fn, *args), operations.done(fn, *args)


@pytest.mark.parametrize("rounds", [0, 3, 7])
def test_loops_are_counted_as_often_as_they_run(rounds):
    square = jnp.eye(3)

    def body(state):
        number, x = state
        return number + 1, jax.jit(jnp.matmul)(x, square)

    def loop(x):
        return jax.lax.while_loop(lambda state: state[0] < rounds, body, (0, x))

    def twice(x):
        return jax.jit(lambda x: loop(x)[1])(loop(x)[1]) @ square

    assert operations.count(twice, square) == 3 * 54
    assert operations.done(twice, square) == (2 * rounds + 1) * 54


def test_counts_beyond_32_bits():
    """More than an int32 holds, in a loop, beside it and in its condition."""
    wide = jnp.zeros((2000, 2000))

    def loop(x):
        x = x @ wide
        return jax.lax.while_loop(
            lambda x: (x @ wide).sum() < 0, lambda x: x @ wide @ wide, x
        )

    assert operations.done(loop, wide) == pytest.approx(2 * 2 * 2000**3, rel=1e-6)


def test_a_condition_that_computes_counts_once_more_than_its_loop():
    square = jnp.eye(3)

    def loop(x):
        return jax.lax.while_loop(lambda x: (x @ square).sum() < 20, lambda x: 2 * x, x)

    assert operations.done(loop, square) == 4 * 54  # 3, 6, 12 and 24


def test_a_solver_is_counted_as_it_goes():
    """Conjugate gradients: as many products as there are different eigenvalues."""
    matrix = jnp.diag(jnp.array([1.0, 1.0, 3.0, 3.0, 7.0]))

    def solved(b):
        return jax.scipy.sparse.linalg.cg(lambda x: matrix @ x, b)[0]

    product, inner = 2 * 25, 2 * 5
    found = operations.done(solved, jnp.ones(5))  # one product for the first residual
    assert found == (3 + 1) * product + (3 + 1) * 2 * inner
    assert product <= operations.done(solved, jnp.zeros(5)) < 2 * product


def test_branches_are_counted_as_they_are_taken():
    """An epoch is a pass of a scan, and from the third on nothing is done."""
    square, wide = jnp.eye(3), jnp.ones((3, 5))

    def one(carry, number):
        x = jax.lax.cond(number < 2, lambda x: x @ square, lambda x: x, carry)
        y = jax.lax.switch(number, [lambda x: x @ wide, lambda x: wide], x)
        return x, y.sum()

    def train(x):
        return jax.lax.scan(one, x, jnp.arange(5), reverse=True)

    assert counts(train, square) == (5 * (54 + 90), 2 * 54 + 90)
    closed = jax.make_jaxpr(train)(square)
    found, _ = operations._run(closed.jaxpr, closed.consts, [square])
    for a, b in zip(found, jax.tree.leaves(train(square)), strict=True):
        assert jnp.array_equal(a, b)


def test_what_is_certain_is_not_run():
    square = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    assert counts(lambda x: x @ x, square) == (54, 54)


@pytest.mark.slow
def test_a_method_that_stops_and_one_that_searches():
    problem = tiny_problem()
    variables = trained(problem)

    def of(name, **constants):
        def run(variables, problem):
            return METHODS[name].fn(jax.random.key(0), variables, problem, **constants)

        return counts(run, variables, problem)

    small = dict(batch_size=16, forget_batch_size=4, retain_steps=2, last_epochs=1)
    once, at_once = of("duck", epochs=1, **small)
    most, stopped = of("duck", epochs=6, target_accuracy=1.0, **small)
    assert most > 3 * once and stopped == pytest.approx(at_once, rel=1e-4)
    constants = dict(batch_size=16, epochs=1, max_steps=20)
    least, found = of("amun", **constants, doublings=10)
    assert least == of("amun", **constants, doublings=0)[0]
    assert found > 1.2 * least
