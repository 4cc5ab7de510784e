"""Decoded data sets on disk, so that images are decoded once.

A cache is used if the files that it was made of are as they were. All caches together
stay below `LIMIT`: those used longest ago are deleted. Several processes may read and
write them at the same time: an entry appears whole, and one that is deleted under a
reader is only made again.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from unlearn import caches
from unlearn.data.dataset import Dataset, standardisation

SPLITS = ("train_images", "train_labels", "test_images", "test_labels")
FIELDS = (*SPLITS, "class_names", "train_groups")
LIMIT = 20 * 2**30  # bytes; CIFAR-10 takes 0.2 of them
NAMES = f"*-{'[0-9a-f]' * 16}.npz"


def cached(
    make: Callable[[], Dataset],
    name: str,
    source: Path,
    files: Iterable[Path],
    image_size: tuple[int, int] | None,
    cache_dir: str | Path | None,
) -> Dataset:
    """Returns `make()`, or what it returned while `files` were as they are now.

    A cache that is damaged is made again; one that cannot be written is done without.

    Args:
      make: decodes the data set.
      name: the data set's, for its standardisation.
      source: the folder that the data set lies in.
      files: all files that `make` reads.
      image_size: (height, width) that `make` resizes to, if it does.
      cache_dir: by default `~/.cache/unlearn/data`.
    """
    source = source.resolve()
    directory = Path(cache_dir).expanduser() if cache_dir else caches.folder("data")
    if directory is None:
        return make()
    path = directory / f"{source.name}-{_hash([f'{source} {image_size}'])[:16]}.npz"
    states = ((file, file.stat()) for file in sorted(files))
    key = _hash(f"{f} {state.st_size} {state.st_mtime_ns}\n" for f, state in states)
    arrays = _read(path, key)
    if arrays is None:
        dataset = make()
        _write(path, key, dataset)
        return dataset
    caches.mark_used(path)
    *splits, class_names, groups = arrays
    statistics = standardisation(name, splits[0].shape[-1])
    groups = groups if len(groups) else None
    return Dataset(name, *splits, tuple(class_names.tolist()), *statistics, groups)


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(os.fsencode(line))
    return digest.hexdigest()


def _read(path: Path, key: str) -> list[np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if file["key"] == key:
                return [file[field] for field in FIELDS]
    except Exception:  # zip, zlib and numpy each have their own for a damaged file
        pass
    return None


def _write(path: Path, key: str, dataset: Dataset) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for pattern in (f"{NAMES}.*.incomplete", "tmp????????.incomplete"):
            caches.remove_leftovers(path.parent, pattern)
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f"{path.name}.", suffix=".incomplete"
        )
        with os.fdopen(handle, "wb") as file:
            arrays = {field: getattr(dataset, field) for field in FIELDS}
            if dataset.train_groups is None:
                arrays["train_groups"] = np.zeros(0, np.int32)
            np.savez(file, key=key, **arrays)
        os.replace(temporary, path)
        temporary = None
        caches.prune(path.parent, NAMES, LIMIT, keep=path)
    except OSError:
        pass
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
