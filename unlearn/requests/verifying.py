"""Verifying: every hash that the ledger has, and one answer computed again."""

import itertools
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unlearn import store, training_time
from unlearn.errors import InputError, counted
from unlearn.report.progress import Progress
from unlearn.requests import answer, ledger, matching, packing, states
from unlearn.requests.calls import Call, make_call
from unlearn.requests.deployment import (
    BEGUN,
    Deployment,
    describe_code,
    open_deployment,
    read_record,
    take,
    version_of,
)
from unlearn.requests.resolve import TRAIN
from unlearn.store import locks

NOT_REPEATED = "cannot be repeated any more"


def verify(
    folder: Path | str,
    shard: int | None = None,
    *,
    known: str = "",
    data_dir: str | None = None,
    data: str = "",
    progress: Progress | None = None,
) -> list[str]:
    """Checks the ledger, every file that it names, and an answer by doing it again.

    Of `sisa` one shard is trained from scratch on what is left and compared bit for
    bit; of other methods the last request is answered again from the version before.

    Args:
      folder: of the deployment.
      shard: of `sisa`; default: the one that the last request touched first, else 0.
      known: the hash of a line of the ledger, as `status`, an export or a report gave
        it and someone noted it elsewhere. Whoever can write in the folder can write
        all of it anew, or put an older copy in its place: only this shows it.
      data_dir, data, progress: see `request`.

    Returns:
      What was checked, a line each.

    Raises:
      InputError: something is not as recorded; the first such thing is named, all are
        said by `progress`.
    """
    call, folder = make_call(progress, data_dir, data), Path(folder)
    with at_rest(folder):
        return check(folder, shard, known, call)


def check(folder: Path, shard: int | None, known: str, call: Call) -> list[str]:
    """Does the work of `verify`."""
    faults, told = check_hashes(folder, known), []
    if not faults:
        found = open_deployment(folder)
        lines = found.lines()
        faults = in_use(found, lines) or returned(found, lines)
    if not faults:
        count = counted(len(lines), "line")
        told.append(f"{count} of the ledger, and every file that is named there")
        if ledger.inspect(folder).torn:
            told.append("an end of the ledger that does not count: any request cuts it")
        if (folder / BEGUN).exists():
            told.append("a request was begun and not finished: any request finishes it")
        if shard is not None and found.method != "sisa":
            raise InputError(f"shards are of sisa; the method is {found.method}")
        redo = rebuild_shard if found.method == "sisa" else repeat_last
        said, faults = redo(found, lines, shard, call)
        told.append(said)
    for line in faults or told:
        call.say(line)
    if faults:
        more = f" ({len(faults)} faults in all)" if len(faults) > 1 else ""
        raise InputError(f"not as recorded: {faults[0]}{more}")
    all_done = NOT_REPEATED not in told[-1]
    call.say(f"Everything {'' if all_done else 'else '}is as recorded.")
    return told


def at_rest(folder: Path) -> AbstractContextManager:
    """Keeps others from work on a folder meanwhile, if it can be locked.

    Raises:
      InputError: another process or thread is at work.
    """
    if not (folder / locks.NAME).exists():
        return nullcontext()
    try:
        return take(folder)
    except OSError:
        return nullcontext()  # it is read-only


# Hashes


def check_hashes(folder: Path, known: str = "") -> list[str]:
    """Compares every file with what the ledger says of it; returns what is wrong.

    `known`: the hash of a line that must be there.
    """
    found = ledger.inspect(folder)
    if found.fault:
        return [found.fault]
    if not found.lines:
        raise InputError(f"{folder} holds no deployment: make one with deploy")
    faults, fixed, recorded = [], found.lines[0]["fixed"], {}
    numbers = [line["number"] for line in found.lines]
    for place, (before, number) in enumerate(itertools.pairwise(numbers), 2):
        if number <= before:
            faults.append(
                f"{folder / ledger.NAME}, line {place}: its number {number} does not "
                f"follow {before}: two were at work at once; use a backup of before"
            )
    if known and known not in [line["hash"] for line in found.lines]:
        return [
            f"{folder / ledger.NAME} has no line with the hash {known}: the folder is "
            "older than that line, or its ledger was written anew"
        ]
    for name in fixed:
        faults += differs(folder, name, fixed[name])
    for line in found.lines:
        if "files" not in line:
            continue
        name = f"requests/{line['number']:04d}/files.json"
        wrong = differs(folder, name, line["files"])
        faults += wrong
        if not wrong:
            recorded |= read_record(folder / name)
    gone = purged(folder, found.lines)
    for name, sha256 in recorded.items():
        if name not in gone or (folder / name).exists():
            faults += differs(folder, name, sha256)
    return faults


def purged(folder: Path, lines: list[dict]) -> set[str]:
    """Names the files that purges have deleted, one that is going on as well."""
    records = [
        folder / f"requests/{line['number']:04d}/purge.json"
        for line in lines
        if line["kind"] == "purge"
    ]
    begun = folder / BEGUN
    if begun.exists() and read_record(begun)["kind"] == "purge":
        records.append(begun)
    return {
        name
        for path in records
        if path.exists()
        for name in read_record(path)["deleted"]
    }


def needed(found: Deployment, lines: list[dict]) -> set[Path]:
    """Returns the files that the version in use needs, links resolved.

    Raises:
      InputError: its state is damaged or missing.
    """
    version = version_of(lines)
    files = found.weights(version), *states.files(found.state(version))
    return {file.resolve() for file in files}


