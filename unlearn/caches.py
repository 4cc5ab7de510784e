"""Folders of things that can be made again, kept from growing without bound."""

import contextlib
import os
import time
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

MINUTE, HOUR = 60.0, 3600.0


def folder(name: str) -> Path | None:
    """Returns `~/.cache/unlearn/NAME`, or below XDG_CACHE_HOME; None if no home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        return None
    return base / "unlearn" / name


def mark_used(path: Path) -> None:
    """Notes that a file was used now: sets its time, by which `prune` goes."""
    with contextlib.suppress(OSError):
        os.utime(path)


def prune(folder: Path, pattern: str, limit: int, keep: Path | None = None) -> int:
    """Deletes the files that were used longest ago until the others fit.

    Args:
      folder: its files are looked at, not those of folders in it.
      pattern: of the names of the files that count.
      limit: bytes.
      keep: a file that stays in any case.

    Returns:
      The bytes that are left.

    Files that another process deletes meanwhile are no error.
    """
    found, total = [], 0
    with contextlib.suppress(OSError):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
                total += status.st_size
    for _, size, path in sorted(found):
        if total <= limit:
            break
        if path != keep:
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
    return total


def hold(file: IO[bytes]) -> None:
    """Says that a process is at work on an open file, until it closes it or ends."""
    if fcntl:
        with contextlib.suppress(OSError):  # not every file system can
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_leftovers(folder: Path, pattern: str, held: bool = False) -> None:
    """Deletes files that a killed process did not finish.

    Those whose last change is more than an hour ago: younger ones may still be written.

    Args:
      folder, pattern: of the files.
      held: whoever writes one `hold`s it: then those that nobody does go after a
        minute, and none that somebody does.
    """
    age = MINUTE if held and fcntl else HOUR
    with contextlib.suppress(OSError):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                old = time.time() - path.stat().st_mtime > age
                if old and not (held and _is_held(path)):
                    path.unlink()


def _is_held(path: Path) -> bool:
    if not fcntl:
        return False
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
