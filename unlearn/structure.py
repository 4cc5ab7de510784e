"""What a net is made of: its layers in order, the head, the features before it.

Masks are trees of booleans like the parameters, as `training.descend` takes them.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn.errors import InputError
from unlearn.problem import Model, Problem, Variables

Path = tuple[str, ...]


def layers(problem: Problem, variables: Variables) -> list[Path]:
    """Paths into the parameters of all layers, in the order of the forward pass.

    Normalisations are layers too; see `Model.activations`.

    Raises:
      InputError: the model does not tell its activations.
    """
    found = []

    def run(variables, images):
        inputs, logits, _ = activations(problem.model)(variables, images)
        found.extend(inputs)
        return logits

    image = jax.ShapeDtypeStruct((1, *problem.image_shape), jnp.float32)
    jax.eval_shape(run, variables, image)
    return found


def activations(model: Model):
    """`model.activations`.

    Raises:
      InputError: the model has none.
    """
    if model.activations is None:
        raise InputError(
            "this method looks inside the net: give the Model `activations` as well, "
            "or make it with unlearn.models.from_linen"
        )
    return model.activations


def weighted_layers(problem: Problem, variables: Variables) -> list[Path]:
    """The convolutions and dense layers among `layers`: those that own a matrix."""
    return [
        path
        for path in layers(problem, variables)
        if any(w.ndim > 1 for w in jax.tree.leaves(at(variables["params"], path)))
    ]


def at(tree, path: Path):
    for name in path:
        tree = tree[name]
    return tree


def replace(tree, path: Path, value):
    """A copy of nested dicts with `value` at `path`."""
    if not path:
        return value
    return {**tree, path[0]: replace(tree[path[0]], path[1:], value)}


def mask(params, paths):
    """True for every weight of the layers at `paths`."""
    falses = jax.tree.map(lambda _: False, params)
    for path in paths:
        trues = jax.tree.map(lambda _: True, at(params, path))
        falses = replace(falses, path, trues)
    return falses


def last(problem: Problem, variables: Variables, count: int) -> list[Path]:
    """The last `count` weighted layers and the normalisations among and after them.

    With `count` as large as the net: all layers.
    """
    paths = layers(problem, variables)
    weighted = weighted_layers(problem, variables)
    first = weighted[-count] if count <= len(weighted) else paths[0]
    return paths[paths.index(first) :]


def features(
    model: Model, variables: Variables, inputs, *, train=False, key=None
) -> tuple[jax.Array, jax.Array, Variables]:
    """(input of the head float32[B, D], logits float32[B, K], variables).

    Before a head that is a 1x1 convolution with pooling after it: the pooled input.
    """
    inputs, logits, variables = activations(model)(
        variables, inputs, train=train, key=key
    )
    return pooled(list(inputs.values())[-1]), logits, variables


def feature_model(model: Model) -> Model:
    """A model whose logits are the `features` of another: float32[B, D]."""

    def apply(variables, inputs, **options):
        found, _, variables = features(model, variables, inputs, **options)
        return found, variables

    return Model(model.init, apply)


def head_logits(head, features: jax.Array) -> jax.Array:
    """Logits float32[N, K]: what a head's parameters answer to float32[N, D]."""
    kernel = head["kernel"].reshape(features.shape[-1], -1)
    logits = jnp.matmul(features, kernel, precision="highest")
    return logits + head["bias"] if "bias" in head else logits


def pooled(values: jax.Array) -> jax.Array:
    """float32[B, D]: maps [B, H, W, D] averaged over space, features as they are."""
    return values.mean(tuple(range(1, values.ndim - 1)))


def head(problem: Problem, variables: Variables) -> Path:
    """Path of the last weighted layer; its kernel is [..., D, K], its bias [K]."""
    return weighted_layers(problem, variables)[-1]


def fresh(key, problem: Problem) -> Variables:
    """Newly initialised variables."""
    return problem.model.init(key, jnp.zeros((1, *problem.image_shape), jnp.float32))


def select(mask, chosen, otherwise):
    """Leaf by leaf `chosen` where the mask is true."""
    return jax.tree.map(jnp.where, mask, chosen, otherwise)


def largest(scores, fraction):
    """True for that share of all entries of a tree, those with the largest scores.

    By rank, not by a threshold: entries that tie would all pass or all fail one.
    """
    flat, unflatten = ravel_pytree(scores)
    return _first(jnp.argsort(-flat), fraction * flat.size, unflatten, flat.dtype)


def smallest(scores, fraction, among):
    """True for that share of the entries in `among`, those with the smallest scores.

    `among` is a tree of booleans, one a leaf.
    """
    flat, unflatten = ravel_pytree(scores)
    inside = ravel_pytree(jax.tree.map(jnp.full_like, scores, among))[0] > 0
    order = jnp.argsort(jnp.where(inside, flat, jnp.inf))
    return _first(order, fraction * jnp.sum(inside), unflatten, flat.dtype)


def _first(order, count, unflatten, dtype):
    ranks = jnp.zeros(order.size, jnp.int32).at[order].set(jnp.arange(order.size))
    chosen = ranks < jnp.round(count)
    return jax.tree.map(lambda x: x > 0, unflatten(chosen.astype(dtype)))
