"""Purging: what still depends on erased examples and can be reached is deleted.

Deleted are states, slices and weights of earlier versions, unfinished trainings, and
the decoded images that are cached for speed. What cannot be reached is listed.
"""

from pathlib import Path

from unlearn import data, store
from unlearn.data import cache
from unlearn.errors import InputError, counted, first_line
from unlearn.requests import ledger, matching, strategies
from unlearn.requests.calls import Call
from unlearn.requests.deployment import (
    BEGUN,
    Deployment,
    now,
    unchanged,
    version_of,
)
from unlearn.requests.verifying import in_use, needed


def begin(found: Deployment, call: Call) -> dict:
    """Writes down what is to be deleted.

    Raises:
      InputError: the version in use is damaged: earlier ones may be needed to mend it.
    """
    lines = found.lines()
    check_in_use(found, lines)
    number = lines[-1]["number"] + 1
    found.discard(number)
    begun = {
        "kind": "purge",
        "number": number,
        "received": now(),
        "deleted": stale(found, lines),
        "unreached": unreached(found, lines, call),
    }
    store.write_json(found.folder / BEGUN, begun)
    return begun


def stale(found: Deployment, lines: list[dict]) -> list[str]:
    """Names the files of states and weights that the version in use does not need."""
    keep = needed(found, lines)
    places = (
        found.folder / "states",
        found.folder / "weights",
        found.folder / "training",
    )
    return sorted(
        found.path(file)
        for place in places
        for file in place.rglob("*")
        if file.is_file() and file.resolve() not in keep and file.name[0] != "."
    )


def unreached(found: Deployment, lines: list[dict], call: Call) -> list[str]:
    """Lists in words what still depends on erased examples and is not deleted."""
    erased = found.erased(lines)
    told = [still_in_data(found, erased, call)]
    name = found.settings["data"]["name"]
    if name.partition(":")[0] not in data.OWN and not cached_place(found, call, name):
        told.append("decoded images of a public data set in the cache of this package")
    imported = found.settings["model"]["weights"]
    if imported and erased and found.method != "certified":
        told.append(f"{imported}, the weights that were imported, from before erasures")
    going = {(found.folder / file).resolve() for file in stale(found, lines)}
    told += [
        f"{line['to']}, an export of version {line['version']}, from before erasures"
        for line in lines
        if line["kind"] == "export" and line["version"] != version_of(lines)
        if Path(line["to"]).exists() and Path(line["to"]).resolve() not in going
    ]
    if strategies.early(found.method) and erased:
        told.append(
            "the weights from early in the training, from before erasures, which the "
            "next request starts from: a new deployment alone is rid of them"
        )
    kind = strategies.guarantee_of(found)
    if kind == "none":
        told.append(
            "the weights in use, as far as the approximate method has not forgotten"
        )
    if kind == "certified":
        told.append("the weights in use, within epsilon and delta")
    told.append(
        "ledger.jsonl, examples.npz and requests/: ids, labels, content hashes and "
        "losses of erased examples, for the record"
    )
    told.append("backups and copies of this folder, of the data and of its weights")
    return [line for line in told if line]


def still_in_data(found: Deployment, erased: dict[int, int], call: Call) -> str:
    """Says whether the user's data still have erased examples; "" if not."""
    place = call.data or found.settings["data"]["name"]
    try:
        loaded = matching.load(found, erased, call)
    except InputError as error:
        return f"the data ({error})"
    left = loaded.still_there
    if not left:
        return ""
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    verb, them = ("is", "it") if len(left) == 1 else ("are", "them")
    return f"{place}: {', '.join(left[:5])}{more} {verb} still there; delete {them}"


def finish(found: Deployment, begun: dict, call: Call) -> dict:
    """Deletes what was begun to be deleted; returns the line of the ledger.

    Raises:
      InputError: a file cannot be deleted, or the version in use is damaged.
    """
    lines = found.lines()
    if lines[-1]["number"] < begun["number"]:
        keep = needed(found, lines)
        going = {file: found.folder / file for file in begun["deleted"]}
        going = {x: path for x, path in going.items() if path.resolve() not in keep}
        begun = begun | {"deleted": sorted(going)}
        for path in going.values():
            delete(path)
        for place in (found.folder / "states").glob("[0-9]*"):
            if not any(path.is_file() for path in place.rglob("*")):
                store.delete(place)
        forget_cache(found, call)
        check_in_use(found, lines)
        folder = found.request(begun["number"])
        store.write_json(folder / "purge.json", begun)
        path = folder / "purge.json"
        store.write_json(
            folder / "files.json", {found.path(path): store.file_hash(path)}
        )
        last = lines[-1]
        entry = {
            "kind": "purge",
            "number": begun["number"],
            "received": begun["received"],
            "completed": now(),
            "deleted": len(begun["deleted"]),
            "state": {
                "before": last["state"]["after"],
                "after": last["state"]["after"],
            },
            "weights": {
                "before": last["weights"]["after"],
                "after": last["weights"]["after"],
            },
            "files": store.file_hash(folder / "files.json"),
            **unchanged(lines),
        }
        ledger.append(found.folder, [entry])
    (found.folder / BEGUN).unlink()
    call.say(f"deleted: {counted(len(begun['deleted']), 'file')} and the cached data")
    for line in begun["unreached"]:
        call.say(f"not reached: {line}")
    return found.lines()[-1]


def check_in_use(found: Deployment, lines: list[dict]) -> None:
    """Reads what the version in use needs.

    Raises:
      InputError: something of it is damaged or missing.
    """
    for fault in in_use(found, lines):
        raise InputError(f"the version in use is damaged, restore it first: {fault}")


def delete(path: Path) -> None:
    """Deletes a file, if it is there.

    Raises:
      InputError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot delete {path} ({first_line(error)}): make its folder writable and "
            "give the same command again"
        ) from error


def forget_cache(found: Deployment, call: Call) -> None:
    """Deletes the decoded images that are cached for speed.

    Raises:
      InputError: one cannot be deleted.
    """
    for name in (found.settings["data"]["name"], call.data):
        place = name and cached_place(found, call, name)
        try:
            if place:
                cache.forget(place)
        except OSError as error:
            where = Path(error.filename or "the cache")
            raise store.cannot_write(where, error) from error


def cached_place(found: Deployment, call: Call, name: str) -> Path | None:
    """Returns where a data set lies whose decoded images may be cached."""
    return data.location(name, call.data_dir or found.settings["data_dir"])
