"""Models of flax nnx modules."""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import jax

from unlearn.errors import InputError
from unlearn.models.modes import fails, find_mode, require
from unlearn.models.trees import nested, paths_of, redraw
from unlearn.problem import Model, Variables, as_float32

if TYPE_CHECKING:
    from flax import nnx

Path = tuple[str, ...]


def from_nnx(
    module: "Callable[[nnx.Rngs], nnx.Module] | nnx.Module", *, train: str | None = None
) -> Model:
    """Makes a `Model` of an nnx module: inputs `[B, ...]` to logits `[B, K]`.

    The variables are nested dicts: `params`, `batch_stats` if there are any, and
    `state` for variables of other types. Random numbers (dropout) come from `key`.
    `module.train()` and `module.eval()` are called for it.

    Args:
      module: a function of `nnx.Rngs` that makes the module, such as
        `lambda rngs: Net(rngs=rngs)`; or a module. Fresh weights are then drawn by
        shuffling each of its parameters: the same distribution if the entries were
        drawn independently. Its other variables start as they are in it.
      train: the argument of `__call__` that says whether it trains, as in `from_linen`.

    Raises:
      InputError: flax is not installed; the module is none, or its `__call__` has an
        argument as `from_linen` refuses it.
    """
    flax_nnx = require("flax.nnx", "from_nnx", "flax")
    if isinstance(module, flax_nnx.Module):
        made = flax_nnx.clone(module)
    elif callable(module) and not hasattr(module, "setup"):  # as linen modules have
        made = flax_nnx.eval_shape(lambda: module(flax_nnx.Rngs(0)))
    else:
        made = module
    if not isinstance(made, flax_nnx.Module):
        raise InputError(
            "from_nnx takes an nnx module or a function of rngs that makes one; this "
            f"is a {type(made).__name__}"
        )
    return _Net(module, made, train).model()


def nnx_variables(module: "nnx.Module") -> Variables:
    """Returns the variables of a trained nnx module as `from_nnx` has them."""
    flax_nnx = require("flax.nnx", "nnx_variables", "flax")
    _, state = flax_nnx.split(module)
    return _pack(_flat(state))


def to_nnx(module: "nnx.Module", variables: Variables) -> "nnx.Module":
    """Copies an nnx module, with the variables that `from_nnx` gave.

    Raises:
      InputError: the variables are of another module.
    """
    flax_nnx = require("flax.nnx", "to_nnx", "flax")
    graph, state = flax_nnx.split(flax_nnx.clone(module))
    template = _flat(state)
    if paths_of(_pack(template)) != paths_of(variables):
        raise InputError("to_nnx: the variables are of another module")
    return flax_nnx.merge(graph, _unpack(template, variables, None), copy=True)


class _Net:
    """An nnx module taken apart: graphs for training and not, and a template."""

    def __init__(self, source, made, train: str | None):
        from flax import nnx

        self.source, self.template = source, _flat(nnx.split(made)[1])
        self.graphs = {}
        for training in (True, False):
            module = nnx.merge(*nnx.split(made), copy=True)
            module.train() if training else module.eval()
            self.graphs[training] = nnx.split(module)[0]
        self.mode, _ = find_mode(made.__call__, train, "from_nnx")
        self.random = any(_is_random(leaf) for leaf in self.template.values())

    def model(self) -> Model:
        return Model(self.init, self.apply, self.activations)

    def init(self, key, inputs):
        from flax import nnx

        if isinstance(self.source, nnx.Module):
            variables = _pack(self.template)
            variables["params"] = redraw(key, variables["params"])
        else:
            module = self.source(nnx.Rngs(key))
            variables = _pack(_flat(nnx.split(module)[1]))
        try:
            jax.eval_shape(self.apply, variables, inputs)
        except (TypeError, ValueError) as error:
            advice = "does it take inputs as the problem gives them, [B, ...]?"
            raise fails("the nnx module", error, advice) from error
        return variables

    def apply(self, variables, inputs, *, train=False, key=None):
        return self._run(variables, inputs, train, key, lambda module: None)

    def activations(self, variables, inputs, *, train=False, key=None):
        found = {}
        logits, variables = self._run(
            variables, inputs, train, key, functools.partial(_record, found)
        )
        return found, logits, variables

    def _run(self, variables, inputs, train, key, prepare):
        from flax import nnx

        if train and key is None and self.random:
            raise InputError("the nnx module draws random numbers: give apply a key")
        state = _unpack(self.template, variables, key)
        module = nnx.merge(self.graphs[train], state, copy=True)
        prepare(module)
        logits = as_float32(module(inputs, **self.mode(train)))
        if not train:
            return logits, variables
        after = _pack(_flat(nnx.split(module)[1]))
        return logits, after | {"params": variables["params"]}


