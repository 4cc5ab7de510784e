"""Decoded data sets on disk, so that images are decoded once."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from unlearn.data.dataset import Dataset, standardisation

SPLITS = ("train_images", "train_labels", "test_images", "test_labels")
FIELDS = (*SPLITS, "class_names", "train_groups")


def cached(
    make: Callable[[], Dataset],
    name: str,
    source: Path,
    files: Iterable[Path],
    image_size: tuple[int, int] | None,
    cache_dir: str | None,
) -> Dataset:
    """`make()`, or what it returned while `files` were as they are now.

    A cache that is damaged is made again; one that cannot be written is done without.
    """
    source = source.resolve()
    directory = Path(cache_dir or "~/.cache/unlearn/data").expanduser()
    place = hashlib.sha256(f"{source} {image_size}".encode()).hexdigest()[:16]
    path = directory / f"{source.name}-{place}.npz"
    state = hashlib.sha256()
    for file in sorted(files):
        status = file.stat()
        line = f"{file} {status.st_size} {status.st_mtime_ns}\n"
        state.update(line.encode(errors="surrogateescape"))
    key = state.hexdigest()
    arrays = _read(path, key)
    if arrays is None:
        dataset = make()
        _write(path, key, dataset)
        return dataset
    *splits, class_names, groups = arrays
    statistics = standardisation(name, splits[0].shape[-1])
    groups = groups if len(groups) else None
    return Dataset(name, *splits, tuple(class_names.tolist()), *statistics, groups)


def _read(path, key):
    try:
        with np.load(path, allow_pickle=False) as file:
            if file["key"] == key:
                return [file[field] for field in FIELDS]
    except Exception:  # zip, zlib and numpy each have their own for a damaged file
        pass
    return None


def _write(path, key, dataset):
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".incomplete")
        with os.fdopen(handle, "wb") as file:
            arrays = {field: getattr(dataset, field) for field in FIELDS}
            if dataset.train_groups is None:
                arrays["train_groups"] = np.zeros(0, np.int32)
            np.savez(file, key=key, **arrays)
        os.replace(temporary, path)
        temporary = None
    except OSError:
        pass
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
