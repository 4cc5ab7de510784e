"""A run of several processes: who writes where, and how it ends.

Process 0 has the run folder, and alone writes there. Each other one works in a copy of
its own, made of what process 0 finds kept, and deleted at the end: so all find the same
things done and compute the same next. Only process 0 prints.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.launcher import last_words

if TYPE_CHECKING:
    from absl.flags import FlagValues

PART = 2**26  # bytes that are sent at once
LEFT_OUT = "figures", "export", "profile"


def join(values: "FlagValues", program: str) -> bool:
    """Connects the processes that the flags name, or that the cluster starts.

    Returns: whether it is a run of several.
    """
    from unlearn import hosts

    told = values.coordinator, values.processes, values.process
    wanted = values.distributed
    if wanted is None:
        wanted = told != (None, None, None) or hosts.are_found()
    if not wanted:
        return False
    _say_one_line(program)
    hosts.start(*told)
    return True


def quiet_others() -> None:
    """Lets process 0 alone print; the devices must have been set up."""
    from unlearn import hosts

    if not hosts.is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _say_one_line(program: str) -> None:
    """Lets another process read what compiled code says when it is ended.

    It writes pages to stderr and kills the process, so nothing here could do it.
    """
    reader = subprocess.Popen(
        [sys.executable, last_words.__file__, program], stdin=subprocess.PIPE
    )
    assert reader.stdin
    sys.stderr.flush()
    os.dup2(reader.stdin.fileno(), 2)
    # What compiled code prints of the connections is nothing to read.
    sys.stdout.flush()
    shown = os.fdopen(os.dup(1), "w", buffering=1, errors="backslashreplace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = shown


@contextlib.contextmanager
def own_folder(folder: Path) -> Generator[Path]:
    """Yields the folder to write to, with all that process 0 has kept in `folder`.

    Raises:
      InputError: another run is at work there, or a file cannot be written.
    """
    from unlearn import hosts, store

    if hosts.is_first():
        lock = store.lock(folder)
        _send(folder, folder)
        yield folder
        lock.release()
        return
    with tempfile.TemporaryDirectory(
        prefix="unlearn-", ignore_cleanup_errors=True
    ) as place:
        own = Path(place) / folder.name
        _send(folder, own)
        yield own


def _send(source: Path, target: Path) -> None:
    """Writes the files of process 0 to `target` on the others."""
    from unlearn import hosts

    files: list[tuple[str, int]] = []
    if hosts.is_first():
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source)
            hidden = any(part.startswith(".") for part in name.parts)
            if path.is_file() and not hidden and name.parts[0] not in LEFT_OUT:
                files.append((name.as_posix(), path.stat().st_size))
    files = json.loads(hosts.from_first(json.dumps(files).encode()))
    for name, size in files:
        with open(source / name if hosts.is_first() else os.devnull, "rb") as file:
            parts = [
                hosts.from_first(file.read(PART)) for _ in range(0, max(size, 1), PART)
            ]
        if not hosts.is_first():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(b"".join(parts))


def end() -> None:
    """Waits until all processes have come this far."""
    from unlearn import hosts

    hosts.end()
