"""The registry of methods: each declares itself where it is defined.

    @method(needs=("retain",), paper="arXiv:2304.04934", search={"alpha": (0.1, 10.0)})
    def name(key, variables, problem, *, alpha=1.0, epochs=10): ...

A method is `fn(key, variables, problem, *, ...) -> (variables, info)`: pure, so it
jits, and it vmaps over keys, variables, splits and every float. `METHODS` holds all
that have been imported, by name; `README.md` in this folder is made of it.
"""

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from unlearn import own_sources
from unlearn.errors import InputError
from unlearn.problem import Problem

NEEDS = ("forget", "retain", "forget_classes", "validation", "early", "start")
COUNTS = "epochs", "batch_size", "iterations", "layers"
"""Constants whose names end so are whole numbers."""
SCOPES = ("both", "class")
KINDS = ("exact", "approximate", "zero-shot")
INPUTS = {"any": None, "continuous": (), "images": (3,)}
"""What a method can be given: any inputs; one array of floats; images [H, W, C]."""


class Function(Protocol):
    """A function with a name, as `def` makes it."""

    __name__: str
    __qualname__: str

    def __call__(self, *args: Any, **options: Any) -> Any: ...


F = TypeVar("F", bound=Function)


class MethodInfo(NamedTuple):
    """What a method declares of itself."""

    name: str
    fn: Callable[..., Any]
    needs: tuple[str, ...]  # of NEEDS: what the method may see
    scope: str  # of SCOPES: the forget sets that it is for
    kind: str  # of KINDS
    paper: str
    differs: str  # in what it is not as in the paper; "" if in nothing
    search: dict[str, tuple[float, float]]  # floats to tune: lowest and highest value
    inputs: str = "any"  # of INPUTS: what the model must be applied to
    certifies: bool = False  # (epsilon, delta), two of its constants
    ascends: bool = False  # on the forget set, with nothing that ends the climb

    def check(self, problem: Problem) -> None:
        """Checks what a problem's shapes tell, so under jit and vmap as well.

        Raises:
          InputError: there is nothing to forget, the method forgets whole classes and
            none is named, or it cannot take such inputs.
        """
        sizes = {name: getattr(problem, name) for name in ("forget", "forget_classes")}
        sizes = {name: 0 if x is None else x.size for name, x in sizes.items()}
        if "forget" in self.needs and not sizes["forget"]:
            raise InputError(f"{self.name}: the forget set is empty: nothing to forget")
        if self.scope == "class" and not sizes["forget_classes"]:
            raise InputError(
                f"{self.name} forgets whole classes: name them in forget_classes"
            )
        axes = INPUTS[self.inputs]
        if axes is not None:
            try:
                problem.input_spec.continuous_shape(*axes)
            except InputError as error:
                raise InputError(
                    f"{self.name} {error}: choose another method"
                ) from None

    def early_epochs(self, constants: Mapping[str, Any]) -> tuple[int, ...]:
        """Returns the epochs of the original's training that it needs the weights of.

        0 is before the first, where the training started.
        """
        if "early" not in self.needs:
            return ()
        start = (0,) if "start" in self.needs else ()
        return *start, constants["epoch"]

    def source_hash(self) -> str:
        """Returns a hash of the file that defines a method of the user's.

        With what it imports beside it, and without other methods; see `own_sources`.
        Empty for a method of this package, and where there is no file.
        """
        if self.fn.__module__.partition(".")[0] == "unlearn":
            return ""
        try:
            file = Path(inspect.getsourcefile(sys.modules[self.fn.__module__]) or "")
            return own_sources.hash_of(file, getattr(self.fn, "__name__", self.name))
        except (OSError, TypeError, KeyError, SyntaxError, ValueError):
            return ""


