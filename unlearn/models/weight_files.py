"""Files of weights: what is in them, without reading more than is wanted of it.

Nothing that could run code is ever read: no pickle, and no array of objects.
"""

import functools
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import ml_dtypes
import numpy as np

from unlearn.errors import InputError, first_line
from unlearn.models.trees import flatten

SUFFIXES = (".safetensors", ".npz", ".msgpack")
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".npy")
FORMATS = f"{', '.join(SUFFIXES)} or a folder of orbax"
ROOM = 64 * 2**20  # bytes that a file of text and small arrays may have in any case


class Entry(NamedTuple):
    """An array of a file; it is read when it is asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


def entries(path: Path, expected: int) -> dict[str, Entry]:
    """Returns the arrays of a file of weights by their names, levels joined by dots.

    Args:
      path: a file, or a folder of orbax.
      expected: bytes that the wanted arrays have; files that are read whole may have
        a multiple of it.

    Raises:
      InputError: no such file, an unknown kind, a damaged or a huge one.
    """
    try:
        kind = _kind(path)
        if kind == "folder":
            return _of_orbax(path)
        if kind == ".safetensors":
            return _of_safetensors(path)
        if kind == ".npz":
            return _of_npz(path)
        return _of_msgpack(path, expected)
    except (InputError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # each format has its own
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> InputError:
    """Makes the error for a file that cannot be read."""
    return InputError(
        f"{path} cannot be read as weights ({first_line(error)}): is it whole, and of "
        "the kind that its name says?"
    )


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise InputError(f"there is no file of weights {path}")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file")
    if suffix in PICKLES:
        raise InputError(
            f"{path} may run code when it is read and is not: convert it where you "
            "trust it, safetensors.torch.save_file(torch.load(FILE, "
            "weights_only=True), 'weights.safetensors')"
        )
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: weights are {FORMATS}, by the name of the file")
    return suffix


def _of_safetensors(path: Path) -> dict[str, Entry]:
    import safetensors

    file = safetensors.safe_open(path, framework="np")

    def entry(name):
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), _safetensors_dtype(part.get_dtype())
        return Entry(shape, dtype, lambda: file.get_tensor(name))

    names = file.keys()  # the file itself cannot be iterated over
    return {name: entry(name) for name in names}


def _safetensors_dtype(name: str) -> np.dtype:
    kinds = {"F": "float", "I": "int", "U": "uint"}
    if name == "BF16":
        return np.dtype(ml_dtypes.bfloat16)
    if name == "BOOL":
        return np.dtype(bool)
    if name[0] in kinds and name[1:].isdigit():
        return np.dtype(f"{kinds[name[0]]}{name[1:]}")
    raise InputError(f"dtype {name} of safetensors is not supported: save as float32")


def _of_npz(path: Path) -> dict[str, Entry]:
    file = zipfile.ZipFile(path)

    def header(name):
        with file.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
        return shape, dtype

    def read(name):
        with file.open(name) as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
        return array.view(_dtype(array.dtype))

    found = {}
    for name in file.namelist():
        if not name.endswith(".npy"):
            raise ValueError(f"it holds {name}, which is no array")
        shape, dtype = header(name)
        found[name.removesuffix(".npy")] = Entry(
            shape, _dtype(dtype), functools.partial(read, name)
        )
    return found


def _dtype(dtype: np.dtype) -> np.dtype:
    """NumPy writes bfloat16 as two bytes without a name."""
    return np.dtype(ml_dtypes.bfloat16) if dtype == np.dtype("V2") else dtype


def _of_msgpack(path: Path, expected: int) -> dict[str, Entry]:
    from flax import serialization

    size = path.stat().st_size
    if size > 8 * expected + ROOM:
        raise InputError(
            f"{path} has {size:,} bytes for a model of {expected:,}: it is not of it"
        )
    tree = serialization.msgpack_restore(path.read_bytes())
    if not isinstance(tree, dict):
        raise ValueError("it does not hold names with arrays")
    found = {}
    for names, value in flatten(_with_text_keys(tree)).items():
        array = np.asarray(value)
        entry = Entry(array.shape, array.dtype, functools.partial(np.asarray, array))
        found[".".join(names)] = entry
    return found


def _with_text_keys(tree):
    """Makes nested dicts with text as keys, of lists as well."""
    if isinstance(tree, list | tuple):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping):
        return tree
    return {str(key): _with_text_keys(value) for key, value in tree.items()}


def _of_orbax(path: Path) -> dict[str, Entry]:
    """Reads the layouts of orbax v0 (with OCDBT and without) and v1."""
    import orbax.checkpoint as ocp

    folder = _checkpoint_below(path)
    json.loads((folder / "_METADATA").read_bytes())
    checkpointer = ocp.PyTreeCheckpointer()
    metadata = checkpointer.metadata(folder)
    for name in ("item_metadata", "tree"):
        metadata = getattr(metadata, name, metadata)

    @functools.cache
    def arrays():
        plain = ocp.RestoreArgs(restore_type=np.ndarray)
        arguments = {"restore_args": jax.tree.map(lambda _: plain, metadata)}
        return flatten(_with_text_keys(checkpointer.restore(folder, **arguments)))

    def entry(name, leaf):
        shape = tuple(getattr(leaf, "shape", ()) or ())
        dtype = np.dtype(getattr(leaf, "dtype", None) or float)
        return Entry(shape, dtype, lambda: np.asarray(arrays()[name]))

    flat = flatten(_with_text_keys(metadata))
    return {".".join(name): entry(name, leaf) for name, leaf in flat.items()}


def _checkpoint_below(path: Path) -> Path:
    """Finds the one checkpoint in a folder; orbax and its managers nest them."""
    found = []
    for place, folders, files in os.walk(path):
        if "_METADATA" in files:
            found.append(Path(place))
            folders.clear()
        if len(Path(place).relative_to(path).parts) >= 3:
            folders.clear()
    if len(found) > 1:
        names = ", ".join(str(one) for one in sorted(found)[:3])
        raise InputError(f"{path} holds {len(found)} checkpoints: name one ({names})")
    if not found:
        raise InputError(f"{path} is a folder without a checkpoint of orbax")
    return found[0].absolute()
