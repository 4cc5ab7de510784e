"""Weights from files, and into files.

The kind of a file is that of its name: `.safetensors`, `.npz`, `.msgpack` (flax's), or
a folder of orbax. In flat files the levels of a name are joined by `.` (or `/`):
`params.Dense_0.kernel`. Names of torchvision and timm are translated for the nets
here, see `torch_names`.
"""

import functools
import hashlib
import io
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.errors import InputError
from unlearn.models.torch_names import translate
from unlearn.models.trees import nested
from unlearn.models.weight_files import FORMATS, Entry, damaged, entries
from unlearn.problem import Variables
from unlearn.store import files

TRAINING_STATE = ("opt_state", "step")
"""What flax's `TrainState` holds beside the variables; it is left out."""


def load_weights(
    path: Path | str, like: Variables, *, unused: Collection[str] = ()
) -> Variables:
    """Reads the variables of a model from a file.

    Args:
      path: a file, or a folder of orbax.
      like: variables of the model or their shapes, such as
        `jax.eval_shape(model.init, jax.random.key(0), inputs)`. Floats come back with
        its dtypes, whatever they are in the file. A file without the prefix `params`
        may hold the parameters alone.
      unused: names of arrays that nobody needs: 0 where the file has none of that
        shape.

    Returns:
      Variables of the structure, shapes and dtypes of `like`.

    Raises:
      InputError: the file is not there, damaged, a pickle or of an unknown kind; its
        arrays are not those of the model: the line names what is missing, unexpected
        or of another shape or dtype, or not finite.
    """
    path, wanted = Path(os.path.expanduser(path)), _by_name(like)
    if not wanted or not all(hasattr(leaf, "dtype") for leaf in wanted.values()):
        raise InputError(
            "like must be the variables of a model or their shapes, such as "
            "jax.eval_shape(model.init, jax.random.key(0), inputs)"
        )
    size = sum(np.prod(leaf.shape, dtype=int) * 8 for leaf in wanted.values())
    found = _named_as(wanted, translate(entries(path, int(size))), path)
    same = {n for n in unused if n in found and found[n].shape == wanted[n].shape}
    left = set(unused) - same
    needed = {name: leaf for name, leaf in wanted.items() if name not in left}
    found = {name: entry for name, entry in found.items() if name not in left}
    _check(path, needed, found)
    values = [
        jnp.zeros(leaf.shape, leaf.dtype)
        if name in left
        else _read(path, name, found[name], leaf)
        for name, leaf in wanted.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), values)


def differing(one: Variables, other: Variables) -> set[str]:
    """Names the arrays of a tree that another has in another shape, or not at all."""
    others = {name: leaf.shape for name, leaf in _by_name(other).items()}
    return {n for n, leaf in _by_name(one).items() if others.get(n) != leaf.shape}


def check_format(path: Path | str) -> None:
    """Checks that the name of a file says how weights are written.

    Raises:
      InputError: it does not.
    """
    if Path(path).suffix.lower() not in ("", ".safetensors", ".npz", ".msgpack"):
        raise InputError(f"{path}: weights are {FORMATS}, by the name of the file")


def save_weights(path: Path | str, variables: Variables) -> None:
    """Writes variables to a file, whole or not at all.

    A file that is there is replaced, a folder is not. bfloat16 is float32 in an npz
    file, which has no name for it.

    Args:
      path: a file, its kind by its name; without a suffix a folder of orbax.
      variables: a tree of arrays.

    Raises:
      InputError: an unknown kind, or it cannot be written.
    """
    path = Path(os.path.expanduser(path))
    check_format(path)
    suffix = path.suffix.lower()
    flat = {name: np.asarray(leaf) for name, leaf in _by_name(variables).items()}
    if suffix == ".safetensors":
        import safetensors.numpy

        whole = {name: np.ascontiguousarray(array) for name, array in flat.items()}
        shaped = {
            name: array.reshape(flat[name].shape) for name, array in whole.items()
        }
        files.write_bytes(path, safetensors.numpy.save(shaped))
    elif suffix == ".npz":
        buffer = io.BytesIO()
        native = {name: _native(array) for name, array in flat.items()}
        np.savez(buffer, **native)  # ty: ignore[invalid-argument-type]
        files.write_bytes(path, buffer.getvalue())
    elif suffix == ".msgpack":
        from flax import serialization

        tree = nested({name: np.asarray(x) for name, x in _flat(variables).items()})
        files.write_bytes(path, serialization.msgpack_serialize(tree))
    else:
        _save_folder(path, variables)