def in_use(found: Deployment, lines: list[dict]) -> list[str]:
    """Reads all that the version in use needs; returns what is wrong with it."""
    version, last = version_of(lines), lines[-1]
    name = found.path(found.weights(version))
    faults = differs(found.folder, name, last["weights"]["after"])
    folder = found.state(version)
    try:
        if states.verify(folder) != last["state"]["after"]:
            faults.append(f"{folder} is not the state that the ledger names")
    except InputError as error:
        faults.append(str(error))
    return faults


def returned(found: Deployment, lines: list[dict]) -> list[str]:
    """Names what a purge has deleted and is there again, though no line made it."""
    gone: set[str] = set()
    for line in lines:
        folder = found.request(line["number"])
        if line["kind"] == "purge":
            gone.update(read_record(folder / "purge.json")["deleted"])
        elif "files" in line:
            gone.difference_update(read_record(folder / "files.json"))
    keep = needed(found, lines)
    paths = [found.folder / name for name in sorted(gone)]
    return [
        f"{path} was purged and is back: purge again"
        for path in paths
        if path.exists() and path.resolve() not in keep
    ]


def differs(folder: Path, name: str, recorded: str) -> list[str]:
    """Returns a line if a file is not as recorded."""
    path = folder / name
    if not path.exists():
        return [f"{path} is missing"]
    if store.file_hash(path) != recorded:
        return [f"{path} was changed"]
    return []


# An answer, done again


def rebuild_shard(
    found: Deployment, lines: list[dict], shard: int | None, call: Call
) -> tuple[str, list[str]]:
    """Trains a shard of SISA from scratch on what is left, and compares."""
    constants = found.settings["methods"]["sisa"]
    if shard is None:
        last = [line for line in lines if line.get("retrained")]
        touched = last[-1]["retrained"].get("from_slice") if last else None
        shard = int(next(iter(touched))) if touched else 0
    if not 0 <= shard < constants["shards"]:
        raise InputError(
            f"there is no shard {shard}: they are 0..{constants['shards'] - 1}"
        )
    loaded = matching.load(found, found.erased(lines), call)
    rows = found.examples.of(TRAIN)
    problem = loaded.problem(found.settings, rows)
    state = states.load(found.state(version_of(lines)), problem)
    active = np.flatnonzero(loaded.present[rows])
    call.progress.tick(f"training shard {shard} from scratch")
    again = training_time.METHODS["sisa"].fit(
        found.key(0), problem, indices=active, only=(shard,), **constants
    )
    parts = ("active", "shard", "slice", "key_bits")
    same = all(same_bits(getattr(state, p), getattr(again, p)) for p in parts)
    same = same and same_bits(state.checkpoints[shard], again.checkpoints[shard])
    what = f"shard {shard}, trained from scratch on what is left"
    if same:
        return f"{what}: the same bits", []
    return "", [f"{what}, has other bits{other_code(lines)}"]


def repeat_last(
    found: Deployment, lines: list[dict], shard: int | None, call: Call
) -> tuple[str, list[str]]:
    """Answers the last request again from the version before, and compares."""
    del shard
    made = [line for line in lines if line["version"] == line["number"] != 0]
    if not made:
        return "no request has changed the model yet: nothing to repeat", []
    version = made[-1]["version"]
    batch = [
        line
        for line in lines
        if line["kind"] == "request"
        and line["version"] == version
        and line["version_before"] < version
    ]
    before = batch[0]["version_before"]
    what = f"request {version}, answered again from version {before}"
    if not found.state(before).exists():
        return f"request {version} {NOT_REPEATED}: version {before} was purged", []
    first = next(i for i, line in enumerate(lines) if line is batch[0])
    requests = [
        read_record(found.request(line["number"]) / "request.json") for line in batch
    ]
    begun = {"number": batch[0]["number"], "requests": requests}
    try:
        job = answer.prepare(found, lines[:first], begun, call)
    except InputError:
        try:
            matching.load(found, found.erased(lines), call)
        except InputError as error:
            return "", [f"the data are not as deployed: {error}"]
        return (
            f"request {version} {NOT_REPEATED}: {found.method} must see "
            "what it forgot, and that is no longer in the data",
            [],
        )
    state = states.load(found.state(before), job.problem, checked=True)
    again, _ = job.strategy.forget(found.key(version), state, job.problem, job.rows)
    store.delete(found.training(version))
    if same_bits(
        arrays(states.load(found.state(version), job.problem, checked=True)),
        arrays(again),
    ):
        return f"{what}: the same bits", []
    return "", [f"{what}, has other bits{other_code(lines)}"]


def arrays(state: Any) -> Any:
    """Returns a state less the data."""
    kind = packing.kind_of(state)
    return state if kind in states.WITHOUT_DATA else training_time.without_data(state)


def same_bits(one: Any, other: Any) -> bool:
    """Says whether two trees of arrays are the same, bit for bit."""
    ours, others = (jax.tree.leaves(jax.tree.map(np.asarray, x)) for x in (one, other))
    return len(ours) == len(others) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(ours, others, strict=True)
    )


def other_code(lines: list[dict]) -> str:
    """Says which versions differ from those of the deployment, if any does."""
    then, now = lines[0]["code"], describe_code()
    changed = [
        f"{key}: {old} then, {new} now"
        for key, old, new in store.differences(then, now)
    ]
    return f" ({'; '.join(changed[:3])})" if changed else ""
