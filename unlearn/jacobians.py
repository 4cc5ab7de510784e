"""Products with the Jacobian of a net's logits, of as much of it as memory holds.

Rows are trees like the parameters. What does not fit is computed again; results do not
depend on how much is held.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from unlearn import chunks
from unlearn.problem import Problem, Variables, as_float32
from unlearn.training import in_order


def logits_of(
    variables: Variables, problem: Problem, index: jax.Array
) -> Callable[[dict], jax.Array]:
    """Returns `params -> logits float32[K]` of one example, in evaluation mode."""

    def fn(params):
        inputs = problem.inputs(index[None])
        logits, _ = problem.model.apply({**variables, "params": params}, inputs)
        return as_float32(logits[0])

    return fn


def output_parts(
    variables: Variables, problem: Problem, index: jax.Array
) -> tuple[int, int, int]:
    """Returns (K, parts, size): in how many parts K outputs are differentiated.

    One part, of all K, unless the gradients of so many outputs do not fit in memory.
    """
    fn, params = logits_of(variables, problem, index), variables["params"]
    outputs = jax.eval_shape(fn, params).size
    each = chunks.backward_bytes(fn, params, shared=params)
    return outputs, *chunks.even(outputs, chunks.at_once(each, outputs))


def pull_back(
    variables: Variables, problem: Problem, indices: jax.Array, errors: jax.Array
) -> dict:
    """Multiplies by the logits' Jacobian: J^T errors, summed over examples.

    In evaluation mode; `errors` is float32[N, K]. Returns: a tree like the parameters.
    """
    params = variables["params"]
    first = logits_of(variables, problem, indices[0])
    each = chunks.backward_bytes(first, params, shared=params)
    rows = in_order(indices, chunks.at_once(each, 256))
    places = in_order(jnp.arange(len(indices), dtype=jnp.int32), rows.indices.shape[1])

    def add(total, scanned):
        row, places = scanned

        def logits(params):
            inputs = problem.inputs(row.indices)
            logits, _ = problem.model.apply({**variables, "params": params}, inputs)
            return as_float32(logits)

        (product,) = jax.vjp(logits, params)[1](row.weights[:, None] * errors[places])
        return jax.tree.map(jnp.add, total, product), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add, zeros, (rows, places.indices))[0]


def gram(
    rows_of: Callable[[Any], dict], items: Any, each: int, vector: dict | None = None
) -> tuple[jax.Array, jax.Array]:
    """Multiplies all rows by each other, and by `vector`.

    Two blocks of rows are held at a time: where not all fit in one, they are computed
    again for each pair of blocks.

    Args:
      rows_of: makes of an item a tree of arrays [M, ...]: M rows, each a tree like the
        parameters.
      items: a tree of arrays [N, ...].
      each: the bytes that one item takes while its rows are computed.
      vector: a tree like the parameters.

    Returns: float32[N * M, N * M], and the products with `vector`, float32[N * M];
      zeros without one.
    """
    count = len(jax.tree.leaves(items)[0])
    parts, size = chunks.even(count, chunks.at_once(2 * each, count))
    at_once = chunks.examples_at_once(lambda: each)
    places = jnp.arange(parts * size, dtype=jnp.int32) % count
    items = jax.tree.map(lambda x: x[places].reshape(parts, size, *x.shape[1:]), items)

    def block(number):
        item = jax.tree.map(lambda x: x[number], items)
        rows = jax.lax.map(rows_of, item, batch_size=min(at_once, size))
        return [
            x.reshape(x.shape[0] * x.shape[1], -1).astype(jnp.float32)
            for x in jax.tree.leaves(rows)
        ]

    def product(some, others):
        return sum(
            jnp.matmul(a, b.T, precision="highest")
            for a, b in zip(some, others, strict=True)
        )

    def along(rows):
        if vector is None:
            return jnp.zeros(len(rows[0]), jnp.float32)
        leaves = [v.reshape(1, -1) for v in jax.tree.leaves(vector)]
        return product(rows, leaves)[:, 0]

    if parts == 1:
        rows = block(0)
        return product(rows, rows), along(rows)

    def fill(i, filled):
        table, moved = filled
        rows = block(i)

        def pair(j, table):
            products = product(rows, block(j))
            table = table.at[j, :, i].set(products.T)
            return table.at[i, :, j].set(products)

        table = table.at[i, :, i].set(product(rows, rows))
        table = jax.lax.fori_loop(i + 1, parts, pair, table)
        return table, moved.at[i].set(along(rows))

    example = jax.tree.map(lambda x: x[0, 0], items)
    rows = size * len(jax.tree.leaves(jax.eval_shape(rows_of, example))[0])
    empty = jnp.zeros((parts, rows, parts, rows), jnp.float32)
    table, moved = jax.lax.fori_loop(
        0, parts, fill, (empty, jnp.zeros((parts, rows), jnp.float32))
    )
    total = count * rows // size
    table = table.reshape(parts * rows, parts * rows)[:total, :total]
    return table, moved.reshape(-1)[:total]


def gram_of_logits(
    variables: Variables, problem: Problem, indices: jax.Array
) -> jax.Array:
    """Returns J J^T of the logits' Jacobian: float32[N * K, N * K], example by example.

    In evaluation mode: the empirical neural tangent kernel.
    """
    params = variables["params"]
    outputs, parts, size = output_parts(variables, problem, indices[0])

    def rows_of(item):
        index, part = item
        logits, pull = jax.vjp(logits_of(variables, problem, index), params)
        chosen = part * size + jnp.arange(size, dtype=jnp.int32)
        return jax.vmap(pull)(jax.nn.one_hot(chosen, outputs, dtype=logits.dtype))[0]

    count = len(indices)
    items = (
        jnp.repeat(indices, parts),
        jnp.tile(jnp.arange(parts, dtype=jnp.int32), count),
    )
    fn = logits_of(variables, problem, indices[0])
    each = chunks.backward_bytes(fn, params, shared=params)
    table, _ = gram(rows_of, items, size * each)
    table = table.reshape(count, parts * size, count, parts * size)
    return table[:, :outputs, :, :outputs].reshape(count * outputs, -1)