class Methods(dict[str, MethodInfo]):
    """Methods by name; `name__label` is one of them, with constants of its own.

    Labels are letters and digits. Not listed: there are as many as an experiment makes.
    """

    def __missing__(self, name: str) -> MethodInfo:
        base, _, label = name.partition("__")
        if not label.isalnum() or base not in self:
            close = difflib.get_close_matches(base, list(self), 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {list(self)}"
            raise KeyError(f"there is no method {name!r}: {hint}")
        return super().__getitem__(base)._replace(name=name)

    def __contains__(self, name: object) -> bool:
        base, apart, label = str(name).partition("__")
        return super().__contains__(base) and (label.isalnum() or not apart)

    def get(self, name: Any, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401


METHODS = Methods()
RESERVED = (
    *("original", "oracle", "untrained"),  # names of other models in a run's folder
    *("no_op", "head_distill", "constant_margin", "collapsed"),
    *("sisa", "amnesiac", "certified", "dp_sgd", "oracle_matching"),
)


def certificate(
    parts: Sequence[str], constants: Mapping[str, Mapping[str, Any]]
) -> tuple[float, float] | None:
    """Returns the epsilon and delta that methods run one after another certify.

    What follows the one that certifies must not see the forget set or what was made of
    it: else there is no certificate, and none is returned.
    """
    for number in reversed(range(len(parts))):
        info = METHODS.get(parts[number])
        if info is None:
            return None
        if info.certifies:
            found = constants[parts[number]]
            return float(found["epsilon"]), float(found["delta"])
        if {"forget", "early"} & set(info.needs):
            return None
    return None


def ascends(name: str, constants: Mapping[str, Any]) -> bool:
    """Says whether a method ascends, or one that it runs: a constant that names one."""
    named = [name, *(value for value in constants.values() if isinstance(value, str))]
    return any(METHODS[one].ascends for one in named if one in METHODS)


def method(
    *,
    needs: tuple[str, ...],
    paper: str,
    differs: str = "",
    search: dict[str, tuple[float, float]] | None = None,
    scope: str = "both",
    kind: str | None = None,
    inputs: str = "any",
    certifies: bool = False,
    ascends: bool = False,
) -> Callable[[F], F]:
    """Registers the decorated function, which then checks its problem when called.

    Args:
      needs: any of `forget`, `retain`, `forget_classes`, `validation`, `early`, the
        original after the epochs that its argument `epoch` names, and beside that
        `start`, as the training began with. All else is withheld from the method
        (`problem.withhold`).
      paper: where the method is described, such as `arXiv:2304.04934`.
      differs: what is not as in the paper; nothing by default.
      search: floats worth tuning, each with its lowest and highest value.
      scope: `class` if it only forgets whole classes, `both` if it forgets any set.
      kind: `exact`, `approximate` or `zero-shot`. By default a method that needs
        neither the forget nor the retain set is zero-shot, any other approximate.
      inputs: `continuous` if it changes or makes inputs, which must then be one array
        of floats; `images` if these must be [H, W, C]; `any` if it does not.
      certifies: whether it is proven that who sees the result alone can hardly tell
        it from that of other weights, by its constants `epsilon` and `delta`.
      ascends: whether it climbs something of the forget set that has no upper end: its
        loss, how far answers are from the original's, a slope. Not if it climbs to make
        inputs or to find labels, nor if it descends to wrong answers.

    Raises:
      InputError: a declaration that does not fit the function, or a name that another
        function has taken.
    """

    def register(fn: F) -> F:
        name, given = fn.__name__, tuple(needs)
        found = kind or ("approximate" if _sees_data(given) else "zero-shot")
        info = MethodInfo(
            *(name, fn, given, scope, found, paper, differs, search or {}, inputs),
            *(certifies, ascends),
        )
        fault = _fault(info)
        if fault:
            raise InputError(f"method {name}: {fault}")

        @functools.wraps(fn)
        def checked(key, variables, problem, **constants):
            info.check(problem)
            _check_call(name, variables, constants)
            if "forget_classes" in given and problem.forget_classes is None:
                none = jnp.zeros(0, jnp.int32)  # at[None] would be all of them
                problem = problem.replace(forget_classes=none)
            return fn(key, variables, problem, **constants)

        info = info._replace(fn=checked)
        METHODS[name] = info
        for known in sorted(METHODS):  # whoever imports whom first
            METHODS[known] = METHODS.pop(known)
        return cast(F, checked)

    return register


def _check_call(name: str, variables: Any, constants: Mapping[str, Any]) -> None:
    """Refuses what is not all variables, and numbers that must be whole and are not."""
    if isinstance(variables, Mapping) and variables and "params" not in variables:
        raise InputError(
            f"{name} needs the variables, {{'params': ..., and batch_stats if there "
            "are any}; these have no 'params'"
        )
    for constant, value in constants.items():
        if not constant.endswith(COUNTS) or isinstance(value, Tracer):
            continue
        least = int(constant.endswith("batch_size"))
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(
                f"{name}: {constant} must be a whole number of at least {least}; it is "
                f"{value!r}"
            )


def _sees_data(needs: tuple[str, ...]) -> bool:
    return "forget" in needs or "retain" in needs


def _fault(info: MethodInfo) -> str | None:
    """What is wrong with a declaration, in one line."""
    constants = inspect.signature(info.fn).parameters
    if "early" in info.needs and "epoch" not in constants:
        return "it needs early weights: its argument `epoch` says of which epoch"
    if info.certifies and not {"epsilon", "delta"} <= constants.keys():
        return "it certifies, so it needs the constants epsilon and delta"
    if info.certifies and "forget" in info.needs:
        return "it certifies, so it must not see the forget set"
    if info.ascends and "forget" not in info.needs:
        return "it ascends on the forget set, so it needs it: add `forget`"
    if "start" in info.needs and "early" not in info.needs:
        return "who needs the start needs early weights too: add `early`"
    if "__" in info.name:
        return "two underscores part a name from a label: choose another name"
    if info.name in RESERVED or not info.name.isidentifier():
        return "the name is taken, or not one of letters, digits and _: choose another"
    unknown = [need for need in info.needs if need not in NEEDS]
    if unknown:
        return f"unknown need {unknown[0]!r}: choose from {', '.join(NEEDS)}"
    if info.scope not in SCOPES:
        return f"unknown scope {info.scope!r}: choose from {', '.join(SCOPES)}"
    if info.kind not in KINDS:
        return f"unknown kind {info.kind!r}: choose from {', '.join(KINDS)}"
    if info.inputs not in INPUTS:
        return f"unknown inputs {info.inputs!r}: choose from {', '.join(INPUTS)}"
    if (info.kind == "zero-shot") == _sees_data(info.needs):
        return "kind must be zero-shot if it needs no data, and only then"
    parameters = list(inspect.signature(info.fn).parameters.values())
    if [p.name for p in parameters[:3]] != ["key", "variables", "problem"]:
        return "the first three arguments must be key, variables, problem"
    for p in parameters[3:]:
        if p.kind is not p.KEYWORD_ONLY or p.default is p.empty:
            return f"argument {p.name!r} must be keyword-only and have a default"
        if isinstance(p.default, list | dict | set):
            return f"argument {p.name!r} needs a default that does not change: a tuple"
    defaults = {p.name: p.default for p in parameters[3:]}
    if not isinstance(info.search, dict) or not all(
        isinstance(limits, tuple | list) for limits in info.search.values()
    ):
        return "search must be {argument: (lowest, highest)}"
    for constant, limits in info.search.items():
        if not isinstance(defaults.get(constant), float):
            return (
                f"search names {constant!r}, which is no argument with a float default"
            )
        if len(limits) != 2 or not limits[0] < limits[1]:
            return f"search of {constant!r} must be (lowest, highest); it is {limits}"
    other = METHODS.get(info.name)
    if other is not None and _place(other.fn) != _place(info.fn):
        return f"the name is taken by {'.'.join(_place(other.fn))}: choose another"
    return None


def _place(fn: Any) -> tuple[str, str]:
    return fn.__module__, fn.__qualname__
