"""What of a user's own Python files a result depends on, as a hash."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def hash_of(file: Path, function: str = "") -> str:
    """Returns a SHA-256 of a file and of its neighbours that it imports.

    Comments and layout do not count.

    Args:
      file: Python source.
      function: a method in it; other methods there, and `get_config`, then do not
        count: a run may go on when one more is written.

    Raises:
      OSError, SyntaxError, ValueError: it cannot be read.
    """
    tree = ast.parse(file.read_bytes())
    if function:
        tree.body = [part for part in tree.body if not _is_other(part, function)]
    found = hashlib.sha256(ast.dump(tree).encode())
    for path in sorted(_neighbours(file, {file})):
        found.update(path.name.encode())
        found.update(ast.dump(ast.parse(path.read_bytes())).encode())
    return found.hexdigest()


def _is_other(part: ast.stmt, function: str) -> bool:
    if not isinstance(part, ast.FunctionDef) or part.name == function:
        return False
    marks = (m.func if isinstance(m, ast.Call) else m for m in part.decorator_list)
    names = (getattr(mark, "attr", getattr(mark, "id", "")) for mark in marks)
    return part.name == "get_config" or "method" in names


def _neighbours(file: Path, seen: set[Path]) -> Iterator[Path]:
    """Yields the files beside a file that it imports, and those that these import."""
    for part in ast.walk(ast.parse(file.read_bytes())):
        for path in _imported(part, file.parent):
            if path not in seen:
                seen.add(path)
                yield path
                yield from _neighbours(path, seen)


def _imported(part: ast.AST, folder: Path) -> Iterator[Path]:
    names: list[str] = []
    if isinstance(part, ast.Import):
        names = [alias.name for alias in part.names]
    elif isinstance(part, ast.ImportFrom):
        for _ in range(part.level - 1):
            folder = folder.parent
        start = [part.module] if part.module else []
        names = [*start, *(".".join([*start, alias.name]) for alias in part.names)]
    for name in names:
        place = folder.joinpath(*name.split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                yield path
