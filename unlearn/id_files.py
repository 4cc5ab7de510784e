"""Files of ids, as people and programs write them; what is ambiguous is refused.

Text (`.txt`, `.csv`, `.tsv`; see `text_tables`) has an id a line, or is a table with
the names of its columns in the first line. JSON holds a list; `.npy` and `.npz` hold
one array.
"""

import contextlib
import decimal
import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearn.errors import InputError
from unlearn.text_tables import Line, decode, read_lines

WHOLE = re.compile(r"0|-?[1-9][0-9]*")
FLOAT = re.compile(
    r"(0|[1-9][0-9]*)\.[0-9]*(e[+-][0-9]+)?"
)  # as numpy and pandas write
ID_WORD = re.compile(
    "ids?|uu?id|idx|index|indices|rows?|position|examples?|samples?|items?|record|"
    "images?|img|photos?|pictures?|files?|filenames?|filepath|paths?|names?|keys?|"
    "numbers?|isic|forget|forgotten|erase|erasure|delete|deletion|remove|removal|mask|"
    "of|to|the|train|training|data",
    re.IGNORECASE,
)
"""A column is taken for ids unasked only if its name has no other words."""

MARKINGS = re.compile(
    r"|[01](\.0)?|true|false|t|f|yes|no|y|n|ja|nein|oui|non|x|on|off|in|out|none|nan|"
    "null|keep|kept|retain(ed)?|stays?|forget|forgotten|erased?|deleted?|removed?|drop|"
    "dropped|given|granted|withdrawn|revoked|refused|declined|accepted|approved|"
    "rejected|requested|consent(ed)?|objected|active|inactive|valid|invalid|expired|"
    "open|closed|pending|done",
    re.IGNORECASE,
)
"""What a column that marks some lines of a table holds."""

VERDICTS = re.compile(
    r"\b(keep|kept|retain\w*|forg[eo]t\w*|eras(e|es|ed|ure|ing)|delet\w+|remov\w+|"
    r"drop(ped)?|request\w*|grant\w*|withdr\w+|revok\w+|refus\w+|declin\w+|"
    r"den(y|ied)|accept\w*|approv\w+|reject\w*|consent\w*|object(s|ed|ion|ions)?|"
    r"do not|don't|(ge)?loe?sch\w*|behalten|entfern\w*|vergess\w*|widerr\w+|"
    r"widerspr\w+|zugestimmt|einwillig\w*|abgelehnt|genehmigt|supprim\w+|effac\w+|"
    r"garder|conserv\w+|borrar|elimin\w+|mantener|cancell\w+)\b",
    re.IGNORECASE,
)
"""A word in a column of remarks that says who is meant, without accents."""

MARKING = re.compile(
    "consent(ed)?|status|states?|decisions?|actions?|withdrawn|withdrawals?|revoked|"
    "objections?|objected|opt(ed|in|out)?|flags?|flagged|marks?|marked|keep|kept|"
    "retain(ed)?|erased?|erasures?|deleted?|deletions?|removed?|removals?|forget|"
    "forgotten|active|valid|verdict|requests?|requested|grants?|granted|approvals?|"
    "approved|accepted|refused|rejected|declined|denied|permissions?|anfragen?|"
    "antrae?ge?|loe?schung|loe?schen|behalten|einwilligung|widerruf|"
    "widerspruch|entscheidung",
    re.IGNORECASE,
)
"""A word in the name of such a column, without accents."""

BLANK = re.compile(r"[-–—?./]*|nan|nat|<na>|n/?a|none|null|0000-00-00.*", re.IGNORECASE)
"""A cell that says nothing: beside cells that do, it may set its row apart."""

WORD_OR_SIGN = re.compile(r"[^\W\d_]+|[^\w\s]+")
KINDS = re.compile(
    r"labels?|class(es)?|categor(y|ies)|species|sex|gender|diagnos\w*|dx|splits?|"
    "sides?|sizes?|eyes?|sites?",
    re.IGNORECASE,
)
"""A word in the name of a column that may well hold one of two words."""


