"""Decoded data sets on disk, so that images are decoded once.

A cache is used if the files that it was made of hold, byte for byte, what they held.
All caches together stay below `LIMIT`, but for the last one made, which may be larger:
those used longest ago are deleted. Several processes may read and write them at the
same time: an entry appears whole, and one that is deleted under a reader is only made
again.
"""

import contextlib
import glob
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from unlearn import caches
from unlearn.data import streaming
from unlearn.data.dataset import Dataset
from unlearn.data.limits import most_bytes
from unlearn.data.spool import SUFFIX, Spool, open_beside, unwritable
from unlearn.errors import InputError
from unlearn.stored import Stored, blocks

FORMAT = 5  # raise it with every change of how files are decoded
FIELDS = Dataset._fields[1:]  # the name is the caller's
IMAGES = "train_images", "test_images"
TEXTS = "class_names", "notes", "subclass_names"
OPTIONAL = "train_groups", "train_subclasses", "test_subclasses"
LIMIT = 20 * 2**30  # bytes; CIFAR-10 takes 0.2 of them
HASH = "[0-9a-f]" * 16
NAMES = f"*-{HASH}*.npz"
LEFTOVERS = f"{NAMES}.*{SUFFIX}", f"tmp????????{SUFFIX}"


def cached(
    make: Callable[[Spool], Dataset],
    name: str,
    source: Path,
    files: Iterable[Path],
    image_size: tuple[int, int] | None,
    cache_dir: str | Path | None,
    details: str = "",
    resident: bool | None = True,
) -> Dataset:
    """Returns `make(spool)`, or what it returned while `files` held what they hold now.

    A cache that is damaged is made again; one that cannot be written is done without.

    Args:
      make: decodes the data set; what it adds to the spool may stay in a file, which
        is gone afterwards.
      name: the data set's.
      source: the folder that the data set lies in.
      files: all files that `make` reads; they are hashed, whatever their times say.
      image_size: (height, width) that `make` resizes to, if it does.
      cache_dir: by default `~/.cache/unlearn/data`.
      details: all else that the result depends on.
      resident: False: images stay in the cache's file; None: if they are large.

    Raises:
      InputError: examples should stay in the cache, and it cannot be written, or files
        changed meanwhile.
      OSError: a file cannot be read.
    """
    source, files = source.resolve(), sorted(files)
    directory = _directory(cache_dir)
    if directory is None:
        if resident is False:
            raise InputError(
                f"{name}: there is no home folder whose cache examples could stay in: "
                "set data.resident=True"
            )
        with Spool(name, None, True) as spool:
            return make(spool)
    size = "-{}x{}".format(*image_size) if image_size else ""
    path = directory / f"{source.name}-{_hash([source])[:16]}{size}.npz"
    key = _key(files, details)
    for pattern in LEFTOVERS:
        caches.remove_leftovers(directory, pattern, held=True)
    found = _read(path, key, resident)
    if found is not None:
        caches.mark_used(path)
        return found._replace(name=name)
    with Spool(name, path, resident) as spool:
        dataset = make(spool)
        unchanged = _key(files, details) == key
        if unchanged:
            _write(path, key, dataset)
        size = dataset.train_images.nbytes + dataset.test_images.nbytes
        found = _read(path, key, False) if streaming.stays(size, resident) else None
        if found is not None:
            return found._replace(name=name)
        if resident or (resident is None and size <= most_bytes()):
            return _in_memory(dataset)
    if not unchanged:
        raise InputError(f"{name}: its files changed while they were read: start again")
    raise unwritable(name, path)


def _in_memory(dataset: Dataset) -> Dataset:
    return dataset._replace(
        train_images=np.asarray(dataset.train_images),
        test_images=np.asarray(dataset.test_images),
    )


def forget(source: str | Path, cache_dir: str | Path | None = None) -> list[Path]:
    """Deletes what is cached of a data set, at every size; returns what was deleted.

    To be sure, entries of every folder with the last name of `source` go: the same data
    may have been read through another path. They are only made again when needed. Not
    found is what was cached under another last name, before a folder was renamed.

    Args:
      source: the folder that the data set lies in; it need not exist any more.
      cache_dir: by default `~/.cache/unlearn/data`.

    Raises:
      OSError: one cannot be deleted.
    """
    directory, deleted = _directory(cache_dir), []
    if directory is None:
        return []
    names = {Path(source).name, Path(source).expanduser().resolve().name}
    for name in sorted(names):
        for path in sorted(directory.glob(f"{glob.escape(name)}-{HASH}*")):
            path.unlink(missing_ok=True)
            deleted.append(path)
    return deleted


def _directory(cache_dir) -> Path | None:
    return Path(cache_dir).expanduser() if cache_dir else caches.folder("data")


def _key(files: list[Path], details: str) -> str:
    lines = [f"{FORMAT} {details}"]
    for path in files:
        with open(path, "rb") as file:
            lines += [path, hashlib.file_digest(file, "sha256").hexdigest()]
    return _hash(lines)


def _hash(parts: Iterable[str | Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(os.fsencode(part) + b"\0")
    return digest.hexdigest()


def _read(path: Path, key: str, resident: bool | None) -> Dataset | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if file["key"] != key:
                return None
            images = streaming.stored_members(path, *IMAGES)
            if images is None:
                return None
            values: dict[str, Any] = dict(zip(IMAGES, images, strict=True))
            if streaming.stays(sum(part.nbytes for part in images), resident):
                streaming.check_whole(path, *IMAGES)
            else:
                values = {field: file[field] for field in IMAGES}
            values |= {field: file[field] for field in FIELDS if field not in IMAGES}
    except Exception:  # zip, zlib and numpy each have their own for a damaged file
        return None
    for field in TEXTS:
        values[field] = tuple(values[field].tolist())
    for field in OPTIONAL:
        if not len(values[field]):
            values[field] = None
    return Dataset("", **values)


def _write(path: Path, key: str, dataset: Dataset) -> None:
    """Writes what `numpy.savez` would; of examples in a file block after block."""
    arrays = {field: getattr(dataset, field) for field in FIELDS}
    for field in OPTIONAL:
        if arrays[field] is None:
            arrays[field] = np.zeros(0, np.int32)
    for field in TEXTS:
        arrays[field] = np.array(arrays[field], np.str_)
    temporary = None
    try:
        temporary = open_beside(path)
        caches.hold(temporary)
        with temporary, zipfile.ZipFile(temporary, "w") as archive:
            for field, array in {"key": np.array(key), **arrays}.items():
                with archive.open(f"{field}.npy", "w", force_zip64=True) as member:
                    _write_array(member, array)
        os.replace(temporary.name, path)
        temporary = None
        caches.prune(path.parent, NAMES, LIMIT, keep=path)
    except OSError:
        pass
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary.name)


def _write_array(member: IO[bytes], array: np.ndarray | Stored) -> None:
    if not isinstance(array, Stored):
        np.lib.format.write_array(member, array, allow_pickle=False)
        return
    descr = np.lib.format.dtype_to_descr(array.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(member, header)
    for block in blocks(array):
        member.write(block.data)
