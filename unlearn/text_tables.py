"""Tables in files of text, as people and programs write them.

Text is UTF-8, or UTF-16 or UTF-32 with a byte-order mark, with any line ends. Cells
may be quoted; blank lines and comments (`# ...`, with a space) are left out.
"""

import re
from pathlib import Path
from typing import NamedTuple

from unlearn.errors import InputError

COMMENT = re.compile(r"\s*#(\s|$)")  # `#7` and `#A7` are ids
MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32"} | {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class Line(NamedTuple):
    """A line of a table: its number in the file, and its cells."""

    number: int
    cells: list[str]


def decode(path: Path, raw: bytes) -> str:
    """Decodes the content of a file of text.

    Raises:
      InputError: it is no text, or in another encoding.
    """
    encoding = next((e for mark, e in MARKS.items() if raw.startswith(mark)), "utf-8")
    if encoding.startswith("utf-8") and b"\0" in raw:
        raise InputError(f"{path} is not text: save it as CSV or text in UTF-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path} is not UTF-8 text (line {line}): save it as UTF-8"
        ) from error


def read_lines(path: Path, text: str) -> list[Line]:
    """Cuts text into lines, and these into cells.

    By the suffix of its file and its first line, cells are parted by tab, semicolon or
    comma; several whole numbers in each line also by spaces.

    Raises:
      InputError: the first line leaves it in doubt.
    """
    lines = [
        (number, line)
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)
        if line.strip() and not COMMENT.match(line)
    ]
    if not lines:
        return []
    delimiter = _delimiter(path, lines[0][1])
    if delimiter is None and all(re.fullmatch(r"[0-9\s]+", line) for _, line in lines):
        return [Line(number, line.split()) for number, line in lines]
    return [Line(number, _cells(line, delimiter)) for number, line in lines]


def _delimiter(path: Path, first: str) -> str | None:
    """Finds what parts the cells of a line; None: a line is one cell."""
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    unquoted = re.sub(r'"([^"]|"")*"', "", first)
    found = [mark for mark in "\t;," if mark in unquoted]
    if path.suffix.lower() == ".csv":
        return "," if "," in found or not found else found[-1]
    if len(found) > 1:
        raise InputError(
            f"{path}: its first line has {' and '.join(map(repr, found))}: put one id "
            'a line, those with such characters in "quotes"'
        )
    return found[0] if found else None


def _cells(line: str, delimiter: str | None) -> list[str]:
    """Cuts a line into cells; what is quoted is kept to the letter."""
    cells, at = [], 0
    while True:
        quoted = re.compile(r' *"((?:[^"]|"")*)" *').match(line, at)
        end = quoted.end() if quoted else -1
        if quoted and (end == len(line) or line[end] == delimiter):
            cell = quoted[1].replace('""', '"')
        else:
            end = line.find(delimiter, at) if delimiter else -1
            end = len(line) if end < 0 else end
            cell = line[at:end].strip()
        cells.append(cell)
        if end == len(line):
            return cells
        at = end + 1
