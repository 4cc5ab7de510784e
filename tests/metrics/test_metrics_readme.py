"""The README of the metrics names all of them, and nothing that is not there."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from unlearn import metrics

TEXT = (Path(metrics.__file__).parent / "README.md").read_text()
MODULES = [one.name for one in pkgutil.iter_modules(metrics.__path__)]
NAMED = re.findall(r"`(\w+)\.(\w+)(?:\(\.\.\.\))?`", TEXT)


def module(name):
    return importlib.import_module(f"unlearn.metrics.{name}")


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_in_the_readme(name):
    public = module(name).__all__
    assert public
    missing = [one for one in public if (name, one) not in NAMED]
    assert not missing


def test_every_name_in_the_readme_is_there_and_public():
    seen = [pair for pair in NAMED if pair[0] in MODULES]
    assert len(seen) > 40
    for name, one in seen:
        assert one in module(name).__all__, f"{name}.{one}"
    others = {name for name, _ in NAMED} - set(MODULES)
    assert others <= {"metrics", "unlearn"}
    for _, one in [pair for pair in NAMED if pair[0] == "metrics"]:
        assert hasattr(metrics, one)


def test_measured_floors_are_those_of_the_docstrings():
    klom, score = module("klom").__doc__, module("forgetting_score").__doc__
    for value in ("5.63", ".90", ".36", ".05"):
        assert value in klom and value in TEXT
    assert "about .19" in score and "about .19" in TEXT
    assert ".35 to .39" in score and ".35 to .39" in TEXT


def test_public_functions_have_docstrings_and_annotated_arguments():
    for name in MODULES:
        for one in module(name).__all__:
            function = getattr(module(name), one)
            if not callable(function):
                continue
            assert function.__doc__, f"{name}.{one}"
            if isinstance(function, type):
                continue
            code = function.__code__
            arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            bare = [a for a in arguments if a not in function.__annotations__]
            assert bare in ([], ["classifier"]), f"{name}.{one}: {bare}"


def test_modules_are_attributes_of_the_package_and_others_are_not():
    assert metrics.lira is module("lira")
    assert metrics.klom is module("klom")
    assert callable(metrics.accuracy)  # the function, not its module
    with pytest.raises(AttributeError, match="no attribute 'COLUMNS'"):
        metrics.COLUMNS  # noqa: B018
