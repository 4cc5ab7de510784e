"""Experiments by name or by the path of a file; see `experiments/__init__.py`."""

import ast
import difflib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from unlearn.errors import InputError
from unlearn.launcher.errors import INSTALLED
from unlearn.user_code import errors_in

if TYPE_CHECKING:
    from ml_collections import ConfigDict

FOLDER = Path(__file__).resolve().parents[1 if INSTALLED else 2] / "experiments"


def describe() -> dict[str, str]:
    """Returns the first line of each experiment's docstring, by name."""
    found = {}
    for path in sorted(FOLDER.glob("[a-z]*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = text.partition("\n")[0]
    return found


def is_path(experiment: str) -> bool:
    return experiment.endswith(".py") or os.sep in experiment


def name_of(experiment: str) -> str:
    """Returns the name of a run's folder; checks that the experiment is there."""
    if is_path(experiment):
        if not Path(os.path.expanduser(experiment)).is_file():
            raise InputError(f"--experiment={experiment}: there is no such file")
        return Path(experiment).stem
    names = describe()
    if experiment not in names:
        close = difflib.get_close_matches(experiment, names, 1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise InputError(
            f"there is no experiment {experiment!r}. {hint}--list_experiments lists "
            "them; a file of yours is PATH.py"
        )
    return experiment


def load(experiment: str) -> ModuleType:
    """Imports an experiment by its name or its path.

    Raises:
      InputError: it is not there, cannot be imported, or has no `get_config`.
    """
    name = name_of(experiment)
    path = Path(os.path.expanduser(experiment)).resolve()
    if not is_path(experiment) or path.parent == FOLDER:
        if not INSTALLED and str(FOLDER.parent) not in sys.path:
            sys.path.insert(0, str(FOLDER.parent))
        package = "unlearn.experiments" if INSTALLED else "experiments"
        module = importlib.import_module(f"{package}.{name}")
    else:
        module = load_file(path)
    if not callable(getattr(module, "get_config", None)):
        raise InputError(
            f"{experiment} has no get_config(preset), which returns a ConfigDict such "
            "as unlearn.pipeline.default_config()"
        )
    return module


def load_file(path: Path) -> ModuleType:
    """Imports a file from anywhere, which may import its neighbours."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with errors_in(path):
        spec.loader.exec_module(module)
    return module


def get_config(module: ModuleType, preset: str) -> "ConfigDict":
    """Returns the experiment's ConfigDict for a preset."""
    from ml_collections import ConfigDict

    with errors_in(Path(str(module.__file__))):
        config = module.get_config(preset)
    if not isinstance(config, ConfigDict):
        raise InputError(
            f"get_config of {module.__file__} returns a {type(config).__name__}: it "
            "must be a ConfigDict such as unlearn.pipeline.default_config()"
        )
    return config
