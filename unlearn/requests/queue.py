"""The queue: requests that wait to be answered together, as one."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from unlearn import store
from unlearn.errors import InputError, counted
from unlearn.report.progress import Progress
from unlearn.report.request_page import Spell, python_call
from unlearn.requests import answer
from unlearn.requests.calls import Call, make_call
from unlearn.requests.deployment import (
    BEGUN,
    Deployment,
    hold,
    open_deployment,
    read_record,
)
from unlearn.requests.requesting import (
    answer_now,
    ask,
    finish_begun,
    resolve_asked,
    say,
)
from unlearn.requests.resolve import TRAIN
from unlearn.training_time import costs

ASKED = {
    "received": str,
    "ids": list,
    "reason": str,
    "reference": str,
    "skip_unknown": bool,
    "keep_groups": bool,
}
"""What a request that waits has, see `requesting.ask`."""


def waiting(folder: Path) -> list[Path]:
    """Lists the requests that wait, in the order they came."""
    return sorted((Path(folder) / "queue").glob("[0-9]*.json"))


def enqueue(
    folder: Path | str,
    ids: Iterable | str | Path,
    *,
    reason: str,
    reference: str = "",
    skip_unknown: bool = False,
    keep_groups: bool = False,
    column: str = "",
    progress: Progress | None = None,
) -> Path:
    """Stores a request that `answer_queue` answers; see `request` for the arguments.

    Raises:
      InputError: unknown ids, or bad input.
    """
    call, folder = make_call(progress), Path(folder)
    asked = ask(ids, column, reason, reference, skip_unknown, keep_groups)
    found = open_deployment(folder)
    with hold(folder):
        say(found, resolve_asked(found, asked, found.erased(found.lines())), call)
        others = waiting(folder)
        begun = read_record(folder / BEGUN) if (folder / BEGUN).exists() else {}
        answered = begun.get("queued", ())  # whoever finishes it deletes these
        stems = [Path(name).stem for name in (*others, *answered)]
        taken = [int(stem) for stem in stems if stem.isdecimal()]
        path = folder / "queue" / f"{max(taken, default=0) + 1:04d}.json"
        store.write_json(path, asked)
    call.say(f"waiting in {folder}: {counted(len(others) + 1, 'request')}")
    return path


def answer_queue(
    folder: Path | str,
    *,
    data_dir: str | None = None,
    data: str = "",
    progress: Progress | None = None,
    spell: Spell = python_call,
) -> list[dict]:
    """Answers all requests that wait, together: one new version, a line for each.

    Returns:
      The new lines of the ledger.

    Raises:
      InputError: see `request`; the queue stays as it was then.
    """
    call, folder = make_call(progress, data_dir, data, spell), Path(folder)
    found = open_deployment(folder)
    with hold(folder):
        finish_begun(found, call)
        files = waiting(folder)
        if not files:
            call.say("No request waits.")
            return []
        records, taken = resolve_all(found, files, call)
        if not records:
            for path in files:
                path.unlink()
            call.say("Nothing is left to erase.")
            return []
        say_costs(found, taken, call)
        return answer_now(found, records, [path.name for path in files], call)


def resolve_all(
    found: Deployment, files: list[Path], call: Call
) -> tuple[list[dict], list[np.ndarray]]:
    """Resolves requests one after another: an example belongs to the first.

    Those with nothing left to erase are left out, and named.

    Raises:
      InputError: one cannot be answered; its file is named.
    """
    lines = found.lines()
    erased, number = dict(found.erased(lines)), lines[-1]["number"] + 1
    records, taken = [], []
    for path in files:
        try:
            asked = read_record(path)
            check_asked(asked)
            resolved = resolve_asked(found, asked, erased)
            say(found, resolved, call)
            if len(resolved.taken):
                answer.check_left(found, set(erased), resolved.taken)
        except InputError as error:
            raise InputError(f"{path}: {error}; or delete that file") from error
        if not len(resolved.taken):
            reference = f" ({asked['reference']})" if asked["reference"] else ""
            by = ", ".join(map(str, sorted(set(resolved.gone.values()))))
            call.say(
                f"{path.name}{reference}: nothing is left to erase, by "
                f"request{'s' * (',' in by)} {by}"
            )
            continue
        records.append(answer.record(found, resolved, asked))
        taken.append(resolved.taken)
        erased |= dict.fromkeys(resolved.taken.tolist(), number)
        number += 1
    return records, taken


def check_asked(asked: dict) -> None:
    """Checks that a record of the queue is one that `enqueue` wrote.

    Raises:
      InputError: an entry is missing or of another kind.
    """
    for name, kind in ASKED.items():
        value = asked.get(name)
        texts = value if isinstance(value, list) else ()
        if not isinstance(value, kind) or not all(isinstance(x, str) for x in texts):
            raise InputError(f"{name} is missing or damaged: restore it from a backup")


def say_costs(found: Deployment, taken: list[np.ndarray], call: Call) -> None:
    """Says what SISA saves by answering together."""
    if found.method != "sisa":
        return
    constants = found.settings["methods"]["sisa"]
    parts = {name: constants[name] for name in ("shards", "slices", "epochs")}
    size = len(found.examples.of(TRAIN))
    trained = np.concatenate(taken)
    count = int(np.sum(found.examples.split[trained] == TRAIN))
    if not count:
        return
    together = costs.expected_cost(size, count, **parts)
    alone = costs.expected_cost(size, count, one_by_one=True, **parts)
    call.say(
        f"{counted(count, 'random example')}: {together:,.0f} examples times epochs "
        f"together, {alone:,.0f} one by one ({alone / together:.1f} times as much)"
    )
