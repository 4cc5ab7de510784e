"""What a user's model and augmentation must be; checked without compiling anything."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.errors import InputError, typed_line
from unlearn.inputs import InputSpec, in_words, input_spec

APPLY = "apply(variables, inputs, *, train=False, key=None)"


def count_outputs(model: Any, spec: InputSpec) -> int:
    """Returns K, the number of a model's logits; compiles nothing.

    A model that cannot be initialised, having variables from elsewhere, has 0.

    Raises:
      InputError: it is no `Model`, does not take such inputs, its logits are not
        [B, K], or it has no parameters of floats.
    """
    _check_form(model)
    if model.init is None:
        return 0

    def run(inputs):
        variables = model.init(jax.random.key(0), inputs)
        return variables, model.apply(variables, inputs)[0]

    try:
        variables, logits = jax.eval_shape(run, spec.struct(2))
    except InputError:
        raise
    except Exception as error:  # whatever the user's model raises
        raise InputError(
            f"the model cannot be applied to a batch of inputs {in_words(spec)}: "
            f"{typed_line(error)}"
        ) from error
    if not hasattr(logits, "shape") or logits.ndim != 2 or len(logits) != 2:
        raise InputError(
            "the model must return (logits[B, K], variables); its logits for 2 inputs "
            f"are {list(getattr(logits, 'shape', []))}"
        )
    _check_variables(variables)
    return logits.shape[1]


def _check_form(model: Any) -> None:
    """Refuses what is no `Model`, or has an `apply` that cannot be told to train."""
    if not all(hasattr(model, name) for name in ("init", "apply", "activations")):
        kind = model.__name__ if isinstance(model, type) else type(model).__name__
        raise InputError(
            f"model must be a Model, and this is a {kind}: make one by Model(init, "
            "apply), unlearn.models.create, from_linen, from_nnx, from_equinox or "
            "from_haiku"
        )
    try:
        parameters = inspect.signature(model.apply).parameters.values()
    except (TypeError, ValueError):
        return
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return
    missing = [n for n in ("train", "key") if n not in {p.name for p in parameters}]
    if missing:
        raise InputError(
            f"the model's apply takes no {' and no '.join(missing)}: it must be {APPLY}"
        )


def _check_variables(variables: Any) -> None:
    """Refuses variables without parameters of floats."""
    params = variables.get("params") if hasattr(variables, "get") else None
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise InputError(
            'the model\'s init must return {"params": ...}, with arrays in it'
        )
    others = [x.dtype for x in leaves if not jnp.issubdtype(x.dtype, jnp.floating)]
    if others:
        raise InputError(
            f"the model has parameters of {others[0]}: they must be floats; keep other "
            "arrays beside params"
        )


def check_classes(num_classes: int, outputs: int, labels: np.ndarray) -> None:
    """Refuses a number of classes that is none, or is not that of a model's outputs.

    Args:
      num_classes: K.
      outputs: of the model; 0 if not known.
      labels: int[N].
    """
    if not isinstance(num_classes, int | np.integer) or num_classes < 2:
        raise InputError(
            f"num_classes must be a whole number, 2 or more; it is {num_classes}"
        )
    if outputs in (0, num_classes):
        return
    low, high = int(labels.min()), int(labels.max())
    if low == 1 and high == outputs:
        raise InputError(
            f"labels go from 1 to {high}, and classes count from 0: give labels - 1"
        )
    raise InputError(
        f"the model has {outputs} outputs for {num_classes} classes: give it as many "
        "outputs as there are classes"
    )


def check_augment(augment: Callable | None, spec: InputSpec) -> None:
    """Refuses an augmentation that does not map inputs to inputs; compiles nothing."""
    if augment is None:
        return
    try:
        made = jax.eval_shape(augment, jax.random.key(0), spec.struct(2))
        fault = (
            "" if input_spec(made) == spec else f"makes {in_words(input_spec(made))}"
        )
    except Exception as error:  # whatever the user's function raises
        fault = f"fails ({typed_line(error)})"
    if fault:
        raise InputError(f"augment {fault} of inputs {in_words(spec)}")
