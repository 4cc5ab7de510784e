"""What an audit leaves behind: the files of its run that hold something of the data.

Every file of the folder is in one group. A group says what is in it, why that depends
on the examples to be forgotten, and whether to delete it.
"""

import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple


class Group(NamedTuple):
    """Files of one kind, as the page lists them."""

    what: str
    why: str
    advice: str  # delete or keep


ORIGINALS = Group("Original models", "trained on the requested examples", "delete")
SHADOWS = Group(
    "Shadow models and their answers",
    "trained on the requested examples, or asked about them",
    "delete",
)
ANSWERS = Group("Answers of every model", "to the requested examples too", "delete")
MEASURED = Group("Other measurements", "made with the requested examples", "delete")
OTHERS = Group("Other unlearned models", "may remember them", "delete")
UNLEARNED = Group(
    "Unlearned models", "may remember them; when one is released, the others go", "keep"
)
RELEASED = Group("Released model", "may remember them", "keep")
RETRAINED = Group("Retrained models", "never saw the requested examples", "keep")
NAMES = Group("Which examples were requested", "the record of the request", "keep")
RESULTS = Group(
    "Tables, figures, logs", "averages; the report names the most exposed", "keep"
)
ORDER = (
    *(ORIGINALS, SHADOWS, ANSWERS, MEASURED, OTHERS, UNLEARNED),
    *(RELEASED, RETRAINED, NAMES, RESULTS),
)
RECORDS = "split.npz", "config.json", "manifest.json", "salt.json"
WEIGHTS = "checkpoints", "export"
ARRAY_FILES = ".npy", ".npz", ".safetensors", ".msgpack"


def left_behind(folder: Path, released: tuple[str, int] | None = None) -> list[dict]:
    """Counts the files of a run by group, those to delete first.

    Args:
      folder: of the run.
      released: model and seed of the checkpoint that is put to use.

    Returns:
      See `report.schema.LeftBehind`; the `paths` of all groups hold every file once.
    """
    found: dict[Group, dict[str, list[int]]] = {}
    for path in files(folder):
        group, place = group_of(path.relative_to(folder), released)
        found.setdefault(group, {}).setdefault(place, []).append(path.stat().st_size)
    return [
        {
            "what": group.what,
            "paths": [shlex.quote(place) for place in sorted(found[group])],
            "files": sum(map(len, found[group].values())),
            "bytes": sum(itertools.chain(*found[group].values())),
            "advice": group.advice,
            "why": group.why,
        }
        for group in ORDER
        if group in found
    ]


def files(folder: Path) -> Iterator[Path]:
    """Lists the files below a folder, links among them."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def group_of(path: PurePath, released: tuple[str, int] | None) -> tuple[Group, str]:
    """Returns the group of a file, and the path by which the page names it."""
    top, *below = path.parts
    if top in WEIGHTS and len(below) > 1:
        return _weights(top, *below[:2], released)
    if top in ("studies", "evaluations"):
        return (SHADOWS if top == "studies" else ANSWERS), top
    if path.name in RECORDS and not below:
        return NAMES, top
    if top in (*WEIGHTS, "figures") and below:  # folders of files that are kept
        figure = top == "figures" and path.suffix not in ARRAY_FILES
        return (RESULTS, top) if figure else (MEASURED, path.as_posix())
    if below or path.suffix in ARRAY_FILES:
        return MEASURED, top
    return RESULTS, top


def _weights(
    top: str, model: str, seed: str, released: tuple[str, int] | None
) -> tuple[Group, str]:
    of_model, of_seed = f"{top}/{model}", f"{top}/{model}/{seed}"
    if released and (model, PurePath(seed).stem) == (released[0], str(released[1])):
        return RELEASED, of_seed
    if model == "original":
        return ORIGINALS, of_model
    if model == "retrain":
        return RETRAINED, of_seed if released and released[0] == model else of_model
    if released is None:
        return UNLEARNED, of_model
    return OTHERS, of_seed if model == released[0] else of_model
