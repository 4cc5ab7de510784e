"""Requests: resolved, begun, answered; or only described."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from unlearn.errors import InputError, counted
from unlearn.report.progress import Progress
from unlearn.report.request_page import Spell, python_call
from unlearn.requests import answer, exporting, facts, purging
from unlearn.requests.calls import Call, make_call
from unlearn.requests.deployment import (
    BEGUN,
    Deployment,
    hold,
    now,
    open_deployment,
    read_record,
)
from unlearn.requests.resolve import (
    SPLITS,
    TRAIN,
    Resolved,
    ids_of,
    resolve,
    shortened,
)
from unlearn.training_time import costs


def request(
    folder: Path | str,
    ids: Iterable | str | Path,
    *,
    reason: str,
    reference: str = "",
    dry_run: bool = False,
    skip_unknown: bool = False,
    keep_groups: bool = False,
    column: str = "",
    data_dir: str | None = None,
    data: str = "",
    progress: Progress | None = None,
    spell: Spell = python_call,
) -> list[dict]:
    """Erases examples from a deployment, and records it.

    A request that was begun before and not finished is finished first. The same request
    again does nothing: what is erased already is reported.

    Args:
      folder: of the deployment.
      ids: of the examples, or the path of a file with them.
      reason: why; for the record.
      reference: the requester's; for the record.
      dry_run: say what would happen, and change nothing.
      skip_unknown: leave out ids that name nothing here, in the place of refusing all.
      keep_groups: erase the named examples alone, not the rest of their groups.
      column: of the file, that has the ids.
      data_dir: where prepared data sets lie; default: as deployed.
      data: where the data lie now, such as `folder:PATH`, if they were moved.
      progress: default: to standard output.
      spell: how the report spells commands.

    Returns:
      The new lines of the ledger; none if there was nothing left to erase.

    Raises:
      InputError: unknown ids, bad input, data that are not as deployed, another process
        or thread at work; nothing was changed then.
    """
    call, folder = make_call(progress, data_dir, data, spell), Path(folder)
    asked = ask(ids, column, reason, reference, skip_unknown, keep_groups)
    found = open_deployment(folder)
    if dry_run:
        resolved = resolve_asked(found, asked, found.erased(found.lines()))
        describe(found, resolved, call)
        return []
    with hold(folder):
        finish_begun(found, call)
        erased = found.erased(found.lines())
        resolved = resolve_asked(found, asked, erased)
        say(found, resolved, call)
        if not len(resolved.taken):
            call.say("Nothing is left to erase.")
            return []
        answer.check_left(found, set(erased), resolved.taken)
        record = answer.record(found, resolved, asked)
        return answer_now(found, [record], [], call)


def answer_now(
    found: Deployment, records: list[dict], queued: list[str], call: Call
) -> list[dict]:
    """Begins and finishes requests; takes all back if they cannot be answered."""
    lines = finish_now(found, answer.begin(found, records, queued), call)
    for line in lines:
        same = line["weights"]["before"] == line["weights"]["after"]
        if same and line["version"] != line["version_before"]:
            call.say(f"Warning: {found.method} has not changed the weights")
        page = found.request(line["number"]) / "report.html"
        call.say(f"request {line['number']} is answered: {page}")
    return lines


def finish_now(found: Deployment, begun: dict, call: Call) -> Any:
    """Finishes what was begun; takes it back if that cannot be."""
    try:
        return FINISH[begun["kind"]](found, begun, call)
    except Exception:
        answer.withdraw(found, begun)
        raise


FINISH = {
    "request": answer.finish,
    "purge": purging.finish,
    "export": exporting.finish,
}


def finish_begun(found: Deployment, call: Call) -> None:
    """Finishes what a killed process began.

    Raises:
      InputError: it cannot be finished.
    """
    path = found.folder / BEGUN
    if not path.exists():
        return
    begun = read_record(path)
    if begun.get("kind") not in FINISH or "number" not in begun:
        raise InputError(f"{path} is damaged: restore it from a backup")
    what = f"{begun['kind']} {begun['number']}"
    call.say(f"{what} was begun and stopped: it is finished first")
    try:
        FINISH[begun["kind"]](found, begun, call)
    except InputError as error:
        drop = "" if begun["kind"] == "purge" else f" (or delete {path} to drop it)"
        raise InputError(
            f"{what} was begun and cannot be finished: {error}{drop}"
        ) from error


def ask(
    ids: Iterable | str | Path,
    column: str,
    reason: str,
    reference: str,
    skip_unknown: bool,
    keep_groups: bool,
) -> dict:
    """Checks what is asked and returns it as it is recorded.

    Raises:
      InputError: no id, or no reason.
    """
    for name, text in (("reason", reason), ("reference", reference)):
        if not isinstance(text, str) or len(text.splitlines()) > 1:
            raise InputError(f"{name} must be one line of text; it is {text!r}")
    if not reason.strip():
        raise InputError("a request needs a reason, for the record")
    return {
        "received": now(),
        "ids": ids_of(ids, column),
        "reason": reason.strip(),
        "reference": reference.strip(),
        "skip_unknown": skip_unknown,
        "keep_groups": keep_groups,
    }


def resolve_asked(found: Deployment, asked: dict, erased: dict[int, int]) -> Resolved:
    """Resolves what was asked; see `resolve.resolve`."""
    options = {name: asked[name] for name in ("skip_unknown", "keep_groups")}
    return resolve(found.examples, asked["ids"], erased, **options)


def say(found: Deployment, resolved: Resolved, call: Call) -> None:
    """Says in a line or more what a request takes."""
    taken = resolved.taken
    counts = [
        f"{np.sum(found.examples.split[taken] == split)} {name}"
        for split, name in enumerate(SPLITS)
        if np.any(found.examples.split[taken] == split)
    ]
    if len(taken):
        call.say(
            f"{counted(len(taken), 'example')} ({', '.join(counts)}): "
            f"{len(resolved.named)} named, {len(resolved.groups)} more of the same "
            f"groups, {len(resolved.copies)} more as exact copies"
        )
    for number in sorted(set(resolved.gone.values())):
        ids = [one for one, by in resolved.gone.items() if by == number]
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        were = "was" if len(ids) == 1 else "were"
        call.say(
            f"{', '.join(ids[:5])}{more} {were} erased already, by request {number}"
        )
    if resolved.unknown:
        call.say(f"unknown, left out: {', '.join(map(shortened, resolved.unknown))}")


def describe(found: Deployment, resolved: Resolved, call: Call) -> None:
    """Says what a request would do."""
    say(found, resolved, call)
    ids, taken = found.examples.ids, resolved.taken
    for name in ("named", "groups", "copies"):
        part = ids[getattr(resolved, name)].tolist()
        if part:
            call.say(f"  {name}: {', '.join(map(str, part))}")
    erased = found.erased(found.lines())
    if len(taken):
        answer.check_left(found, set(erased), taken)
    rows = np.searchsorted(
        found.examples.of(TRAIN), taken[found.examples.split[taken] == TRAIN]
    )
    if found.method == "sisa" and len(rows):
        say_cost(found, rows, len(erased), call)
    call.say("A dry run: nothing was changed.")


def say_cost(found: Deployment, rows: np.ndarray, erased: int, call: Call) -> None:
    """Says which shards of SISA a request touches, and what that costs."""
    constants = found.settings["methods"]["sisa"]
    shards = facts.touched(found, rows, constants)
    size = len(found.examples.of(TRAIN))
    names = ", ".join(f"{s} from slice {r}" for s, r in shards.items())
    parts = {name: constants[name] for name in ("shards", "slices", "epochs")}
    together = costs.expected_cost(size, len(rows), **parts)
    full = costs.full_cost(size, erased + len(rows), epochs=constants["epochs"])
    call.say(
        f"trains again: shard {names}; a random request of so many costs "
        f"{together:,.0f} examples times epochs on average, one model anew {full:,}"
    )


def purge(
    folder: Path | str,
    *,
    data_dir: str | None = None,
    data: str = "",
    progress: Progress | None = None,
    spell: Spell = python_call,
) -> dict | None:
    """Deletes what still depends on erased examples, and lists what it cannot reach.

    Arguments: see `request`.

    Returns:
      The new line of the ledger; None if nothing was to be deleted.

    Raises:
      InputError: a file cannot be deleted, the version in use is damaged, or another
        process or thread is at work.
    """
    call, folder = make_call(progress, data_dir, data, spell), Path(folder)
    found = open_deployment(folder)
    with hold(folder):
        finish_begun(found, call)
        lines = found.lines()
        if lines[-1]["kind"] != "request" and not purging.stale(found, lines):
            call.say("Nothing is left to delete.")
            for line in purging.unreached(found, lines, call):
                call.say(f"not reached: {line}")
            purging.forget_cache(found, call)
            return None
        begun = purging.begin(found, call)
        return purging.finish(found, begun, call)


def export(
    folder: Path | str,
    to: Path | str,
    *,
    data_dir: str | None = None,
    data: str = "",
    progress: Progress | None = None,
    spell: Spell = python_call,
) -> dict:
    """Writes the weights in use to a file, and records that they were given away.

    Beside it, with the suffix `.json`, is what they are of. Of `sisa` it holds the last
    slice of each shard, as `shard_0` and so on, whose votes are counted.

    Args:
      folder: of the deployment.
      to: a new file; its suffix chooses the format, see `models.weights`.
      data_dir, data, progress, spell: see `request`.

    Returns:
      The new line of the ledger.

    Raises:
      InputError: the file is there already or would be in the folder of the
        deployment, or its suffix is unknown.
    """
    call, folder = make_call(progress, data_dir, data, spell), Path(folder)
    to = Path(to).expanduser().absolute()
    exporting.check_place(to, folder)
    found = open_deployment(folder)
    with hold(folder):
        finish_begun(found, call)
        exporting.check_place(to, folder)
        return finish_now(found, exporting.begin(found, to), call)
