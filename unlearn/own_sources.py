"""What of a user's own Python files a result depends on, as a hash."""

import ast
import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path


def hash_of(file: Path, function: str = "") -> str:
    """Returns a SHA-256 of a file and of its neighbours that it imports.

    Comments and layout do not count.

    Args:
      file: Python source.
      function: a method in it; what it does not use of other methods there, and of
        `get_config`, does not count: a run may go on when one more is written.

    Raises:
      OSError, SyntaxError, ValueError: it cannot be read.
    """
    tree = ast.parse(file.read_bytes())
    if function:
        tree.body = _used(tree.body, function)
    found = hashlib.sha256(ast.dump(tree).encode())
    for path in sorted(_neighbours(file, file.parent, {file})):
        found.update(os.path.relpath(path, file.parent).encode())
        found.update(ast.dump(ast.parse(path.read_bytes())).encode())
    return found.hexdigest()


def _used(body: list[ast.stmt], function: str) -> list[ast.stmt]:
    """Returns a module without those other methods that nothing in it names."""
    kept = [part for part in body if not _is_other(part, function)]
    while True:
        named = {
            getattr(node, "id", getattr(node, "attr", ""))
            for part in kept
            for node in ast.walk(part)
        }
        wanted = [x for x in body if x in kept or getattr(x, "name", "") in named]
        if len(wanted) == len(kept):
            return kept
        kept = wanted


def _is_other(part: ast.stmt, function: str) -> bool:
    if not isinstance(part, ast.FunctionDef) or part.name == function:
        return False
    marks = (m.func if isinstance(m, ast.Call) else m for m in part.decorator_list)
    names = (getattr(mark, "attr", getattr(mark, "id", "")) for mark in marks)
    return part.name == "get_config" or "method" in names


def _neighbours(file: Path, root: Path, seen: set[Path]) -> Iterator[Path]:
    """Yields the files beside it that a file imports, and those that these import."""
    for part in ast.walk(ast.parse(file.read_bytes())):
        for path in _imported(part, file.parent, root):
            if path not in seen:
                seen.add(path)
                yield path
                yield from _neighbours(path, root, seen)


def _imported(part: ast.AST, folder: Path, root: Path) -> Iterator[Path]:
    names, places = [], {root, folder}
    if isinstance(part, ast.Import):
        names = [alias.name for alias in part.names]
    elif isinstance(part, ast.ImportFrom):
        if part.level:
            places = {folder, *folder.parents[: part.level - 1]}
        start = [part.module] if part.module else []
        names = [*start, *(".".join([*start, alias.name]) for alias in part.names)]
    for place, name in itertools.product(places, names):
        words = name.split(".")
        for count in range(1, len(words) + 1):
            path = place.joinpath(*words[:count])
            either = path.with_suffix(".py"), path / "__init__.py"
            yield from filter(Path.is_file, either)
