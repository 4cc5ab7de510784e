"""The ledger of a deployment: `ledger.jsonl`, a JSON object a line, only appended to.

    hash     of a line: SHA-256 of its canonical JSON without `hash`
    previous the hash of the line before; "" of the first

so that no line can be changed, moved or left out unnoticed. `head.json` beside it has
the number of lines and the last hash: the end cannot be cut off unnoticed either. A
line is the commit point of what it tells. Lines of one batch are appended in one write
and count only when all are there: what a kill tore lies past the head, and `repair`
takes it away. Whatever else is wrong is damage, named and never repaired.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from unlearn import store
from unlearn.errors import InputError

NAME, HEAD = "ledger.jsonl", "head.json"


class Reading(NamedTuple):
    """What a ledger holds."""

    lines: list[dict]  # those that count
    fault: str  # what is wrong with the file; "" if nothing is
    size: int  # bytes of the lines that count
    torn: bool  # an uncommitted end is there, or the head is behind


def canonical(value: Any) -> str:
    """Writes JSON in the one form that is hashed: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def line_hash(line: dict) -> str:
    """Returns the SHA-256 of a line without its own `hash`."""
    rest = {key: value for key, value in line.items() if key != "hash"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def read(folder: Path) -> list[dict]:
    """Returns the lines of a deployment's ledger; none if it has no ledger yet.

    Raises:
      InputError: the ledger is damaged; see `inspect`.
    """
    found = inspect(folder)
    if found.fault:
        raise InputError(f"{found.fault}: restore it from a backup")
    return found.lines


def inspect(folder: Path) -> Reading:
    """Reads the ledger and says what is wrong with it; changes nothing."""
    path, head = Path(folder) / NAME, _head(folder)
    if isinstance(head, str):
        return Reading([], head, 0, False)
    data = path.read_bytes() if path.exists() else b""
    lines, size, why = _parse(data)
    ends = [line["hash"] for line in lines]
    if head["hash"] in ends[: head["lines"] - 1] or (
        head["lines"] <= len(ends) and head["hash"] not in ["", *ends]
    ):
        fault = f"{Path(folder) / HEAD} does not match {path}"
        return Reading(lines, fault, size, False)
    if len(lines) < head["lines"]:
        what = why or "lines at its end are missing"
        return Reading(lines, f"{path}, line {len(lines) + 1}: {what}", size, False)
    whole = _whole(lines, head["lines"])
    torn = len(lines) != head["lines"] or size != len(data)
    size = sum(len(_encode(line)) for line in lines[:whole])
    if whole > head["lines"] and size < len(data):  # a kill tears one batch, no more
        fault = f"{Path(folder) / HEAD} is missing or older than {path}"
        return Reading(lines, fault, size, False)
    return Reading(lines[:whole], "", size, torn)


def _head(folder: Path) -> dict | str:
    """Returns the head, or what is wrong with it."""
    path = Path(folder) / HEAD
    if not path.exists():
        return {"lines": 0, "hash": ""}
    try:
        data = path.read_bytes()
        head = json.loads(data)
        if data == _encode(head) and type(head["lines"]) is int and head["hash"]:
            return head
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    return f"{path} is damaged"


def _encode(value: dict) -> bytes:
    return canonical(value).encode() + b"\n"


def _parse(data: bytes) -> tuple[list[dict], int, str]:
    """Returns the lines up to the first that is wrong, their size, and what it is."""
    lines, size, previous = [], 0, ""
    for raw in data.splitlines(keepends=True):
        why = "it does not follow the line before"
        try:
            line = json.loads(raw)
            if raw != _encode(line) or line["hash"] != line_hash(line):
                return lines, size, "its content does not match its hash"
            if line["previous"] != previous or line["line"] != len(lines):
                return lines, size, why
        except (ValueError, LookupError, TypeError, RecursionError):
            return lines, size, "it is damaged"
        lines.append(line)
        size, previous = size + len(raw), line["hash"]
    return lines, size, ""


def _whole(lines: list[dict], committed: int) -> int:
    """Counts the lines that are committed, and those of one batch that is all there."""
    if committed == len(lines):
        return committed
    end = committed + lines[committed]["batch"]
    return end if end <= len(lines) else committed


def repair(folder: Path) -> None:
    """Takes an uncommitted end away and lets the head point at the last line.

    Only the holder of the folder's lock may.

    Raises:
      InputError: the ledger is damaged.
    """
    folder = Path(folder)
    found = inspect(folder)
    if found.fault:
        raise InputError(f"{found.fault}: restore it from a backup")
    if not found.torn:
        return
    path = folder / NAME
    try:
        with open(path, "r+b") as file:
            file.truncate(found.size)
            os.fsync(file.fileno())
    except OSError as error:
        raise store.cannot_write(path, error) from error
    _write_head(folder, found.lines)


def append(folder: Path, entries: list[dict]) -> list[dict]:
    """Appends entries as one batch and returns the lines that they became.

    Adds to each the number of the `line`, the size of the `batch` that begins with it
    (1 for the others), the hash of the line before and its own. All are on disk when it
    returns, or none of them counts.

    Raises:
      InputError: the ledger is damaged or cannot be written.
    """
    folder = Path(folder)
    repair(folder)
    lines = read(folder)
    previous, added = lines[-1]["hash"] if lines else "", []
    for place, entry in enumerate(entries):
        line = entry | {
            "line": len(lines) + place,
            "batch": len(entries) - place,
            "previous": previous,
        }
        line["hash"] = previous = line_hash(line)
        added.append(line)
    path = folder / NAME
    try:
        with open(path, "ab") as file:
            file.write(b"".join(map(_encode, added)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise store.cannot_write(path, error) from error
    _write_head(folder, lines + added)
    return added


def _write_head(folder: Path, lines: list[dict]) -> None:
    if lines:
        head = {"lines": len(lines), "hash": lines[-1]["hash"]}
        store.write_bytes(folder / HEAD, _encode(head))
