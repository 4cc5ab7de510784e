"""What a method needs for the next request, on disk.

    STATES/0007/state.safetensors   what it is of, and small arrays
    STATES/slices/NAME.safetensors  large parts, which versions have in common

A part is a slice of SISA, a stored update, or a block of features; it is written once.
Files are those of `store.save_tensors`: readable anywhere, no code in them, each with a
checksum; the state's file has those of its parts, so that its own stands for all.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from unlearn import store
from unlearn.errors import InputError
from unlearn.problem import Problem, in_words
from unlearn.requests.packing import PACKINGS, Arrays, Rewindable, kind_of
from unlearn.store.files import cannot_write, partial_path
from unlearn.store.tensors import pack_tensors
from unlearn.training_time import METHODS, common, slice_training

FORMAT = 1
WITHOUT_DATA = "variables", "rewindable"  # kinds that go on with any data
STATE = "state.safetensors"
SUFFIX = ".safetensors"


class SliceStore:
    """A folder of checkpoints by name, each written once, whole or not at all.

    Processes may write the same store at once.
    """

    def __init__(self, folder: str | Path):
        """Names the folder; it is made when something is put."""
        self.folder = Path(folder)

    def path(self, name: str) -> Path:
        """Returns the file of that name."""
        return self.folder / f"{name}{SUFFIX}"

    def get(self, name: str) -> dict[str, np.ndarray] | None:
        """Returns the arrays of that name, or None.

        Raises:
          InputError: the file is damaged.
        """
        path = self.path(name)
        return store.load_tensors(path)[0] if path.exists() else None

    def put(self, name: str, arrays: dict[str, np.ndarray]) -> str:
        """Keeps arrays under a name; returns their SHA-256.

        Raises:
          InputError: other arrays have that name, or the file cannot be written.
        """
        return store.save_tensors(self.path(name), arrays, {})


def save(folder: str | Path, state: Any, slices: SliceStore | None = None) -> str:
    """Writes a state, whole or not at all; returns its SHA-256.

    If the same state is there already, nothing is written.

    Args:
      folder: of this state alone.
      state: of `sisa`, `amnesiac` or `certified`, variables `{"params": ...}`, or these
        with early ones.
      slices: where its parts go; default: the folder `slices` beside `folder`.

    Raises:
      InputError: another state is in the folder, this is no state or one that lacks its
        examples or a shard, or it cannot be written.
    """
    folder = Path(folder).absolute()
    slices = slices or SliceStore(folder.parent / "slices")
    kind = kind_of(state)
    packed = PACKINGS[kind].pack(state)
    write = not folder.exists()
    about = {
        "format": FORMAT,
        "kind": kind,
        "settings": packed.settings,
        "data": data_hash(state),
        "model": {} if kind in WITHOUT_DATA else model_facts(state.problem),
        "slices": os.path.relpath(slices.folder.absolute(), folder),
        "parts": [part and put(slices, *part, write) for part in packed.parts],
    }
    about = json.loads(json.dumps(about, default=lambda x: np.asarray(x).tolist()))
    data, checksum = pack_tensors(packed.arrays, about)
    if not write:
        refuse_another(folder, checksum)
        return checksum
    partial = partial_path(folder)
    try:
        store.write_bytes(partial / STATE, data)
        os.rename(partial, folder)
    except OSError as error:
        if not folder.exists():
            raise cannot_write(folder, error) from error
        refuse_another(folder, checksum)  # another process was faster
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return checksum


def put(slices: SliceStore, name: str, arrays: Arrays, write: bool) -> list[str]:
    """Stores a part unless only its hash is wanted; returns its name and SHA-256."""
    if write and name:
        return [name, slices.put(name, arrays)]
    checksum = pack_tensors(arrays, {})[1]
    name = name or checksum
    return [name, slices.put(name, arrays) if write else checksum]


def refuse_another(folder: Path, checksum: str) -> None:
    """Checks that a folder holds the state with this SHA-256."""
    if not (folder / STATE).exists() or hash_of(folder) != checksum:
        raise InputError(
            f"{folder} is there and holds something else: a state is never "
            "overwritten; use another folder"
        )


def load(folder: str | Path, problem: Problem, *, checked: bool = False) -> Any:
    """Reads a state, to go on with on the data and model it was made with.

    Examples that were erased before may be anything, such as zeros. A state that is
    `for_serving` takes any data.

    Args:
      folder: of `save`.
      problem: all examples, in the order of the training, and the model.
      checked: the data are known to be the same, but for rows that are to be erased
        now and need not be there any more.

    Raises:
      InputError: a file is damaged or missing; the data or the model are others.
    """
    folder = Path(folder)
    arrays, about, _ = read(folder)
    if about["model"]:
        refuse_other_model(folder, about["model"], model_facts(problem))
    wanted = "" if checked else about["data"]
    if wanted and wanted != active_hash(problem, arrays["active"]):
        raise InputError(
            f"{folder} was made with other data: examples or labels it is trained on "
            "have changed, are missing, or are in another order; give the same data"
        )
    parts = [part and load_part(*part) for part in parts_of(folder, about)]
    problem = common.without_request(problem)
    try:
        unpack = PACKINGS[about["kind"]].unpack
        return unpack(about["settings"], arrays, parts, problem)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error


def verify(folder: str | Path) -> str:
    """Checks every byte of a state and of its parts; returns its SHA-256.

    Raises:
      InputError: a file is damaged or missing; it is named.
    """
    _, about, checksum = read(Path(folder))
    for part in parts_of(Path(folder), about):
        if part:
            load_part(*part)
    return checksum


def hash_of(folder: str | Path) -> str:
    """Returns the SHA-256 of a state as it was written down, unchecked.

    Raises:
      InputError: there is none.
    """
    return store.tensors_hash(Path(folder) / STATE)


def files(folder: str | Path) -> list[Path]:
    """Lists the files that a state needs: its own, then its parts.

    Raises:
      InputError: the state's own file is damaged or missing.
    """
    _, about, _ = read(Path(folder))
    parts = [part[0] for part in parts_of(Path(folder), about) if part]
    return [Path(folder) / STATE, *dict.fromkeys(parts)]


def prune(slices: SliceStore, keep: Iterable[str | Path]) -> list[Path]:
    """Deletes parts that no state in the folders `keep` needs; returns their files.

    What killed writes left goes too: nobody else may write there meanwhile.

    Raises:
      InputError: a state of `keep` is damaged or missing; nothing is deleted then.
    """
    needed = {path.resolve() for folder in keep for path in files(folder)}
    found = sorted(slices.folder.glob(f"*{SUFFIX}"))
    gone = [path for path in found if path.resolve() not in needed]
    for path in gone:
        path.unlink(missing_ok=True)
    store.clean(slices.folder)
    return gone


def for_serving(state: Any) -> Any:
    """Returns a state that predicts as this one does, and cannot forget.

    Of `sisa` it has the last slices only, of `amnesiac` no updates, of `certified`
    neither noise nor features, of what rewinds no early variables; variables are as
    they are.

    Raises:
      InputError: it is no state, or a shard is not trained.
    """
    kind = kind_of(state)
    if isinstance(state, Rewindable):
        return state.variables
    return state if kind == "variables" else METHODS[kind].for_serving(state)


# What a state is of


def data_hash(state: Any) -> str:
    """Returns the hash of the data that a state goes on with; "" if it needs none."""
    if kind_of(state) in WITHOUT_DATA or is_for_serving(state):
        return ""
    if state.problem.examples is None or state.problem.labels is None:
        raise InputError(
            "this state has no examples: put them back by training_time.with_data"
        )
    return active_hash(state.problem, np.asarray(state.active))


def is_for_serving(state: Any) -> bool:
    """Says whether a state is one that `for_serving` returned, which cannot forget."""
    needed = {"sisa": "checkpoints", "amnesiac": "updates", "certified": "features"}
    kind = kind_of(state)
    held = getattr(state, needed[kind])
    if kind == "sisa":
        return any(model is None for models in held for model in models)
    return held is None


def active_hash(problem: Problem, active: np.ndarray) -> str:
    """Returns the SHA-256 of the active examples and labels, and of their places."""
    if problem.labels is None or len(active) != len(problem.labels):
        return "of other data"
    return common.rows_hash(problem, np.flatnonzero(active))


def model_facts(problem: Problem) -> dict[str, Any]:
    """Says what the variables are and what the model takes, in JSON."""
    variables = common.to_structs(slice_training.structure(problem))
    prepare = problem.preprocess
    name = getattr(prepare, "__qualname__", type(prepare).__name__)
    return {
        "variables": {
            path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in variables.items()
        },
        "inputs": in_words(problem.input_spec),
        "classes": problem.num_classes,
        "preprocess": repr(prepare) if dataclasses.is_dataclass(prepare) else name,
    }


def refuse_other_model(folder: Path, saved: dict, given: dict) -> None:
    """Names the first thing in which the model differs from that of a saved state."""
    for key, old, new in store.differences(saved, given):
        raise InputError(
            f"{folder} was made with another model ({key}: {old} there, {new} now): "
            "give the model, and what prepares its inputs, that it was made with"
        )


# Files


def read(folder: Path) -> tuple[Arrays, dict, str]:
    """Reads the state's own file: arrays, what it is of, and its SHA-256.

    Raises:
      InputError: it is damaged, missing, or no state of this version.
    """
    arrays, about, checksum = store.load_tensors(folder / STATE)
    if about.get("format") != FORMAT or about.get("kind") not in PACKINGS:
        raise InputError(
            f"{folder / STATE} is of another version of this package: use that one"
        )
    return arrays, about, checksum


def parts_of(folder: Path, about: dict) -> list[tuple[Path, str] | None]:
    """Lists the file and the SHA-256 of each part, None where it was left out."""
    slices = SliceStore(os.path.normpath(folder.absolute() / about["slices"]))
    return [part and (slices.path(part[0]), part[1]) for part in about["parts"]]


def load_part(path: Path, checksum: str) -> Arrays:
    """Reads a part.

    Raises:
      InputError: it is damaged, missing, or not the one that the state names.
    """
    arrays, _, found = store.load_tensors(path)
    if found != checksum:
        raise InputError(f"{path} holds something else: put it back from a backup")
    return arrays
