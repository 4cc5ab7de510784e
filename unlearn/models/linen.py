"""Models of flax linen modules."""

import functools
from typing import Any

import flax.linen as nn
import jax
from flax.errors import FlaxError

from unlearn.errors import InputError
from unlearn.models.modes import fails, find_mode
from unlearn.problem import Model, as_float32

NO_MODE = (
    "the net has batch statistics, but its __call__ takes no argument that says "
    "whether it trains: give it one, such as train, and hand it on "
    "(use_running_average=not train)"
)


def from_linen(module: nn.Module, *, train: str | None = None) -> Model:
    """Makes a `Model` of a linen module: inputs `[B, ...]` to logits `[B, K]`.

    `key` feeds the module's dropout. Collections beside the parameters (`batch_stats`)
    are updated when training.

    Args:
      module: its `__call__` takes the inputs, and `train`, `training` or
        `deterministic` if it needs to know whether it trains.
      train: the name of that argument if it is another: `"is_training"`, or
        `"!use_running_average"` for one that is true when *not* training. `""`: no
        argument says it.

    Raises:
      InputError: an argument that may mean training and is not named, or another that
        is required; at the first `init`, batch statistics and no such argument.
    """
    if not isinstance(module, nn.Module):
        what = module.__name__ if isinstance(module, type) else type(module).__name__
        raise InputError(
            f"from_linen takes a linen module, such as Net(...); this is {what}"
        )
    try:
        return _from_linen(module, train)  # ty: ignore[invalid-argument-type]
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _from_linen.__wrapped__(module, train)


@functools.cache
def _from_linen(module: nn.Module, train: str | None) -> Model:
    find, has_mode = find_mode(module.__call__, train, "from_linen")

    def mode(train: bool) -> dict[str, Any]:
        return {**find(train)}

    def init(key, inputs):
        variables = nn.meta.unbox(module.init(key, inputs, **mode(False)))
        if "batch_stats" in variables and not has_mode:
            raise InputError(NO_MODE)
        try:
            jax.eval_shape(apply, variables, inputs)
        except FlaxError as error:
            advice = "does its __call__ hand on whether it trains?"
            raise fails("the net", error, advice) from error
        return variables

    def apply(variables, inputs, *, train=False, key=None, net=module):
        rngs = None if key is None else {"dropout": key}
        state = [name for name in variables if name != "params"]
        if not (train and state):
            logits = net.apply(variables, inputs, rngs=rngs, **mode(train))
            return as_float32(logits), variables
        logits, updates = net.apply(
            variables, inputs, rngs=rngs, mutable=state, **mode(train)
        )
        return as_float32(logits), {**variables, **updates}

    # What is computed again cannot be looked at from outside.
    seen = module.clone(remat=False) if getattr(module, "remat", False) else module

    def activations(variables, inputs, *, train=False, key=None):
        found, paths = {}, set(_layer_paths(variables["params"]))

        def record(call, args, kwargs, context):
            path = context.module.path
            if context.method_name == "__call__" and path in paths:
                found.setdefault(path, args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(record):
            logits, variables = apply(variables, inputs, train=train, key=key, net=seen)
        return found, logits, variables

    return Model(init, apply, activations)


def _layer_paths(params, path=()):
    """Yields the paths of layers: a convolution, a dense layer, a normalisation."""
    if any(not isinstance(value, dict) for value in params.values()):
        yield path
    for name, value in params.items():
        if isinstance(value, dict):
            yield from _layer_paths(value, (*path, name))
