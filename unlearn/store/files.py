"""Files that appear whole or not at all, hashes, and records with a checksum."""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from unlearn import npz_members
from unlearn.errors import InputError, first_line

ANEW = "and the same command computes it anew"


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file that is there whole or not at all.

    Raises:
      InputError: it cannot be written.
    """
    _write(path, lambda file: file.write(data))


def _write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    path = Path(path)
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8, see `write_bytes`; lone surrogates are escaped (`\\udce9`)."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: dict) -> None:
    """Writes an object with sorted keys, see `write_bytes`."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_secret(path: Path, value: dict) -> None:
    """Writes an object that only the owner of the file may read.

    Raises:
      InputError: it cannot be written.
    """
    partial = partial_path(path)
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps(value) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise cannot_write(path, error) from error


def read_json(path: Path) -> dict:
    """Reads an object that `write_json` wrote.

    Raises:
      InputError: the file cannot be read or does not hold an object.
    """
    try:
        value = json.loads(Path(path).read_bytes())
        if not isinstance(value, dict):
            raise ValueError("it is not a JSON object")
        return value
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read ({first_line(error)}): use another folder, "
            "or delete the run folder to start over"
        ) from error


def cannot_write(path: Path, error: BaseException) -> InputError:
    """Makes the `InputError` for a file or folder that cannot be written."""
    remedy = "free some space or choose a writable folder"
    if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        remedy = "something else is in its place: remove that, or use another folder"
    return InputError(
        f"cannot write {path} ({first_line(error)}): {remedy}; what was finished is "
        "kept, and the same command continues"
    )


def partial_path(path: Path) -> Path:
    """Makes a name beside `path` that no other writer uses; `clean` knows it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial")


def clean(folder: Path) -> None:
    """Removes what killed writes left; only the holder of the folder's lock may.

    Runs in folders below have locks of their own and are left alone.
    """
    pattern = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.partial")
    for place, folders, files in os.walk(folder):
        if Path(place) != Path(folder) and ".lock" in files:
            folders.clear()  # another run, with a lock of its own
            continue
        for name in filter(pattern.fullmatch, files):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(place, name))
        for name in filter(pattern.fullmatch, folders):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)


# Hashes


def array_hash(*arrays: np.ndarray) -> str:
    """Returns the SHA-256 of dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array)  # ty: ignore[invalid-argument-type]
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({first_line(error)}): delete it, {ANEW}"
        ) from error


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes; raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Arrays and records


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an npz file, see `write_bytes`."""
    _write(path, lambda file: np.savez(file, **arrays))  # ty: ignore[invalid-argument-type]


def load_arrays(
    path: Path,
    wanted: Callable[[str], bool] = lambda name: True,
    mapped: float = math.inf,
) -> dict[str, np.ndarray]:
    """Reads those arrays of an npz file whose names are wanted, and no others.

    Args:
      mapped: bytes of an array from which on it stays in the file: a part is read where
        it is used.

    Raises:
      InputError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is not an npz file")
            return {
                name: _read(path, file, name, mapped)
                for name in file.files
                if wanted(name)
            }
    except Exception as error:  # zipfile, numpy and the system each have their own
        raise _damaged(path, error) from error


def _read(path: Path, file: np.lib.npyio.NpzFile, name: str, mapped: float):
    archive, found = file.zip, None
    assert archive is not None  # it is open
    member = archive.NameToInfo.get(f"{name}.npy")
    if member is not None and member.file_size >= mapped:
        found = npz_members.mapped(path, archive, member)
    return file[name] if found is None else found


def save_kept(path: Path, arrays: dict[str, np.ndarray], of: dict) -> None:
    """Writes an npz file and, beside it, what it is of and its checksum.

    `of` is JSON: the run, model and seed, say. See `load_kept`.
    """
    save_arrays(path, arrays)
    record = {"of": of, "sha256": file_hash(path)}
    save_record(Path(path).with_suffix(".json"), record)


def is_kept(path: Path) -> bool:
    """Says whether `save_kept` has finished this file."""
    return Path(path).exists() and Path(path).with_suffix(".json").exists()


def load_kept(
    path: Path,
    of: dict,
    wanted: Callable[[str], bool] = lambda name: True,
    mapped: float = math.inf,
) -> dict[str, np.ndarray]:
    """Reads what `save_kept` wrote, see `load_arrays`.

    Raises:
      InputError: the file is damaged, or of something else than `of`.
    """
    record = load_record(Path(path).with_suffix(".json"))
    if record.get("of") != json.loads(json.dumps(of)):
        raise InputError(f"{path} is of another run or model: delete it, {ANEW}")
    if record.get("sha256") != file_hash(path):
        raise _damaged(path, ValueError("its bytes do not match its checksum"))
    return load_arrays(path, wanted, mapped)


def save_record(path: Path, value: dict) -> None:
    """Writes a JSON object together with its checksum, see `write_bytes`.

    Floats come back exactly, NaN and infinities too; numpy's numbers and arrays as
    Python's numbers and lists, tuples as lists.
    """
    text = json.dumps(value, default=lambda x: np.asarray(x).tolist())
    record = {"sha256": _record_hash(json.loads(text)), "value": json.loads(text)}
    write_text(path, json.dumps(record, indent=1) + "\n")


def load_record(path: Path) -> dict:
    """Reads what `save_record` wrote.

    Raises:
      InputError: the file is damaged.
    """
    try:
        record = json.loads(Path(path).read_bytes())
        if record["sha256"] != _record_hash(record["value"]):
            raise ValueError("its content does not match its checksum")
        return record["value"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise _damaged(path, error) from error


def _record_hash(value) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(path, error) -> InputError:
    return InputError(f"{path} is damaged ({first_line(error)}): delete it, {ANEW}")