def read_ids(path: str | Path, column: str = "") -> np.ndarray:
    """Reads the ids in a file: int64[N] or text[N], in its order; or a mask, bool[N].

    Ids are whole numbers if all of them are plain ones (`12`), and otherwise text,
    exactly as it stands there; `as_known` says what `12.0` means.

    Args:
      path: see the module.
      column: of a table, object or npz file; by default the one that is named as ids
        are (`id`, `file`, `row`, ...), if there is one such.

    Raises:
      InputError: the file cannot be read, has no ids, or it is not certain which they
        are.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "it is not a file" if path.exists() else "there is no such file"
        raise InputError(f"cannot read ids from {path}: {what}")
    readers = {".npy": _from_npy, ".npz": _from_npz, ".json": _from_json}
    try:
        ids = readers.get(path.suffix.lower(), _from_text)(path, column)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot read ids from {path}: {reason}") from error
    if not len(ids) or (ids.dtype == bool and not ids.any()):
        raise InputError(f"{path} has no ids: the forget set is empty")
    numbers = [n for n in map(_number, map(str, ids.tolist())) if n is not None]
    if len(numbers) == len(ids) and _is_mask(numbers):
        found = " and ".join(map(str, sorted(set(numbers))))
        raise InputError(
            f"{path} has only {found}, many times: for a mask write True and False, "
            "for ids each one once"
        )
    return ids


def as_known(names: Iterable, known: Iterable) -> list:
    """Reads `12.0`, as programs write 12, where no id that is known is written so.

    Numbers stay what they are.
    """
    if any(isinstance(one, str) and FLOAT.fullmatch(one) for one in known):
        return list(names)
    found = ((one, _number(one) if isinstance(one, str) else None) for one in names)
    return [one if number is None else str(number) for one, number in found]


def _is_mask(numbers: list[int]) -> bool:
    """Says whether whole numbers may be a mask: of 0 and another number, or all 1."""
    found = set(numbers)
    repeated = len(numbers) > len(found)
    return repeated and (found == {1} or (0 in found and len(found) <= 2))


# Text


def _from_text(path: Path, column: str) -> np.ndarray:
    text = decode(path, path.read_bytes())
    if text.lstrip()[:1] in ("[", "{"):
        value = None
        with contextlib.suppress(InputError):
            value = _json(path, text)
        if value is not None:
            return _from_value(path, value, column)
    table = read_lines(path, text)
    if not table:
        return np.zeros(0, np.int64)
    if len(table) == 1 and not column and path.suffix.lower() not in TABLES:
        cells = [cell for cell in table[0].cells if cell]
        if not any(map(_names_ids, cells)):
            return _ids(cells)
    return _ids(_pick(path, table, column))


TABLES = {".csv", ".tsv", ".tab"}  # in others, one line may be a list


# Tables


def _pick(path: Path, table: list[Line], column: str) -> list[str]:
    """Returns the cells of the column of ids, without its name."""
    table = _whole_columns(path, table)
    head, rows = table[0].cells, table[1:]
    if column:
        chosen = _named(path, head, column)
    elif len(head) == 1:
        if not _is_name(head[0], [row.cells[0] for row in rows]):
            return [row.cells[0] for row in table]
        chosen = 0
        if not _names_ids(head[0]):
            raise InputError(
                f"{path}: its column is called {head[0]!r}: if these are the ids of "
                f"examples, say so by forget.column={head[0]}"
            )
    else:
        chosen = _only_ids(path, head, rows)
    cells = [row.cells[chosen] for row in rows]
    missing = [row.number for row in rows if not row.cells[chosen]]
    if missing:
        raise InputError(f"{path}: line {missing[0]} has no id: give one, or drop it")
    return cells


def _whole_columns(path: Path, table: list[Line]) -> list[Line]:
    """Drops columns that are empty; the others must be as many in each line."""
    width = len(table[0].cells)
    for line in table:
        if len(line.cells) != width:
            raise InputError(
                f"{path}: line {table[0].number} has {width} columns and line "
                f"{line.number} has {len(line.cells)}: put one id a line, those with "
                'commas in "quotes"'
            )
    used = [i for i in range(width) if any(line.cells[i] for line in table)]
    return [Line(line.number, [line.cells[i] for i in used]) for line in table]


def _named(path: Path, head: Sequence[str], column: str) -> int:
    """Finds a column by its name."""
    if head.count(column) == 1:
        return head.index(column)
    if column in head:
        raise InputError(f"{path} has several columns {column!r}: rename them")
    close = difflib.get_close_matches(column, head, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(f"{path} has no column {column!r}: {hint}it has {_listed(head)}")


def _only_ids(path: Path, head: list[str], rows: list[Line]) -> int:
    """Finds the one column that is named as ids are, in a table of several."""
    if any(re.match(r"[+-]?[0-9]+(\.|$)", cell) for cell in head):
        raise InputError(
            f"{path} has {len(head)} columns without names: put one id a line, or name "
            "the columns in the first line"
        )
    if not rows:
        raise InputError(f"{path} has names of columns only: the forget set is empty")
    meant = [i for i, name in enumerate(head) if _names_ids(name)]
    marked = [
        name
        for i, name in enumerate(head)
        if i not in meant and _marks([row.cells[i] for row in rows], name)
    ]
    if len(meant) == 1 and not marked:
        return meant[0]
    if len(meant) == 1:
        one = marked[0] or "one without a name"
        raise InputError(
            f"{path} has the columns {_listed(head)}, and {one} may mark some of the "
            "rows: keep only the rows to forget, then say that all of them are meant "
            f"by forget.column={head[meant[0]]}"
        )
    choices = [f"forget.column={head[i]}" for i in meant] or ["forget.column=NAME"]
    may = f" ({marked[0]} may mark some)" if marked and meant else ""
    raise InputError(
        f"{path} has the columns {_listed(head)}: say which has the ids to forget, all "
        f"of them{may}, by {' or '.join(choices)}"
    )


def _marks(cells: list[str], name: str) -> bool:
    """Says whether a column may mark some of its lines: by blanks, by 0 and 1, ...

    Or by its name: who reads the ids beside `consent` takes those who gave it as well.
    """
    unnamed = not name or name.startswith("Unnamed: ")
    if unnamed and cells == [str(row) for row in range(len(cells))]:
        return False  # the index that pandas writes
    values = {cell.lower() for cell in cells}
    if len(values) > 1 and any(map(BLANK.fullmatch, values)):
        return True
    words = _words(_plain(name))
    if any(map(MARKING.fullmatch, words)) and any(cells):
        return True
    if any(VERDICTS.search(_plain(cell)) for cell in cells):
        return True
    two = len(values) == 2 and all(map(WORD_OR_SIGN.fullmatch, values))
    if two and not any(map(KINDS.fullmatch, words)):
        return True
    return any(cells) and all(map(MARKINGS.fullmatch, cells))


def _plain(text: str) -> str:
    """Leaves out accents."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _is_name(cell: str, below: Sequence[str]) -> bool:
    """Says whether a first cell names its column, and is not an id."""
    if re.match(r"[+-]?[0-9]", cell):
        return False
    numbers = all(WHOLE.fullmatch(c) or FLOAT.fullmatch(c) for c in below)
    return _names_ids(cell) or (bool(below) and numbers)


