"""Models of haiku functions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.models.modes import fails, find_mode, require
from unlearn.problem import Model, Variables, as_float32

NAMES = {"w": "kernel", "kernel": "w", "b": "bias", "bias": "b"}
"""Haiku's names and ours; each is exchanged for the other, so that it can be undone."""


def from_haiku(function: Callable, *, train: str | None = None) -> Model:
    """Makes a `Model` of a haiku function: inputs `[B, ...]` to logits `[B, K]`.

    In the variables `w` is called `kernel` and `b` is called `bias`, as the methods
    that look inside know them; `batch_stats` is haiku's state. `key` feeds its
    random numbers.

    Args:
      function: that calls haiku modules, as `hk.transform_with_state` takes it; or
        what that returned, and then `train` must be given.
      train: its argument that says whether it trains, as in `from_linen`.

    Raises:
      InputError: haiku is not installed, or the function has an argument as
        `from_linen` refuses it.
    """
    hk = require("haiku", "from_haiku", "dm-haiku")
    if isinstance(function, hk.Transformed | hk.TransformedWithState):
        if train is None:
            raise InputError(
                "a transformed function does not tell its arguments: give from_haiku "
                'the function itself, or train="is_training" (train="": it has none)'
            )
        net = function
        if isinstance(net, hk.Transformed):
            net = hk.with_empty_state(net)
        values = find_mode(lambda inputs, **more: None, train, "from_haiku")
    elif callable(function):
        values = find_mode(function, train, "from_haiku")
        net = hk.transform_with_state(function)
    else:
        raise InputError(
            "from_haiku takes a function that calls haiku modules; this is a "
            f"{type(function).__name__}"
        )
    mode, has_mode = values

    def init(key, inputs):
        try:
            params, state = net.init(key, inputs, **mode(True))
        except TypeError as error:
            advice = "does it take the inputs alone, and train as given?"
            raise fails("the haiku function", error, advice) from error
        if state and not has_mode:
            raise InputError(
                "the net has a state (batch statistics?), but takes no argument that "
                "says whether it trains: give it one, such as is_training"
            )
        return haiku_variables(params, _untrained(state))

    def apply(variables, inputs, *, train=False, key=None):
        params, state = to_haiku(variables)
        logits, state = net.apply(params, state, key, inputs, **mode(train))
        if train and "batch_stats" in variables:
            variables = variables | {"batch_stats": state}
        return as_float32(logits), variables

    def activations(variables, inputs, *, train=False, key=None):
        found = {}

        def record(call, args, kwargs, context):
            if context.method_name == "__call__":  # before, it has no name yet
                name = context.module.module_name
                if name in variables["params"]:
                    found.setdefault((name,), args[0])
            return call(*args, **kwargs)

        with hk.intercept_methods(record):
            logits, variables = apply(variables, inputs, train=train, key=key)
        return found, logits, variables

    return Model(init, apply, activations)


def haiku_variables(params: Any, state: Any = None) -> Variables:
    """Returns the variables of a trained haiku net as `from_haiku` has them."""
    variables: Variables = {"params": _renamed(params)}
    if state:
        state = {name: dict(module) for name, module in state.items()}
        variables["batch_stats"] = state
    return variables


def to_haiku(variables: Variables) -> tuple[dict, dict]:
    """Returns `(params, state)` as haiku has them, of variables of `from_haiku`."""
    return _renamed(variables["params"]), variables.get("batch_stats", {})


def _untrained(state):
    """Gives variances that nobody has averaged yet the value 1, as other libraries do.

    Haiku's 0 makes a net that has not been trained enlarge its inputs 300 times a
    layer where it is evaluated. The first average takes its place.
    """
    return {
        name: own | {"average": jnp.ones_like(own["average"])}
        if name.endswith("/var_ema")
        else own
        for name, own in (state or {}).items()
    }


def _renamed(params):
    return {
        module: {NAMES.get(name, name): value for name, value in own.items()}
        for module, own in params.items()
    }
