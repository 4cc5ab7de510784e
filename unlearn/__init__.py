"""Machine unlearning in JAX.

from unlearn import Problem, Model, make_problem, methods, metrics
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlearn import methods, metrics
    from unlearn.errors import InputError
    from unlearn.models import load_weights, save_weights
    from unlearn.problem import Batch, Model, Problem, make_problem

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "InputError",
    "Model",
    "Problem",
    "load_weights",
    "make_problem",
    "methods",
    "metrics",
    "save_weights",
]

MODULES = (
    *("audit", "data", "forget_sets", "inputs", "methods", "metrics", "models"),
    *("parallel", "pipeline", "requests", "shadows", "stored", "surgery", "training"),
    "training_time",
)
"""Those that are found as `unlearn.NAME` as well, without an import of their own."""


def __getattr__(name: str) -> object:
    """Imports the names above when they are first used: the launcher starts at once."""
    if name in MODULES:
        return importlib.import_module(f"unlearn.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'unlearn' has no attribute {name!r}")
    homes = {"InputError": "errors", "load_weights": "models", "save_weights": "models"}
    home = importlib.import_module(f"unlearn.{homes.get(name, 'problem')}")
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *MODULES})