def weights_hash(path: Path | str) -> str:
    """Returns the SHA-256 of a file, or of all files in a folder and their names."""
    path = Path(os.path.expanduser(path))
    if not path.exists():
        raise InputError(f"there is no file of weights {path}")
    if path.is_file():
        return files.file_hash(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            line = f"{file.relative_to(path).as_posix()} {files.file_hash(file)}\n"
            digest.update(line.encode())
    return digest.hexdigest()


def _save_folder(path: Path, variables: Variables) -> None:
    from orbax.checkpoint import v1 as ocp

    partial = files.partial_path(path)
    try:
        if path.exists():
            raise FileExistsError(17, "it is there already")
        path.parent.mkdir(parents=True, exist_ok=True)
        ocp.save(str(partial.absolute()), jax.tree.map(jnp.asarray, variables))
        os.rename(partial, path)
    except Exception as error:  # orbax wraps a full disk in several types
        raise files.cannot_write(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _native(array: np.ndarray) -> np.ndarray:
    """Returns an array of a dtype that NumPy has a name for."""
    return array if array.dtype.kind in "fiub" else array.astype(np.float32)


def _flat(tree: Variables) -> dict[tuple[str, ...], Any]:
    """Returns the leaves of a tree by path, in the order that JAX has them."""
    flat = jax.tree_util.tree_leaves_with_path(tree)
    simple = functools.partial(jax.tree_util.keystr, simple=True)
    return {tuple(simple((key,)) for key in path): leaf for path, leaf in flat}


def _by_name(tree: Variables) -> dict[str, Any]:
    """Returns the leaves of a tree by name; slashes in names are levels as well."""
    flat = _flat(tree)
    named = {".".join(path).replace("/", "."): leaf for path, leaf in flat.items()}
    if len(named) < len(flat):
        raise InputError("two arrays have the same name once slashes are dots")
    return named


def _named_as(wanted, found: dict[str, Entry], path: Path) -> dict[str, Entry]:
    """Names what was found as the model does, as far as that is certain."""
    named = {name.replace("/", "."): entry for name, entry in found.items()}
    if len(named) < len(found):
        raise InputError(f"{path}: two arrays have the same name once / is read as .")
    tops = {name.partition(".")[0] for name in wanted}
    if not any(name.partition(".")[0] in tops for name in named):
        named = {f"params.{name}": entry for name, entry in named.items()}
    elif "params" in tops:
        extra = set(TRAINING_STATE) - tops
        named = {n: e for n, e in named.items() if n.partition(".")[0] not in extra}
    return named


def _check(path: Path, wanted, found: dict[str, Entry]) -> None:
    """Names everything that does not fit, before an array is read."""
    shapes = {
        name: (list(found[name].shape), list(leaf.shape))
        for name, leaf in wanted.items()
        if name in found and tuple(found[name].shape) != tuple(leaf.shape)
    }
    dtypes = {
        name: f"{name} is {found[name].dtype}, the model has {leaf.dtype}"
        for name, leaf in wanted.items()
        if name in found and not _convertible(found[name].dtype, leaf.dtype)
    }
    faults = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{name} is {theirs}, the model has {ours}"
            for name, (theirs, ours) in shapes.items()
        ],
        "of another kind": list(dtypes.values()),
    }
    said = [f"{what}: {_few(names)}" for what, names in faults.items() if names]
    if not said:
        return
    # Where the last axis alone differs, so that the two numbers do.
    last = all(a and b and a[:-1] == b[:-1] for a, b in shapes.values())
    heads = {(theirs[-1], ours[-1]) for theirs, ours in shapes.values() if last}
    if len(said) == 1 and len(shapes) in (1, 2) and len(heads) == 1:
        theirs, ours = heads.pop()
        said.append(f"its head has {theirs} classes and the model {ours}?")
    raise InputError(f"{path} is not of this model ({'; '.join(said)})")


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _convertible(there, here) -> bool:
    kinds = jnp.floating, jnp.integer, jnp.bool_
    return any(
        jnp.issubdtype(there, kind) and jnp.issubdtype(here, kind) for kind in kinds
    )


def _read(path: Path, name: str, entry: Entry, like: Any) -> jax.Array:
    try:
        values = np.asarray(entry.read())
    except Exception as error:
        raise damaged(path, error) from error
    if values.shape != tuple(like.shape):
        raise InputError(f"{path} is damaged: {name} has another shape than it says")
    with np.errstate(over="ignore"):
        converted = values.astype(like.dtype)
    if jnp.issubdtype(like.dtype, jnp.floating):
        if not np.isfinite(converted.astype(np.float32)).all():
            raise InputError(f"{path}: {name} has values that are not finite")
    elif not np.array_equal(converted, values):
        raise InputError(f"{path}: {name} has values that {like.dtype} cannot hold")
    return jnp.asarray(converted)
