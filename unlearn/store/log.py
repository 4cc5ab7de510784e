"""The log of a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearn.errors import InputError, first_line
from unlearn.store import files


class Log:
    """`log.jsonl`: a JSON object a line, each of a `stage`, a `seed` and an `epoch`.

    Lines that a kill tore or that are damaged are dropped.

    Raises:
      InputError: the file cannot be read or written.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lines = []
        if not self.path.exists():
            return
        try:
            found = self.path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({first_line(error)}): use another folder"
            ) from error
        self.lines = [line for line in map(self._parse, found) if line is not None]
        if len(self.lines) < len(found) or (found and not found[-1].endswith(b"\n")):
            self._write()

    @staticmethod
    def _parse(text: bytes) -> dict | None:
        try:
            line = json.loads(text)
            kinds = type(line["stage"]), type(line["seed"]), type(line["epoch"])
        except (ValueError, TypeError, LookupError, RecursionError):
            return None
        return line if kinds == (str, int, int) else None

    def rewind(self, keep: Callable[[dict], bool]) -> None:
        """Drops those lines for which `keep(line)` is false, here and in the file."""
        lines = [line for line in self.lines if keep(line)]
        if lines != self.lines:
            self.lines = lines
            self._write()

    def _write(self) -> None:
        files.write_text(
            self.path, "".join(json.dumps(line) + "\n" for line in self.lines)
        )

    def add(self, **line: Any) -> None:
        """Appends a line."""
        self.lines.append(line)
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise files.cannot_write(self.path, error) from error
