"""Models of equinox modules: of one example each, mapped over the batch here."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.models.modes import fails, find_mode, require
from unlearn.models.trees import flatten, nested, redraw
from unlearn.problem import Model, Variables, as_float32

try:
    from jax.extend.core import get_opaque_trace_state
except ImportError:  # before jax 0.8
    from jax.core import get_opaque_trace_state

if TYPE_CHECKING:
    import equinox as eqx

Path = tuple[str, ...]
REQUIRED = inspect.Parameter.empty
MODES = {"inference": False, "train": True, "training": True, "deterministic": False}


def from_equinox(
    module: "Callable[[jax.Array], eqx.Module] | eqx.Module",
    state: Any = None,
    *,
    channels_first: bool = False,
    axis_name: str = "batch",
    train: str | None = None,
) -> Model:
    """Makes a `Model` of an equinox module: one example `[...]` to its logits `[K]`.

    The module is mapped over the batch, with `axis_name` for batch normalisation, and
    `key` is split for the examples' dropout. `eqx.nn.inference_mode` is set for it.
    In the variables, linear and convolutional layers have `kernel` `[..., D, K]` and
    `bias` `[K]`, normalisations `scale` and `bias`, as the methods that look inside
    know them; `batch_stats` holds the arrays of `eqx.nn.State`.

    Args:
      module: a function of a key that makes the module, or `(module, state)` as
        `eqx.nn.make_with_state` does; or a module. Fresh weights are then drawn by
        shuffling each of its parameters: the same distribution if the entries were
        drawn independently. A state starts as it is given.
      state: of the module, if it has one and is not made by a function.
      channels_first: whether the module takes images as `[C, H, W]`, as the layers of
        equinox do; the problem's are `[H, W, C]`.
      axis_name: what the module's batch normalisations call the batch.
      train: the argument of `__call__` that says whether it trains, as in `from_linen`.

    Raises:
      InputError: equinox is not installed; the module is none, needs a state that is
        not given, or its `__call__` has an argument as `from_linen` refuses it.
    """
    eqx = require("equinox", "from_equinox", "equinox")
    make = None if isinstance(module, eqx.Module) or not callable(module) else module
    made = module if make is None else make(jax.random.key(0))
    made, state = made if isinstance(made, tuple) else (made, state)
    if not isinstance(made, eqx.Module):
        raise InputError(
            "from_equinox takes an equinox module or a function of a key that makes "
            f"one; this is a {type(made).__name__}"
        )
    taken = inspect.signature(made.__call__).parameters
    own = [name for name in ("state", "key") if name in taken]
    if "state" in own and state is None and taken["state"].default is not REQUIRED:
        own.remove("state")  # of a Sequential without stateful layers
    if "state" in own and state is None:
        raise InputError(
            "the net takes a state: from_equinox(eqx.nn.make_with_state(Net)), or "
            "from_equinox(module, state)"
        )
    mode, _ = find_mode(made.__call__, train, "from_equinox", own=own, known=MODES)
    parts = _Parts(made, state)

    def init(key, inputs):
        if make is None:
            variables = parts.pack(made, state)
            variables["params"] = redraw(key, variables["params"])
        else:
            drawn = make(key)
            variables = parts.pack(
                *(drawn if isinstance(drawn, tuple) else (drawn, state))
            )
        try:
            jax.eval_shape(apply, variables, inputs)
        except (TypeError, ValueError, NameError) as error:
            advice = (
                "does it take one example as the problem gives it? channels_first=True "
                "gives it images as [C, H, W]; batch normalisations need "
                f"axis_name={axis_name!r}"
            )
            raise fails("the equinox module", error, advice) from error
        return variables

    def run(variables, inputs, train, key, order):
        module, state = parts.unpack(variables, train)
        if order is not None:
            module = _recording(module, order)
        if channels_first:
            inputs = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 1), inputs)
        keys = None if key is None else jax.random.split(key, _count(inputs))

        def one(example, key):
            given = {"state": state, "key": key}
            if order is not None:
                order.start()
            out = module(example, **{n: given[n] for n in own}, **mode(train))
            logits, after = out if isinstance(out, tuple) else (out, state)
            return logits, list(order.values) if order else [], jax.tree.leaves(after)

        axes = 0, (None if key is None else 0)
        logits, found, after = jax.vmap(one, axes, (0, 0, None), axis_name=axis_name)(
            inputs, keys
        )
        if train and state is not None:
            variables = variables | {"batch_stats": _numbered(after)}
        return as_float32(logits), found, variables

    def apply(variables, inputs, *, train=False, key=None):
        logits, _, variables = run(variables, inputs, train, key, None)
        return logits, variables

    def activations(variables, inputs, *, train=False, key=None):
        order = _Order()
        logits, found, variables = run(variables, inputs, train, key, order)
        return dict(zip(order.paths, found, strict=True)), logits, variables

    return Model(init, apply, activations)


def equinox_variables(module: "eqx.Module", state: Any = None) -> Variables:
    """Returns the variables of a trained equinox module as `from_equinox` has them."""
    require("equinox", "equinox_variables", "equinox")
    return _Parts(module, state).pack(module, state)


def to_equinox(
    module: "eqx.Module", variables: Variables, state: Any = None
) -> "tuple[eqx.Module, Any]":
    """Copies an equinox module and its state, with the variables of `from_equinox`.

    Raises:
      InputError: the variables are of another module.
    """
    require("equinox", "to_equinox", "equinox")
    parts = _Parts(module, state)
    if list(flatten(variables)) != list(flatten(parts.pack(module, state))):
        raise InputError("to_equinox: the variables are of another module")
    return parts.unpack(variables, None)


def _count(inputs) -> int:
    return len(jax.tree.leaves(inputs)[0])


def _numbered(state: Any) -> dict[str, jax.Array]:
    """The arrays of a state by their number."""
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state))}


class _Leaf(NamedTuple):
    """Where an array of a module is, what it is called here, and how it is turned."""

    number: int  # among the leaves of the module
    path: Path
    turn: Callable[[jax.Array], jax.Array]
    turn_back: Callable[[jax.Array], jax.Array]


class _Parts:
    """A module taken apart: arrays that are trained, its state, and the rest."""

    def __init__(self, module, state):
        import equinox as eqx

        self.trained = _trained(module)
        modes = {True: False, False: True}
        self.flat = {
            training: jax.tree.flatten(eqx.nn.inference_mode(module, inference))
            for training, inference in modes.items()
        } | {None: jax.tree.flatten(module)}
        self.state = None if state is None else jax.tree.structure(state)

    def pack(self, module, state) -> Variables:
        """Returns the variables of a module of the same structure."""
        every = jax.tree.leaves(module)
        params = {x.path: x.turn(every[x.number]) for x in self.trained}
        stats = {} if state is None else {"batch_stats": _numbered(state)}
        return {"params": nested(params)} | stats

    def unpack(self, variables, train: bool | None):
        """Returns `(module, state)`; `train`: whether it trains, None: as it was."""
        every, structure = self.flat[train]
        every, params = list(every), flatten(variables["params"])
        for leaf in self.trained:
            every[leaf.number] = leaf.turn_back(params[leaf.path])
        module = jax.tree.unflatten(structure, every)
        if self.state is None:
            return module, None
        stats = variables["batch_stats"]
        arrays = [stats[str(number)] for number in range(len(stats))]
        return module, jax.tree.unflatten(self.state, arrays)


def _is_layer(part: Any) -> bool:
    """Whether it is a module that owns arrays, and no other module does below it."""
    import equinox as eqx

    if not isinstance(part, eqx.Module):
        return False
    own = [x for x in vars(part).values() if eqx.is_inexact_array(x)]
    return len(own) > 0 and len(own) == sum(
        map(eqx.is_inexact_array, jax.tree.leaves(part))
    )


def _layers(module) -> tuple[list[tuple[Path, Any]], Any]:
    """The layers and other leaves of a module with their paths; its structure."""
    flat, structure = jax.tree_util.tree_flatten_with_path(module, is_leaf=_is_layer)
    return [(_names(path), part) for path, part in flat], structure


def _names(path) -> Path:
    keys = ("name", "idx", "key")
    return tuple(
        str(next(getattr(step, k) for k in keys if hasattr(step, k))) for step in path
    )


def _trained(module) -> list[_Leaf]:
    """Lists the arrays that are trained, by the names they have in the variables."""
    import equinox as eqx

    found, number = [], 0
    for path, part in _layers(module)[0]:
        for below, leaf in jax.tree_util.tree_flatten_with_path(part)[0]:
            if eqx.is_inexact_array(leaf):
                found.append(_leaf(number, path, _names(below), part, leaf.ndim))
            number += 1
    return found


def _leaf(number, path, below, layer, ndim) -> _Leaf:
    import equinox as eqx

    def same(x):
        return x

    norms = eqx.nn.LayerNorm, eqx.nn.GroupNorm, eqx.nn.BatchNorm, eqx.nn.RMSNorm
    if isinstance(layer, eqx.nn.Linear | eqx.nn.Conv):
        if below == ("weight",):  # [K, D, ...] there, [..., D, K] here
            axes = (*range(2, ndim), 1, 0)
            back = (ndim - 1, ndim - 2, *range(ndim - 2))
            return _Leaf(
                number,
                (*path, "kernel"),
                lambda x: x.transpose(axes),
                lambda x: x.transpose(back),
            )
        ones = (1,) * (ndim - 1)  # of a convolution: [K, 1, 1]
        flat, spread = lambda x: x.reshape(-1), lambda x: x.reshape(-1, *ones)
        return _Leaf(number, (*path, *below), flat, spread)
    if isinstance(layer, norms) and below == ("weight",):
        return _Leaf(number, (*path, "scale"), same, same)
    return _Leaf(number, (*path, *below), same, same)


# Activations


class _Order:
    """What the layers are applied to, in the order of one example's forward pass."""

    def __init__(self):
        self.paths, self.values, self.trace = [], [], None

    def start(self) -> None:
        self.paths, self.values, self.trace = [], [], get_opaque_trace_state()

    def note(self, path: Path, layer: Any, inputs: jax.Array) -> None:
        import equinox as eqx

        if path in self.paths:
            return
        if self.trace != get_opaque_trace_state():
            raise InputError(
                f"the net applies {'.'.join(path)} inside a transformation such as "
                "jax.vmap, where its input cannot be seen: give the Model "
                "`activations` of your own"
            )
        if inputs.ndim > 1 and isinstance(layer, eqx.nn.Conv | eqx.nn.BatchNorm):
            inputs = jnp.moveaxis(inputs, 0, -1)  # channels last, as everywhere
        self.paths.append(path)
        self.values.append(inputs)


class _Recorder:
    """Stands for a layer, and notes what it is applied to."""

    def __init__(self, layer, path, order):
        self.layer, self.path, self.order = layer, path, order

    def __call__(self, inputs, *args, **kwargs):
        self.order.note(self.path, self.layer, inputs)
        return self.layer(inputs, *args, **kwargs)

    def __getattr__(self, name):
        return getattr(self.layer, name)

    @property
    def __class__(self):
        return type(self.layer)  # a Sequential asks which of its layers have a state


def _recording(module, order):
    layers, structure = _layers(module)
    parts = [
        _Recorder(part, path, order) if _is_layer(part) and callable(part) else part
        for path, part in layers
    ]
    return jax.tree.unflatten(structure, parts)
