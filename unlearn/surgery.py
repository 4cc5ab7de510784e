"""What a net is made of: its layers in order, the head, the features before it.

Masks are trees of booleans like the parameters, as `training.descend` takes them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn.errors import InputError
from unlearn.problem import Model, Problem, Variables
from unlearn.training import predict_set

Path = tuple[str, ...]
T = TypeVar("T")

NO_MATRIX = "scale", "offset", "bias"  # of normalisations, in some libraries [1, 1, C]


def layers(problem: Problem, variables: Variables) -> list[Path]:
    """Returns the paths of all layers in the parameters, in order of the forward pass.

    Normalisations are layers too; see `Model.activations`.

    Raises:
      InputError: the model has no `activations`.
    """
    found = []

    def run(variables, batch):
        inputs, logits, _ = activations(problem.model)(variables, batch)
        found.extend(inputs)
        return logits

    jax.eval_shape(run, variables, problem.input_spec.struct())
    return found


def activations(model: Model) -> Callable:
    """Returns `model.activations`.

    Raises:
      InputError: the model has none.
    """
    if model.activations is None:
        raise InputError(
            "this method looks inside the net: give the Model `activations` as well "
            "(unlearn.models says how), or make it with unlearn.models.from_linen"
        )
    return model.activations


def weighted_layers(problem: Problem, variables: Variables) -> list[Path]:
    """Returns the layers that own a matrix: convolutions and dense layers.

    Not normalisations, whatever shape their parameters have, nor a module that owns
    parameters beside its layers, as a ViT does its class token.
    """
    paths = layers(problem, variables)
    around = {path[:depth] for path in paths for depth in range(len(path))}
    return [
        path
        for path in paths
        if path not in around and _owns_a_matrix(at(variables["params"], path))
    ]


def _owns_a_matrix(layer: dict) -> bool:
    named = jax.tree_util.tree_leaves_with_path(layer)
    return any(
        weight.ndim > 1 and jax.tree_util.keystr(path, simple=True) not in NO_MATRIX
        for path, weight in named
    )


def at(tree: Any, path: Path) -> Any:
    """Returns the part of nested dicts at `path`."""
    for name in path:
        tree = tree[name]
    return tree


def replace(tree: Any, path: Path, value: Any) -> Any:
    """Copies nested dicts, with `value` at `path`."""
    if not path:
        return value
    return {**tree, path[0]: replace(tree[path[0]], path[1:], value)}


def mask(params: dict, paths: list[Path]) -> dict:
    """Returns booleans: true for every weight of the layers at `paths`."""
    falses = jax.tree.map(lambda _: False, params)
    for path in paths:
        trues = jax.tree.map(lambda _: True, at(params, path))
        falses = replace(falses, path, trues)
    return falses


def last(problem: Problem, variables: Variables, count: int) -> list[Path]:
    """Returns the last `count` weighted layers and normalisations among or after.

    With `count` as large as the net: all layers.
    """
    paths = layers(problem, variables)
    weighted = weighted_layers(problem, variables)
    first = weighted[-count] if count <= len(weighted) else paths[0]
    return paths[paths.index(first) :]


def features(
    model: Model,
    variables: Variables,
    inputs: jax.Array,
    *,
    train: bool = False,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, Variables]:
    """Returns (input of the head float32[B, D], logits float32[B, K], variables).

    Before a head that is a 1x1 convolution with pooling after it: the pooled input.
    """
    inputs, logits, variables = activations(model)(
        variables, inputs, train=train, key=key
    )
    return pooled(list(inputs.values())[-1]), logits, variables


def feature_model(model: Model) -> Model:
    """Makes a model whose logits are the `features` of another: float32[B, D]."""

    def apply(variables, inputs, **options):
        found, _, variables = features(model, variables, inputs, **options)
        return found, variables

    return Model(model.init, apply)


def head_logits(head: dict, features: jax.Array) -> jax.Array:
    """Returns what a head makes of features float32[N, D]: float32[N, K].

    These are the net's logits unless it scales them, see `head_scale`.
    """
    kernel = head["kernel"].reshape(features.shape[-1], -1)
    logits = jnp.matmul(features, kernel, precision="highest")
    return logits + head["bias"] if "bias" in head else logits


def head_scale(
    problem: Problem, variables: Variables, rows: jax.Array, features: jax.Array
) -> jax.Array:
    """Returns what the net multiplies its head's answers by, as ResNet-9 by 0.2.

    By least squares over the examples of `rows`, up to 500 of them; 1 if it is 1 within
    rounding, or cannot be told, as of a head of zeros.

    Args:
      rows: int[N], of the training set.
      features: float32[N, D] of these.
    """
    few = rows[:500]
    own = head_logits(at(variables["params"], head(problem, variables)), features[:500])
    logits = predict_set(problem, variables, few)
    squares = jnp.sum(own**2)
    found = jnp.sum(own * logits) / jnp.where(squares > 0, squares, 1.0)
    known = (squares > 0) & (jnp.abs(found - 1) > 1e-3)
    return jnp.where(known, found, 1.0)


def pooled(values: jax.Array) -> jax.Array:
    """Averages maps [B, H, W, D] over space to [B, D]; leaves features as they are."""
    return values.mean(tuple(range(1, values.ndim - 1)))


def head(problem: Problem, variables: Variables) -> Path:
    """Returns the path of the last weighted layer: kernel [..., D, K], bias [K]."""
    return weighted_layers(problem, variables)[-1]


def fresh(key: jax.Array, problem: Problem) -> Variables:
    """Returns newly initialised variables."""
    return problem.model.init(key, problem.input_spec.zeros())


def select(mask: Any, chosen: T, otherwise: T) -> T:
    """Takes `chosen` where the mask is true, leaf by leaf."""
    return jax.tree.map(jnp.where, mask, chosen, otherwise)


def largest(scores: Any, fraction: float) -> Any:
    """Returns masks: true for the `fraction` of all entries with the largest scores.

    `scores` is a tree of arrays, or one array. By rank, not by a threshold: entries
    that tie would all pass or all fail one.
    """
    flat, unflatten = ravel_pytree(scores)
    return _first(jnp.argsort(-flat), fraction * flat.size, unflatten, flat.dtype)


def smallest(scores: dict, fraction: float, among: dict) -> dict:
    """Returns masks: true for the `fraction` of `among` with the smallest scores.

    `among` is a tree of booleans, one a leaf.
    """
    flat, unflatten = ravel_pytree(scores)
    inside = ravel_pytree(jax.tree.map(jnp.full_like, scores, among))[0] > 0
    order = jnp.argsort(jnp.where(inside, flat, jnp.inf))
    return _first(order, fraction * jnp.sum(inside), unflatten, flat.dtype)


def _first(order, count, unflatten, dtype):
    ranks = (
        jnp.zeros(order.size, jnp.int32)
        .at[order]
        .set(jnp.arange(order.size, dtype=jnp.int32))
    )
    chosen = ranks < jnp.round(count)
    return jax.tree.map(lambda x: x > 0, unflatten(chosen.astype(dtype)))
