"""Chunks of a study's models on disk; of several processes one makes each."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path

import jax
import numpy as np

from unlearn import store
from unlearn.audit.studies import Study

PATIENCE = 0.2  # seconds until others' chunks are looked at again


def place(study: Study, name: str, first: int, count: int) -> tuple[Path, dict]:
    """Returns the file of a chunk of models, and what it is of."""
    of = {"study": study.name, "model": name, "first": first, "count": count}
    of["run"] = study.run.fingerprint
    return study.folder / name / f"{first:05d}_{count}.npz", of


@contextlib.contextmanager
def claimed(path: Path) -> Generator[bool]:
    """Claims a chunk of models, if it is not kept; of several processes one gets it.

    What a process that was killed had claimed is free again.
    """
    folder = path.with_name(f".{path.stem}")
    held = None if store.is_kept(path) else store.try_lock(folder, PATIENCE)
    try:
        yield held is not None and not store.is_kept(path)
    finally:
        if held:
            store.leave(held)


def files_of(study: Study, name: str) -> dict[Path, range]:
    """Returns the files that hold all models, in order; none if some are to be made.

    Chunks of several sizes may be there, as of other numbers of devices: some, one
    after another, hold all models.
    """
    chains: dict[int, dict[Path, range]] = {0: {}}  # by the models that they hold
    for first in range(study.models):
        if first not in chains:
            continue
        found = (study.folder / name).glob(f"{first:05d}_*.npz")
        for path in filter(store.is_kept, sorted(found)):
            inside = range(first, first + int(path.stem.split("_")[1]))
            chains.setdefault(inside.stop, chains[first] | {path: inside})
    return chains.get(study.models, {})


def load(
    study: Study, name: str, files: dict[Path, range], wanted: Sequence[str]
) -> dict:
    """Reads what was measured of the models in files; of `seconds` the sum."""
    parts = []
    for path, inside in files.items():
        _, of = place(study, name, inside.start, len(inside))
        parts.append(store.load_kept(path, of, set(wanted).__contains__))
    whole = {key: np.concatenate([part[key] for part in parts]) for key in wanted}
    return whole | {"seconds": float(whole["seconds"].sum())}


class LazyLeaf:
    """A leaf of the variables of many models, `float[models, ...]`, that stays on disk.

    Indexed with numbers of models it reads the files that hold them: all may not fit in
    memory.
    """

    def __init__(self, files: dict[Path, range], name: str, like: jax.ShapeDtypeStruct):
        self.files, self.name = files, name
        self.shape, self.dtype = like.shape, like.dtype

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        found = {}
        for path, inside in self.files.items():
            if wanted := set(numbers) & set(inside):
                (values,) = store.load_arrays(path, self.name.__eq__).values()
                found |= {number: values[inside.index(number)] for number in wanted}
        return np.stack([found[number] for number in numbers])
