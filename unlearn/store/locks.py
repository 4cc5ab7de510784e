"""One process at a time: a lock on a folder that ends with the process.

It is `flock`'s, by way of `filelock` (3.30 or later: before, a forked child could
release it, and a process that was refused emptied the lock file).
"""

import contextlib
import os
import socket
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.errors import InputError

if TYPE_CHECKING:
    from filelock import FileLock

NAME = ".lock"
OTHERS = "wait for it, or use another folder"
PATIENCE = 0.5  # seconds: a process that only looks (`refuse`) holds it for a moment


class Lock:
    """An exclusive lock on `folder/.lock`, of this process until it is dropped.

    It is released by `release`, by garbage collection and by the end of the process,
    however it ends; children do not inherit it. The file stays and names the last
    holder. Make one with `acquire`.
    """

    def __init__(self, folder: Path, held: "FileLock"):
        self.folder, self.pid, self._held = folder, os.getpid(), held

    def release(self) -> None:
        """Lets other processes in, although objects of this lock are still around."""
        if _LOCKS.get(self.folder) is self:
            del _LOCKS[self.folder]
        self._held.release(force=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


_LOCKS: weakref.WeakValueDictionary[Path, Lock] = weakref.WeakValueDictionary()
_ACQUIRING = threading.Lock()


def acquire(folder: Path, remedy: str = OTHERS) -> tuple[Lock, bool]:
    """Locks a folder: `(lock, whether it was not this process' already)`.

    `remedy` says what to do if another process holds it.

    Raises:
      InputError: another process holds it.
      OSError: the lock file cannot be written.
    """
    folder = Path(folder).resolve()
    with _ACQUIRING:
        own = _own(folder)
        if own is not None:
            return own, False
        held = _try(folder, PATIENCE, remedy)
        with open(folder / NAME, "w", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {socket.gethostname()}\n")
        lock = _LOCKS[folder] = Lock(folder, held)
        return lock, True


def refuse(folder: Path) -> None:
    """Checks that no other process holds a folder; makes nothing.

    Raises:
      InputError: one does.
    """
    folder = Path(folder).resolve()
    if _own(folder) is None and (folder / NAME).exists():
        with contextlib.suppress(OSError):  # not ours to write: found out later
            _try(folder, 0).release()


def try_lock(folder: Path, seconds: float = 0.0) -> Lock | None:
    """Makes a folder and locks it; None if another process or thread holds it.

    Raises:
      OSError: the lock file cannot be written.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _ACQUIRING:
        if _own(folder) is not None:
            return None
        try:
            held = _try(folder, seconds)
        except (InputError, FileNotFoundError):  # it held it, and has deleted it
            return None
        lock = _LOCKS[folder] = Lock(folder, held)
        return lock


def _own(folder: Path) -> Lock | None:
    lock = _LOCKS.get(folder)
    return lock if lock is not None and lock.pid == os.getpid() else None


def _try(folder: Path, seconds: float, remedy: str = OTHERS):
    import filelock

    held = filelock.FileLock(folder / NAME, timeout=seconds, thread_local=False)
    try:
        held.acquire(poll_interval=0.02)
    except filelock.Timeout:
        raise InputError(
            f"{_holder(folder)} is running here ({folder}): {remedy}"
        ) from None
    return held


def _holder(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        pid, host = (folder / NAME).read_text(encoding="utf-8").split()
        return f"pid {int(pid)} on {host}"
    return "another process"
