"""Rows as CSV files, numbers unrounded, and back with their types."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from unlearn.errors import InputError
from unlearn.report.text import encodable

TEXT_COLUMNS = ("model", "status")


def write_csv(path: Path | str, rows: Sequence[Mapping]) -> None:
    """Writes rows as CSV, numbers unrounded, all at once or not at all.

    The columns are the keys of all rows, in order of appearance; a value that is not
    there, or None, is an empty cell. The file is UTF-8 whatever the texts are.
    """
    from unlearn.store import write_text

    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    write_text(Path(path), encodable("".join(map(_line, lines))))


def read_csv(path: Path | str, needs: Iterable[str] = ()) -> list[dict]:
    """Reads what `write_csv` wrote, with its types; writing it again changes no byte.

    Args:
      needs: columns that must be there.

    Raises:
      InputError: it cannot be read, is not CSV in UTF-8, has a row of another length
        than the header, two columns of one name, or lacks a column.
    """
    remedy = "delete the file and run again"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read ({reason}): {remedy}") from error
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InputError(
                f"{path}: row {number} has {len(line)} cells and the header "
                f"{len(header)}; {remedy}"
            )
    if len(set(header)) < len(header):
        raise InputError(f"{path}: two columns have the same name; {remedy}")
    lacking = [name for name in needs if name not in header]
    if lacking:
        raise InputError(f"{path}: column {lacking[0]!r} is missing; {remedy}")
    return [
        {name: _parse(name, cell) for name, cell in zip(header, line, strict=True)}
        for line in lines
    ]


def _line(cells: Sequence[str]) -> str:
    r"""Writes a line; the writer quotes `\r` only where it ends lines with it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value) -> str:
    if value is None:
        return ""
    if hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, str) else repr(value)


def _parse(name, cell):
    if name in TEXT_COLUMNS:
        return cell or None
    if cell in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[cell]
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        if repr(value) == cell:
            return value
    return cell
