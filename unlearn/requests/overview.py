"""The state of a deployment in a few lines."""

import contextlib
import os
from pathlib import Path

import numpy as np

from unlearn.errors import counted
from unlearn.report.progress import Progress
from unlearn.requests.deployment import BEGUN, open_deployment, version_of
from unlearn.requests.queue import waiting
from unlearn.requests.resolve import SPLITS


def status(folder: Path | str, *, progress: Progress | None = None) -> dict:
    """Says how a deployment stands; changes nothing.

    Returns:
      The same facts: `method`, `version`, `examples` by split, `erased`, `requests`,
      `waiting`, `begun`, `last` (the hash of the last line) and `megabytes`.

    Raises:
      InputError: there is no deployment, or its ledger is damaged.
    """
    progress, folder = progress or Progress(), Path(folder)
    found = open_deployment(folder)
    lines = found.lines()
    erased = found.erased(lines)
    stays = np.ones(len(found.examples.ids), bool)
    stays[list(erased)] = False
    split = found.examples.split[stays]
    answered = [line for line in lines if line["kind"] == "request"]
    facts = {
        "method": found.method,
        "version": version_of(lines),
        "examples": {name: int(np.sum(split == s)) for s, name in enumerate(SPLITS)},
        "erased": len(erased),
        "requests": len(answered),
        "waiting": len(waiting(folder)),
        "begun": (folder / BEGUN).exists(),
        "last": lines[-1]["hash"],
        "megabytes": size_of(folder) / 1e6,
    }
    counts = ", ".join(f"{n:,} {name}" for name, n in facts["examples"].items() if n)
    progress.say(
        f"{folder}: {found.method}, version {facts['version']}, {counts} examples"
    )
    progress.say(
        f"answered: {counted(len(answered), 'request')}, with "
        f"{counted(len(erased), 'example')} erased; waiting: {facts['waiting']}"
    )
    if answered:
        progress.say(f"last request: {answered[-1]['completed']}")
    if facts["begun"]:
        progress.say("a request was begun and stopped: any request finishes it first")
    progress.say(
        f"{facts['megabytes']:.1f} MB; last line of the ledger {facts['last']}"
    )
    return facts


def size_of(folder: Path) -> int:
    """Adds up the bytes of all files; those that go away meanwhile count nothing."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.path.getsize(os.path.join(place, name))
    return total
