"""Files of named arrays in the format of safetensors, each with a checksum of itself.

    8 bytes: n;  n bytes of JSON: {name: dtype, shape, place; "__metadata__": {...}}
    then the arrays' bytes

Any reader of safetensors opens them. `__metadata__` has `about`, JSON of ours, and
`sha256`, that of everything else in the file. There is one way to write given arrays:
a file that differs from it in any byte is damaged.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from unlearn.errors import InputError, first_line
from unlearn.store import files

CODES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
NAMES = {code: name for name, code in CODES.items()}


def pack_tensors(arrays: dict[str, np.ndarray], about: dict) -> tuple[bytes, str]:
    """Returns the bytes of a file of arrays, and the SHA-256 that stands in it.

    Raises:
      InputError: an array's dtype has no place in the format.
    """
    ordered = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"about": to_json(about)}}
    chunks, end = [], 0
    for name in ordered:
        array = np.asarray(arrays[name])
        if array.dtype.name not in CODES:
            raise InputError(f"{name} is {array.dtype}: such arrays cannot be stored")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        chunks.append(array.tobytes())
        start, end = end, end + len(chunks[-1])
        header[name] = {
            "dtype": CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    digest = hashlib.sha256(to_json(header).encode())
    for chunk in chunks:
        digest.update(chunk)
    header["__metadata__"]["sha256"] = digest.hexdigest()
    text = to_json(header).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    return b"".join([head, *chunks]), digest.hexdigest()


def to_json(value: Any) -> str:
    """Returns the one spelling of a JSON value that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def unpack_tensors(data: bytes) -> tuple[dict[str, np.ndarray], dict, str]:
    """Returns arrays (views of `data`), `about` and the SHA-256 of `pack_tensors`.

    Raises:
      ValueError: these are not bytes that `pack_tensors` made.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        about = json.loads(header.pop("__metadata__")["about"])
        arrays = {name: _view(data, 8 + size, entry) for name, entry in header.items()}
        again, checksum = pack_tensors(arrays, about)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(f"it is no such file: {first_line(e)}") from e
    if again != data:
        raise ValueError("its bytes do not match its checksum")
    return arrays, about, checksum


def _view(data: bytes, offset: int, entry: dict) -> np.ndarray:
    dtype, shape = jnp.dtype(NAMES[entry["dtype"]]), tuple(entry["shape"])
    start, count = offset + entry["data_offsets"][0], int(np.prod(shape))
    if not count:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype, count, start).reshape(shape)


def save_tensors(path: Path, arrays: dict[str, np.ndarray], about: dict) -> str:
    """Writes a file of arrays, whole or not at all; returns its SHA-256.

    What is there already stays.

    Raises:
      InputError: the file is there with other content, or it cannot be written.
    """
    path = Path(path)
    data, checksum = pack_tensors(arrays, about)
    if not path.exists():
        files.write_bytes(path, data)
    elif tensors_hash(path) != checksum:
        raise InputError(
            f"{path} holds something else: what is stored is never overwritten; "
            "use another folder, or move that file away"
        )
    return checksum


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict, str]:
    """Reads what `save_tensors` wrote: arrays, `about` and the SHA-256.

    Raises:
      InputError: the file is damaged or missing.
    """
    try:
        return unpack_tensors(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def tensors_hash(path: Path) -> str:
    """Returns the SHA-256 that stands in a file of arrays, without checking it.

    Raises:
      InputError: there is none.
    """
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, Path(path).stat().st_size)))
        return header["__metadata__"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> InputError:
    """Makes the `InputError` for a file of arrays that cannot be what was written."""
    return InputError(
        f"{path} is damaged or missing ({first_line(error)}): put it back from a backup"
    )
