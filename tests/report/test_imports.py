"""Arrows point downwards: what reports and metrics import."""

import ast
from pathlib import Path

import pytest

import unlearn

ROOT = Path(unlearn.__file__).parent
FILES = sorted([*ROOT.glob("report/*.py"), *ROOT.glob("metrics/*.py")])
HEAVY = "flax", "tensorflow_datasets", "orbax", "matplotlib", "PIL", "rich", "sklearn"


def imported(tree):
    """`(module, name or None)` of every import below a syntax tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_imports_point_downwards(path):
    tree = ast.parse(path.read_text())
    for module, name in imported(tree):
        full = f"{module}.{name}"
        assert not full.startswith(("unlearn.pipeline", "unlearn.audit")), full
        if path.parent.name == "metrics":
            assert not full.startswith(("unlearn.report", "unlearn.data")), full
            assert module.split(".")[0] not in set(HEAVY) - {"sklearn"}, full
        if module == "unlearn.store":
            assert name in ("write_bytes", "write_text", "write_json"), full
        assert full != "unlearn.store"
    for node in tree.body:  # heavy libraries are imported where they are used
        found = imported(node) if isinstance(node, (ast.Import, ast.ImportFrom)) else ()
        for module, _ in found:
            assert module.split(".")[0] not in HEAVY, module


def test_no_name_of_a_flag_and_no_long_file():
    for path in [*FILES, ROOT / "report/page.html", ROOT / "report/page.css"]:
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        if path.suffix == ".py":
            for flag in ("--config", "--workdir", "--seeds", "--methods", "--exper"):
                assert flag not in text, (path, flag)
