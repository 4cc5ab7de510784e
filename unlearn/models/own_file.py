"""A model from a user's file: `PATH.py:function`.

The function takes `num_classes`, or nothing, and returns a `Model` or a linen, nnx or
equinox module. With a parameter `rngs` (nnx) or `key` (equinox) it is called for fresh
weights again. The file may import its neighbours.
"""

import functools
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearn import own_sources
from unlearn.errors import InputError
from unlearn.models.equinox import from_equinox
from unlearn.models.linen import from_linen
from unlearn.models.nnx import from_nnx
from unlearn.problem import Model
from unlearn.user_code import errors_in

KINDS = "a Model or a linen, nnx or equinox module"


def is_path(name: str) -> bool:
    """Says whether the name of a model is `PATH.py:function`."""
    path, colon, _ = name.rpartition(":")
    return name.endswith(".py") or (bool(colon) and path.endswith(".py"))


def find_file(name: str) -> tuple[Path, str]:
    """Returns the file and the function of `PATH.py:function`.

    Raises:
      InputError: no function is named, or there is no such file.
    """
    path, _, function = name.rpartition(":")
    if not path or not function.isidentifier():
        raise InputError(
            f"model {name}: say which function makes it, as PATH.py:function"
        )
    file = Path(os.path.expanduser(path)).resolve()
    if not file.is_file():
        raise InputError(f"model {name}: there is no file {file}")
    return file, function


def source_hash(name: str) -> str:
    """Returns a hash of a model's file and of what it imports beside it.

    `""` for a net of the package; of a file that is no Python, of its bytes.
    """
    if not is_path(name):
        return ""
    file, _ = find_file(name)
    try:
        return own_sources.hash_of(file)
    except (SyntaxError, ValueError):
        return hashlib.sha256(file.read_bytes()).hexdigest()


def load_model(name: str, num_classes: int, **options: Any) -> Model:
    """Makes the model of `PATH.py:function`.

    While the file is the same, the same arguments give the same `Model`.

    Args:
      name: of the file and the function.
      num_classes: K; handed on if the function takes it.
      options: other arguments of the function.

    Raises:
      InputError: the file or its function is not there, fails, or returns something
        else; with the file and the line.
    """
    file, function = find_file(name)
    arguments = tuple(sorted(options.items()))
    return _load(file, source_hash(name), function, num_classes, arguments)


@functools.lru_cache(maxsize=64)
def _load(file: Path, sha256: str, function: str, num_classes: int, arguments):
    module = _import(file, sha256)
    make = getattr(module, function, None)
    if not callable(make):
        raise InputError(f"{file} has no function {function!r} that makes a model")
    parameters = _parameters(make)
    given = dict(arguments)
    if "num_classes" in parameters:
        given["num_classes"] = num_classes
    fresh = [name for name in ("rngs", "key") if name in parameters]
    needed = [n for n, p in parameters.items() if p.default is p.empty]
    unknown = [n for n in needed if n not in given and n not in fresh]
    if unknown:
        raise InputError(
            f"{function} of {file} needs {', '.join(unknown)}: it may take "
            "num_classes, and rngs or key"
        )
    with errors_in(file):
        made = make if fresh else make(**given)
        try:
            model = _as_model(made, given, fresh)
        except InputError as error:
            raise InputError(f"{function} of {file}: {error}") from error
    return _guarded(model, file)


@functools.lru_cache(maxsize=64)
def _import(file: Path, sha256: str):
    """Imports a file as it is now; `sha256` is that of its content."""
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(f"model_{file.stem}_{sha256}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with errors_in(file):
        spec.loader.exec_module(module)
    return module


def _parameters(make: Callable) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return {}
    variadic = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    return {p.name: p for p in parameters if p.kind not in variadic}


def _as_model(made: Any, given: dict[str, Any], fresh: list[str]) -> Model:
    """Makes a `Model` of what a function returned; with `fresh`, of the function."""
    if "rngs" in fresh:
        return from_nnx(lambda rngs: made(rngs=rngs, **given))
    if "key" in fresh:
        return from_equinox(lambda key: made(key=key, **given))
    if isinstance(made, Model):
        return made
    if _is_module("flax.linen", made):
        return from_linen(made)
    if _is_module("flax.nnx", made):
        return from_nnx(made)
    parts = made if isinstance(made, tuple) else (made,)
    if _is_module("equinox", parts[0]):
        return from_equinox(*parts)
    raise InputError(f"it returns a {type(made).__name__} and must return {KINDS}")


def _is_module(package: str, made: Any) -> bool:
    """Says whether something is a module of a package, which need not be there."""
    module = sys.modules.get(package)
    return module is not None and isinstance(made, module.Module)


def _guarded(model: Model, file: Path) -> Model:
    """Makes what fails inside the model a line with that of the file."""

    def guard(function):
        @functools.wraps(function)
        def call(*args, **options):
            with errors_in(file):
                return function(*args, **options)

        return call

    inside = model.activations and guard(model.activations)
    return Model(guard(model.init), guard(model.apply), inside)
