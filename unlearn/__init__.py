"""Machine unlearning in JAX.

from unlearn import Problem, Model, make_problem, methods, metrics
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlearn import methods, metrics
    from unlearn.errors import InputError
    from unlearn.problem import Batch, Model, Problem, make_problem

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "InputError",
    "Model",
    "Problem",
    "make_problem",
    "methods",
    "metrics",
]


def __getattr__(name: str) -> object:
    """Imports the names above when they are first used: the launcher starts at once."""
    if name in ("methods", "metrics"):
        return importlib.import_module(f"unlearn.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'unlearn' has no attribute {name!r}")
    home = "errors" if name == "InputError" else "problem"
    value = getattr(importlib.import_module(f"unlearn.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
