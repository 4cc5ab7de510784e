"""Nets by name, and `Model`s of linen modules.

`create("resnet18", num_classes=10)` gives one of the nets here; `from_linen(module)`
takes any linen module that maps images to logits.
"""

import functools
import inspect
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.models.allcnn import AllCNN
from unlearn.models.cnn import CNN
from unlearn.models.mlp import MLP
from unlearn.models.resnet import ResNet18
from unlearn.problem import Model, Variables

NETS = {"mlp": MLP, "cnn": CNN, "allcnn": AllCNN, "resnet18": ResNet18}
CHOICES = {
    ("cnn", "pool"): ("each", "last"),
    ("allcnn", "norm"): ("batch", "group", "none"),
    ("resnet18", "norm"): ("batch", "group"),
    ("resnet18", "dtype"): ("float32", "bfloat16"),
}


def create(name: str, num_classes: int, **options: Any) -> Model:
    """Makes one of the nets: `mlp`, `cnn`, `allcnn` or `resnet18`.

    The same arguments give the same `Model`, so that what was compiled for it is found
    again. Parameters are He-scaled.

    Args:
      name: of the net, a key of `NETS`.
      num_classes: K, the number of logits.
      options: fields of the net's class; see `options`.

    Raises:
      InputError: an unknown net or option, or an option's value that does not fit.
    """
    if name not in NETS:
        raise InputError(f"there is no model {name!r}: choose from {', '.join(NETS)}")
    net = NETS[name]
    known = [f for f in net.__dataclass_fields__ if f not in _NOT_OPTIONS]
    for option, value in options.items():
        if option not in known:
            raise InputError(
                f"model {name} has no option {option!r}: it has {', '.join(known)}"
            )
        choices = CHOICES.get((name, option))
        if choices and value not in choices:
            raise InputError(
                f"{option} of model {name} must be one of {', '.join(choices)}; "
                f"it is {value!r}"
            )
        if choices is None and not _is_size(value, several=option == "widths"):
            what = "positive whole numbers" if option == "widths" else "a positive int"
            raise InputError(
                f"{option} of model {name} must be {what}; it is {value!r}"
            )
    options = {k: tuple(v) if k == "widths" else v for k, v in options.items()}
    return _create(net(num_classes, **options))  # ty: ignore[invalid-argument-type]


def options() -> dict[str, dict]:
    """Lists the options of every net, with their defaults."""
    return {
        name: {
            field.name: field.default
            for field in net.__dataclass_fields__.values()
            if field.name not in _NOT_OPTIONS
        }
        for name, net in NETS.items()
    }


_NOT_OPTIONS = ("num_classes", "parent", "name")


def _is_size(value, several: bool) -> bool:
    if several and not isinstance(value, list | tuple):
        return False
    return all(type(v) is int and v > 0 for v in (value if several else [value]))


@functools.cache
def _create(module: nn.Module) -> Model:
    return from_linen(module)._replace(init=functools.partial(he_init, module))


@functools.partial(jax.jit, static_argnums=0)
def he_init(module: nn.Module, key: jax.Array, images: jax.Array) -> Variables:
    """Draws variables: He-scaled uniform kernels, biases 0, scales and variances 1.

    All random numbers are drawn as one vector: a draw for each tensor takes seconds to
    compile for a ResNet.
    """
    shapes = jax.eval_shape(module.init, key, images)
    kernels = [
        leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
        if path[-1].key == "kernel"
    ]
    sizes = [math.prod(shape) for shape in kernels]
    numbers = jax.random.uniform(key, (sum(sizes),), jnp.float32, -1.0)
    offset = 0

    def fill(path, leaf):
        nonlocal offset
        if path[-1].key != "kernel":
            ones = path[-1].key in ("scale", "var")
            return jnp.full(leaf.shape, float(ones), leaf.dtype)
        size = math.prod(leaf.shape)
        part = numbers[offset : offset + size].reshape(leaf.shape)
        offset += size
        return part * math.sqrt(6 / math.prod(leaf.shape[:-1]))

    return jax.tree_util.tree_map_with_path(fill, shapes)


def from_linen(module: nn.Module) -> Model:
    """Makes a `Model` of a linen module, images `[B, H, W, C]` to logits `[B, K]`.

    Its `__call__` may take one of `train`, `training` and `deterministic`. `key` feeds
    the module's dropout. Collections beside the parameters (`batch_stats`) are updated
    when training.
    """
    try:
        return _from_linen(module)  # ty: ignore[invalid-argument-type]
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _from_linen.__wrapped__(module)


@functools.cache
def _from_linen(module: nn.Module) -> Model:
    taken = inspect.signature(module.__call__).parameters

    def mode(train: bool) -> dict:
        values = {"train": train, "training": train, "deterministic": not train}
        return {name: value for name, value in values.items() if name in taken}

    def init(key, images):
        return module.init(key, images, **mode(False))

    def apply(variables, images, *, train=False, key=None):
        rngs = None if key is None else {"dropout": key}
        state = [name for name in variables if name != "params"]
        if not (train and state):
            logits = module.apply(variables, images, rngs=rngs, **mode(train))
            return logits, variables
        logits, updates = module.apply(
            variables, images, rngs=rngs, mutable=state, **mode(train)
        )
        return logits, {**variables, **updates}

    def activations(variables, images, *, train=False, key=None):
        found, paths = {}, set(_layer_paths(variables["params"]))

        def record(call, args, kwargs, context):
            path = context.module.path
            if context.method_name == "__call__" and path in paths:
                found.setdefault(path, args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(record):
            logits, variables = apply(variables, images, train=train, key=key)
        return found, logits, variables

    return Model(init, apply, activations)


def _layer_paths(params, path=()):
    """Yields the paths of layers: a convolution, a dense layer, a normalisation."""
    if any(not isinstance(value, dict) for value in params.values()):
        yield path
    for name, value in params.items():
        if isinstance(value, dict):
            yield from _layer_paths(value, (*path, name))


def parameter_count(variables: Variables) -> int:
    """Counts the trained parameters (batch statistics are not among them)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
