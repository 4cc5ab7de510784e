"""How much each weight matters to a set of examples: gradients and curvature."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

from unlearn import chunks, spread
from unlearn.jacobians import gram, logits_of, output_parts, pull_back
from unlearn.problem import Problem, Variables, as_float32
from unlearn.training import (
    Objective,
    cross_entropy,
    expected,
    in_order,
    predict_set,
)


def mean_gradient(
    objective: Objective,
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    batch_size: int = 256,
) -> dict:
    """Returns the gradient of the mean objective over `indices`, a tree like `params`.

    Each example weighs the same. The objective must be a weighted mean over its batch.
    """
    rows = expected(problem, in_order(indices, batch_size))

    def loss_fn(params, batch, key):
        return objective({**variables, "params": params}, batch, key)[0]

    def add(total, row):
        batch = problem.batch(*row)
        gradient = jax.grad(loss_fn)(variables["params"], batch, None)
        return jax.tree.map(jnp.add, total, gradient), None

    zeros = jax.tree.map(jnp.zeros_like, variables["params"])
    total, _ = jax.lax.scan(add, zeros, rows)
    scale = rows.indices.shape[1] / len(indices)
    return jax.tree.map(lambda g: g * scale, total)


def fisher_diagonal(
    variables: Variables, problem: Problem, indices: jax.Array, *, group: int = 1
) -> dict:
    """Returns the diagonal of the empirical Fisher: the mean squared loss gradient.

    With `group=1` exact: the mean over examples of the squared gradient of each
    example's cross-entropy, in evaluation mode. With `group > 1` the square of the mean
    gradient of groups of that size, as much published code computes; it shrinks as the
    group grows.

    Returns: a tree like `variables["params"]`.
    """
    return importance(
        variables, problem, indices, cross_entropy, jnp.square, group=group
    )


def importance(
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    loss: Callable,
    measure: Callable,
    *,
    group: int = 1,
) -> dict:
    """Averages `measure` of the gradient of the mean loss over groups of examples.

    `loss` is `(logits[B, K], labels[B]) -> float32[B]`, in evaluation mode; `measure`
    is a function such as `jnp.square`. With `group=1` each example is its own.

    Returns: a tree like `variables["params"]`.
    """
    model, mesh = problem.model, problem.mesh
    rows = in_order(indices, group)
    steps = len(rows.indices)
    alone = problem.replace(mesh=None)  # whole groups are spread, not their examples

    def loss_fn(params, row):
        batch = alone.batch(*row)
        logits, _ = model.apply({**variables, "params": params}, batch.inputs)
        losses = batch.weights * loss(logits, batch.labels)
        return jnp.sum(losses) / jnp.sum(batch.weights)

    def measured(row):
        return jax.tree.map(measure, jax.grad(loss_fn)(variables["params"], row))

    # One group after another is the fastest on a CPU, many at once on an accelerator.
    # Of many weights four in a turn of the loop share the pass over the total; of few
    # they only take three times as long to compile.
    first = jax.tree.map(lambda x: x[0], rows)
    at_once = _examples_at_once(lambda params: loss_fn(params, first), variables)
    if mesh is not None:
        at_once = min(steps, max(at_once, mesh.size))
    many_weights = sum(x.size for x in jax.tree.leaves(variables["params"])) > 300_000
    unroll = 4 if many_weights and at_once == 1 else 1

    def add(total, rows):
        if at_once == 1:
            return jax.tree.map(jnp.add, total, measured(rows)), None
        rows = spread.over_devices(rows, mesh)
        many = jax.vmap(measured)(rows)
        return jax.tree.map(lambda t, m: t + m.sum(0), total, many), None

    total = jax.tree.map(jnp.zeros_like, variables["params"])
    if at_once > 1:
        whole = steps // at_once * at_once
        if whole < steps:
            total, _ = add(total, jax.tree.map(lambda x: x[whole:], rows))
        rows = jax.tree.map(
            lambda x: x[:whole].reshape(-1, at_once, *x.shape[1:]), rows
        )
    total, _ = jax.lax.scan(add, total, rows, unroll=unroll)
    return jax.tree.map(lambda t: t / steps, total)


def draw(key: jax.Array, indices: jax.Array, count: int) -> jax.Array:
    """Draws `count` of the indices; returns all as they are for 0 or too many."""
    if not 0 < count < len(indices):
        return indices
    return jax.random.permutation(key, indices)[:count]


def expected_fisher_diagonal(
    variables: Variables, problem: Problem, indices: jax.Array
) -> dict:
    """Returns the Fisher diagonal with labels from the model's own predictions.

    The mean over examples of sum_y p_y (d CE_y)^2, a backward pass for each class y:
    J^T (p - y) of the logits' Jacobian. Returns: a tree like `variables["params"]`.
    """
    params = variables["params"]
    outputs, parts, size = output_parts(variables, problem, indices[0])

    def add_example(total, index, weight):
        logits, pull = jax.vjp(logits_of(variables, problem, index), params)
        p = jax.nn.softmax(logits)
        errors = jnp.sqrt(weight * p)[:, None] * (p - jnp.eye(outputs, dtype=p.dtype))
        errors = jnp.pad(errors, [(0, parts * size - outputs), (0, 0)])

        def add(total, errors):
            (gradients,) = jax.vmap(pull)(errors)
            return jax.tree.map(
                lambda t, g: t + jnp.sum(jnp.square(g), 0), total, gradients
            ), None

        return jax.lax.scan(add, total, errors.reshape(parts, size, outputs))[0]

    zeros = jax.tree.map(jnp.zeros_like, params)
    first = logits_of(variables, problem, indices[0])
    at_once = _examples_at_once(first, variables, passes=outputs)

    def add_examples(total, row):
        if at_once == 1:
            return add_example(total, row.indices[0], row.weights[0]), None
        each = jax.vmap(add_example, (None, 0, 0))(zeros, *row)
        return jax.tree.map(lambda t, e: t + e.sum(0), total, each), None

    total, _ = jax.lax.scan(add_examples, zeros, in_order(indices, at_once))
    return jax.tree.map(lambda t: t / len(indices), total)


def gauss_newton_product(
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    vector: dict,
    *,
    batch_size: int = 256,
) -> dict:
    """Multiplies by the Gauss-Newton matrix: the mean of J^T (diag p - p p^T) J.

    J is the Jacobian of the logits, in evaluation mode; `vector` and the result are
    trees like `variables["params"]`.
    """
    params = variables["params"]

    def add(total, row):
        inputs = problem.inputs(row.indices)

        def logits_of(params):
            logits, _ = problem.model.apply({**variables, "params": params}, inputs)
            return as_float32(logits)

        # Custom gradients refuse forward mode, but their forward pass does not.
        def forward(params):
            return jax.vjp(logits_of, params)[0]

        logits, moved = jax.jvp(forward, (params,), (vector,))
        _, pull = jax.vjp(logits_of, params)
        p = jax.nn.softmax(logits)
        curved = p * (moved - jnp.sum(p * moved, -1, keepdims=True))
        (product,) = pull(row.weights[:, None] * curved)
        return jax.tree.map(jnp.add, total, product), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    total, _ = jax.lax.scan(add, zeros, in_order(indices, batch_size))
    return jax.tree.map(lambda t: t / len(indices), total)


def woodfisher(
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    vector: dict,
    damping: float,
) -> dict:
    """Solves (F + damping I) x = v, for F = 1/n sum_i g_i g_i^T of the gradients.

    What WoodFisher's recursion over rank-one terms ends at (Singh & Alistarh,
    https://arxiv.org/abs/2004.14340), by the same identity for all n at once:

        (v - Q (n damping I + Q^T Q)^-1 Q^T v) / damping,    Q = [g_1 ... g_n]

    Gradients that do not fit in memory are computed again (`gram`); n^2 numbers are
    held. `vector` and the result are trees like the parameters.
    """
    params, count = variables["params"], len(indices)

    def loss_of(index):
        def loss_fn(params):
            logits = logits_of(variables, problem, index)(params)
            return cross_entropy(logits, problem.labels[index])

        return loss_fn

    def gradient(index):
        gradient = jax.grad(loss_of(index))(params)
        return jax.tree.map(lambda g: g[None], gradient)

    each = chunks.backward_bytes(loss_of(indices[0]), params, shared=params)
    products, along = gram(gradient, indices, each, vector)
    weights = jax.scipy.linalg.solve(
        products + count * damping * jnp.eye(count, dtype=products.dtype),
        along,
        assume_a="pos",
    )
    logits = predict_set(problem, variables, indices)
    wanted = jax.nn.one_hot(
        problem.labels[indices], logits.shape[-1], dtype=logits.dtype
    )
    errors = jax.nn.softmax(logits) - wanted
    combined = pull_back(variables, problem, indices, weights[:, None] * errors)
    return jax.tree.map(lambda v, q: (v - q) / damping, vector, combined)


def conjugate_gradient(product: Callable, vector: dict, iterations: int) -> dict:
    """Solves `product(x) = vector` for a tree x by `iterations` conjugate gradients.

    All leaves are of one dtype while it runs; `product` sees them as in `vector`.
    """
    dtype = jnp.result_type(*jax.tree.leaves(vector))

    def uniform(tree):
        return jax.tree.map(lambda x: x.astype(dtype), tree)

    def as_given(tree):
        return jax.tree.map(lambda x, like: x.astype(like.dtype), tree, vector)

    def multiply(tree):
        return uniform(product(as_given(tree)))

    return as_given(cg(multiply, uniform(vector), maxiter=iterations)[0])


def _examples_at_once(
    fn: Callable[[dict], jax.Array], variables: Variables, passes: int = 1
) -> int:
    """How many examples' `passes` gradients of `fn(params)` are computed at once."""
    params = variables["params"]
    return chunks.examples_at_once(
        lambda: passes * chunks.backward_bytes(fn, params, shared=params)
    )