def _collection(variable: Any) -> str:
    """The collection that a variable belongs to."""
    from flax import nnx

    if isinstance(variable, nnx.Param):
        return "params"
    return "batch_stats" if isinstance(variable, nnx.BatchStat) else "state"


def _flat(state: Any) -> dict[tuple, Any]:
    """The variables of an nnx state by their path."""
    from flax import nnx

    return dict(nnx.to_flat_state(state))


def _value(variable: Any) -> Any:
    """Its array; a module may also hold arrays that are not in a variable."""
    from flax import nnx

    if not isinstance(variable, nnx.Variable):
        return variable
    new = hasattr(variable, "get_value")  # flax 0.12
    return variable.get_value() if new else variable.value


def _is_random(variable: Any) -> bool:
    from flax import nnx

    return isinstance(variable, nnx.RngState)


def _pack(state: dict[tuple, Any]) -> Variables:
    """Makes nested dicts by collection of a flat nnx state."""
    flat: dict[Path, Any] = {
        (_collection(variable), *map(str, path)): _value(variable)
        for path, variable in state.items()
        if not _is_random(variable)
    }
    return {"params": {}} | nested(flat)


def _unpack(template: dict[tuple, Any], variables: Variables, key: Any) -> Any:
    """Makes the nnx state of variables; keys are derived from `key`, counts are 0."""
    from flax import nnx

    flat = []
    for number, (path, variable) in enumerate(template.items()):
        if isinstance(variable, nnx.RngKey):
            own = jax.random.key(0) if key is None else key
            value = jax.random.fold_in(own, number)
        elif isinstance(variable, nnx.RngCount):
            value = jax.numpy.zeros(variable.shape, variable.dtype)
        else:
            value = variables[_collection(variable)]
            for name in path:
                value = value[str(name)]
        in_variable = isinstance(variable, nnx.Variable)
        flat.append((path, variable.replace(value) if in_variable else value))
    return nnx.from_flat_state(flat)


def _record(found: dict[Path, Any], module: "nnx.Module") -> None:
    """Makes every layer of a module note what it is applied to, by its path."""
    for path, layer in _layers(module):
        cls = type(layer)
        own = type(cls.__name__, (cls,), {"__call__": _noting(cls, path, found)})
        object.__setattr__(layer, "__class__", own)


def _noting(cls: type, path: Path, found: dict[Path, Any]) -> Callable:
    def call(self, *args, **kwargs):
        inputs = args[0] if args else kwargs[next(iter(kwargs))]
        found.setdefault(path, inputs)
        return cls.__call__(self, *args, **kwargs)

    return call


def _layers(module: "nnx.Module") -> Iterator[tuple[Path, Any]]:
    """Yields the modules that own parameters themselves, with their paths."""
    from flax import nnx

    for path, layer in list(nnx.iter_graph(module)):
        if not isinstance(layer, nnx.Module):
            continue
        own = [value for value in vars(layer).values() if isinstance(value, nnx.Param)]
        if own and callable(layer):
            yield tuple(map(str, path)), layer
