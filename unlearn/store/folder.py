"""Whose a run folder is, and with which config."""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearn.errors import InputError
from unlearn.store import files
from unlearn.store.locks import Lock, acquire, refuse, try_lock

WRITTEN = (
    "checkpoints",
    "evaluations",
    "export",
    "relearning",
    "studies",
    "trials",
    "log.jsonl",
    "manifest.json",
    "results.csv",
    "split.npz",
    "summary.*",
    "tuning.csv",
)
"""What only a run writes beside its config.json; patterns of names."""


REMEDY = "use another folder, or delete it to start over"

GROWS = "run", "methods", "sources"
"""What a config has of a run that may go on with more methods."""

ROWS = {"private": "epsilon", "matching": "epochs"}
"""Sections of `audit` that ask for a row more, and what is 0 where they do not."""

MADE_BY = "checkpoints", "evaluations", "studies/*", "studies/*/*"
"""Folders with one of each method that something was made by."""

WORKERS = ".workers"
"""A folder of locks of those who have joined a run."""


def lock(folder: Path) -> Lock:
    """Makes a folder and locks it for this process; see `Lock`.

    Locking it again while that object lives gives the same object. A lock that is new
    removes what killed writes left.

    Raises:
      InputError: another process holds it, or it cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held, is_new = acquire(folder)
    except OSError as error:
        raise files.cannot_write(folder, error) from error
    if is_new and not _others_at_work(folder):
        files.clean(folder)
    return held


def refuse_if_locked(folder: Path) -> None:
    """Checks that no other process holds a folder, if there is one; makes nothing.

    Raises:
      InputError: another process holds it.
    """
    refuse(folder)


def check_claim(folder: Path, config: dict) -> None:
    """Checks that a folder, if there is one, is free or holds a run of this config.

    Raises:
      InputError: it is in use, holds a run with another config, or what a run wrote
        but no config.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder: {REMEDY}")
    refuse_if_locked(folder)
    _check_config(folder, config, may_grow=not _others_at_work(folder))


def _check_config(folder: Path, config: dict, may_grow: bool = False) -> None:
    path = folder / "config.json"
    if not path.exists():
        found = sorted(path.name for name in WRITTEN for path in folder.glob(name))
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise InputError(
                f"{folder} holds {found[0]}{more} without a config.json: {REMEDY}"
            )
        return
    there, config = files.read_json(path), json.loads(json.dumps(config))
    if may_grow and all(part in x for part in GROWS for x in (there, config)):
        there, config = _shared(folder, there, config)
    changes = [
        f"{key}: {_change(old, new)}" for key, old, new in differences(there, config)
    ]
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise InputError(
            f"{folder} holds a run with another config "
            f"({'; '.join(changes[:3])}{more}): {REMEDY}"
        )


def _change(old: Any, new: Any) -> str:
    """Says what was and what is; of long lists, what is gone and what is new."""
    if not (isinstance(old, list) and isinstance(new, list) and len(old + new) > 8):
        return f"{old} there, {new} now"
    pairs = ((old, new, "there alone"), (new, old, "now alone"))
    parts = [
        f"{', '.join(str(item) for item in some if item not in others)} {where}"
        for some, others, where in pairs
        if any(item not in others for item in some)
    ]
    return " and ".join(parts) or "in another order"


def _shared(folder: Path, there: dict, config: dict) -> tuple[dict, dict]:
    """Returns what must be the same of two configs: methods that were begun, all else.

    Rows of an audit (`ROWS`), too, may be added.
    """
    begun = {name for name in there["run"] if _is_begun(folder, name)}
    if not begun <= set(config["run"]):
        return there, config
    if "audit" in config and "audit" in there:
        added = ROWS.keys() - there["audit"].keys()
        audit = {k: v for k, v in config["audit"].items() if k not in added}
        config = config | {"audit": audit}
    parts = {part for name in begun for part in name.split("+")}
    return _of(parts, there, config), _of(parts, config, there)


def _is_begun(folder: Path, name: str) -> bool:
    """Says whether something of a method is kept."""
    return (
        any(any(folder.glob(f"{place}/{name}")) for place in MADE_BY)
        or (folder / "trials" / f"{name}.json").exists()
    )


def _of(parts: set[str], config: dict, other: dict) -> dict:
    """Returns a config with these methods alone, to compare it with the other one."""
    methods = config["methods"].keys() | other["methods"].keys()
    return {k: v for k, v in config.items() if k != "run"} | {
        section: {
            name: value
            for name, value in config[section].items()
            if name in parts or name not in methods
        }
        for section in ("methods", "sources")
    }


def claim(folder: Path, config: dict) -> Lock:
    """Makes the folder of a run unless it is there, and locks it; see `check_claim`.

    A run may go on with other methods beside those that it has something of, which
    stay. The caller keeps the lock for as long as it writes.
    """
    folder = Path(folder)
    check_claim(folder, config)
    held = lock(folder)
    check_claim(folder, config)  # another process may have been faster
    if not _others_at_work(folder) or not (folder / "config.json").exists():
        files.write_json(folder / "config.json", config)
    return held


def join(folder: Path, config: dict) -> Lock:
    """Joins those at work in the folder of a run, or begins; see `check_claim`.

    Nothing else in it is locked: who joins writes only what it has locked itself. The
    caller keeps what is returned for as long as it writes.

    Raises:
      InputError: the folder holds a run with another config, or cannot be written.
    """
    folder = Path(folder)
    place = folder / WORKERS / f"{socket.gethostname()}-{os.getpid()}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        held, is_new = acquire(place)
    except OSError as error:
        raise files.cannot_write(folder, error) from error
    try:
        begins = not (folder / "config.json").exists()
        alone = not _others_at_work(folder, but=place) and _is_free(folder)
        _check_config(folder, config, may_grow=alone)
        if begins or alone:
            files.write_json(folder / "config.json", config)
        _check_config(folder, config)
    except InputError:
        if is_new:
            leave(held)
        raise
    return held


def leave(held: Lock) -> None:
    """Ends what `join` began."""
    held.release()
    shutil.rmtree(held.folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        held.folder.parent.rmdir()


def _is_free(folder: Path) -> bool:
    """Says whether no process holds a folder."""
    try:
        refuse(folder)
    except InputError:
        return False
    return True


def _others_at_work(folder: Path, but: Path | None = None) -> bool:
    """Says whether some have joined, but for one; forgets those that were killed."""
    found = False
    for place in folder.glob(f"{WORKERS}/*"):
        if place == but:
            continue
        held = try_lock(place)
        if held is None:
            found = True
        else:
            leave(held)
    return found


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple]:
    """Yields `(dotted key, old value, new value)` wherever two nested dicts differ."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if json.dumps(old) != json.dumps(new):  # NaN is NaN
            yield prefix, old, new
        return
    for key in sorted(old.keys() | new.keys()):
        path = f"{prefix}.{key}" if prefix else key
        yield from differences(old.get(key), new.get(key), path)