def _names_ids(name: str) -> bool:
    """Says whether a name has no words but those that columns of ids are called by."""
    words = [name] if ID_WORD.fullmatch(name) else _words(name)
    return bool(words) and all(map(ID_WORD.fullmatch, words))


def _words(name: str) -> list[str]:
    """Cuts a name such as `imageID` or `image_id` into words."""
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W_a-zA-Z]+", name)


def _is_truth(cell: str) -> bool:
    return cell.lower() in ("true", "false")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name or "(without a name)" for name in names)


def _ids(cells: Sequence[str]) -> np.ndarray:
    """Makes whole numbers, truth values or text of cells: one kind for all of them."""
    if all(map(_is_truth, cells)):
        return np.array([cell.lower() == "true" for cell in cells], bool)
    if all(WHOLE.fullmatch(cell) and _number(cell) is not None for cell in cells):
        return np.array([int(cell) for cell in cells], np.int64)
    return np.array(cells, np.str_)


def _number(cell: str) -> int | None:
    """Reads a plain whole number; None: it is something else."""
    if WHOLE.fullmatch(cell):
        number = int(cell) if len(cell) < 20 else 2**63
        return number if abs(number) < 2**63 else None
    if not FLOAT.fullmatch(cell):
        return None
    value = decimal.Decimal(cell)
    return int(value) if value < 2**53 and value == int(value) else None


# JSON and arrays


def _from_json(path: Path, column: str) -> np.ndarray:
    return _from_value(path, _json(path, decode(path, path.read_bytes())), column)


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def _from_value(path: Path, value: Any, column: str) -> np.ndarray:
    if isinstance(value, dict):
        value = value[list(value)[_of_several(path, list(value), column)]]
    elif column:
        raise InputError(f"{path} has no column {column!r}: it is one list")
    kinds = {type(entry) for entry in value} if isinstance(value, list) else {type}
    if (
        not kinds <= {int, float}
        and len(kinds) > 1
        or not kinds <= {int, float, str, bool}
    ):
        raise InputError(
            f"{path} must be one list of whole numbers, of texts, or of true and false"
        )
    return _array(path, np.array(value or np.zeros(0, np.int64)))


def _from_npy(path: Path, column: str) -> np.ndarray:
    if column:
        raise InputError(f"{path} has no column {column!r}: it is one array")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _not_plain(path, error) from error
    return _array(path, array)


def _from_npz(path: Path, column: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            array = file[file.files[_of_several(path, file.files, column)]]
    except (InputError, OSError):
        raise
    except Exception as error:  # zip, zlib and numpy each have their own
        raise _not_plain(path, error) from error
    return _array(path, array)


def _of_several(path: Path, names: list[str], column: str) -> int:
    """Finds which of several named lists holds the ids."""
    if column:
        return _named(path, names, column)
    if len(names) == 1:
        return 0
    raise InputError(
        f"{path} has {_listed(names) or 'nothing'}: say which are the ids to forget by "
        "forget.column=NAME"
    )


def _not_plain(path: Path, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(f"{path} is not a file of plain numbers or text: {reason}")


def _array(path: Path, array: Any) -> np.ndarray:
    """Checks an array of ids."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    kind = array.dtype.kind
    if array.ndim != 1 or kind not in "buifUS":
        raise InputError(
            f"{path} must be a flat list of whole numbers, text or a mask; it is "
            f"{array.dtype}{list(array.shape)}"
        )
    if kind == "f" and not (
        np.all(array == np.rint(array)) and np.all(np.abs(array) < 2**53)
    ):
        raise InputError(f"{path} has numbers that are not whole: no id is such")
    if kind == "u" and len(array) and array.max() >= 2**63:
        raise InputError(f"{path} has a number beyond 64 bits: no id is such")
    if kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise _not_plain(path, error) from error
    return array if kind in "bU" else array.astype(np.int64)
