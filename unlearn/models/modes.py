"""How a net is told whether it trains, and what its author must say of it."""

import importlib
import inspect
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unlearn.errors import InputError, typed_line

KNOWN = {"train": True, "training": True, "deterministic": False}
"""Arguments that are understood by name, and their value when training."""

LIKELY = {
    "is_training": True,
    "is_train": True,
    "train_mode": True,
    "training_mode": True,
    "use_running_average": False,
    "use_running_stats": False,
    "inference": False,
    "is_inference": False,
    "inference_mode": False,
    "eval": False,
    "evaluate": False,
    "eval_mode": False,
    "is_eval": False,
    "test": False,
    "is_test": False,
    "testing": False,
    "frozen": False,
}
"""Arguments that look like it; what they mean is asked."""

WORDS = {"train", "training", "eval", "evaluation", "valid", "test", "inference"}
"""Values of an argument that say by a word whether a net trains."""

PACKAGE = Path(__file__).parents[1]

Mode = Callable[[bool], dict[str, bool]]


def find_mode(
    call: Callable,
    train: str | None,
    maker: str,
    *,
    own: Sequence[str] = (),
    known: dict[str, bool] | None = None,
) -> tuple[Mode, bool]:
    """Finds the arguments by which a net is told whether it trains.

    Args:
      call: the net's forward pass; its first parameter takes the inputs.
      train: what the user says: the name of the argument, with `!` before it if it is
        true when *not* training; several are separated by commas. `""`: none does.
        None: what is understood by name.
      maker: the function that is called, for the advice.
      own: parameters that the caller fills in.
      known: arguments understood by name, and their value when training.

    Returns:
      The keyword arguments for training or not, as a function of that; and whether
      there are any.

    Raises:
      InputError: an argument that may mean training and is not understood, one that is
        required, or `train` names one that is not there.
    """
    known = KNOWN if known is None else known
    parameters, open_ended = _parameters(call)
    if train is not None:
        values = _said(train, parameters, open_ended, maker)
    else:
        values = {name: value for name, value in known.items() if name in parameters}
        for name, parameter in parameters.items():
            if name in values or name in own:
                continue
            if str(parameter.default).lower() in WORDS:
                raise InputError(
                    f"the net takes {name}={parameter.default!r}, a word that says "
                    "whether it trains: wrap it in one that takes train, true or "
                    f"false, and hands on {name}"
                )
            if name in LIKELY or (not values and _is_switch(parameter)):
                mark = "" if LIKELY.get(name, True) else "!"
                remedy = f'{maker}(..., train="{mark}{name}")'
                if name not in LIKELY:
                    remedy += f', train="!{name}" if it is true when not training, or '
                    remedy += 'train="" if it has nothing to do with it'
                raise InputError(
                    f"the net takes {name!r}, which may say whether it trains: {remedy}"
                )
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and name not in values
        and name not in own
    ]
    if required:
        raise InputError(
            f"the net needs {', '.join(map(repr, required))} beside its inputs: wrap "
            "it in one that takes the inputs alone and fills in the rest"
        )

    def mode(training: bool) -> dict[str, bool]:
        return {name: value == training for name, value in values.items()}

    return mode, bool(values)


def _parameters(call: Callable) -> tuple[dict[str, inspect.Parameter], bool]:
    """The parameters after the inputs, by name; whether others are taken as well."""
    every = list(inspect.signature(call).parameters.values())
    variadic = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    named = [p for p in every if p.kind not in variadic]
    if every and every[0].kind not in variadic:
        named = named[1:]
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in every)
    return {p.name: p for p in named}, open_ended


def _said(train, parameters, open_ended, maker) -> dict[str, bool]:
    words = [word.strip() for word in train.split(",") if word.strip()]
    values = {word.lstrip("!"): not word.startswith("!") for word in words}
    for name in values:
        if name not in parameters and not open_ended:
            has = ", ".join(parameters) or "none beside its inputs"
            raise InputError(
                f"{maker}(..., train={train!r}): the net has no argument {name!r}; "
                f"it has {has}"
            )
    return values


def _is_switch(parameter: inspect.Parameter) -> bool:
    """Whether a parameter is true or false, by its default or its annotation."""
    kind = parameter.annotation
    words = (
        kind if isinstance(kind, str) else getattr(kind, "__name__", "") or str(kind)
    )
    return isinstance(parameter.default, bool) or "bool" in words.lower()


def require(package: str, maker: str, install: str) -> Any:
    """Imports an optional package.

    Raises:
      InputError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package.split(".")[0]:
            raise
        raise InputError(
            f"{maker} needs {package.split('.')[0]}, which is not installed: "
            f"pip install {install}"
        ) from error


def fails(what: str, error: Exception, advice: str) -> InputError:
    """Makes the error for a net that cannot be applied, with the line of the user."""
    reason = typed_line(error)
    lines = [
        f"{frame.filename}, line {frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename
        and not Path(frame.filename).is_relative_to(PACKAGE)
    ]
    where = lines[-1] if lines else ""
    return InputError(f"{where}{what} cannot be applied ({reason}): {advice}")
