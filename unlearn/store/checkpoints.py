"""Checkpoints: orbax's, with checksums of our own."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unlearn.errors import InputError, first_line, typed_line
from unlearn.store import files
from unlearn.store.files import (
    ANEW,
    array_hash,
    cannot_write,
    partial_path,
)

FILES = "files.json"


def tree_hash(tree: Any) -> str:
    """Returns the SHA-256 of the names, dtypes, shapes and bytes of all leaves."""
    digest = hashlib.sha256()
    for place, leaf in _leaves(tree):
        digest.update(jax.tree_util.keystr(place).encode())
        digest.update(array_hash(leaf).encode())
    return digest.hexdigest()


def save_checkpoint(path: Path, tree: Any, info: dict) -> None:
    """Writes a checkpoint; does nothing if this tree is at `path` already.

    `state` is orbax's, `info.json` has `info`, `checksum.json` the `tree_hash`, and
    `files.json` the SHA-256 of all these files.

    Args:
      path: a folder.
      tree: of arrays.
      info: a JSON object that belongs to the checkpoint (seconds, epochs).

    Raises:
      InputError: another checkpoint is at `path`, or it cannot be written.
    """
    path = Path(path).absolute()
    if path.exists():
        refuse_another(path, tree)
        return
    partial = partial_path(path)
    try:
        partial.mkdir(parents=True)
        _save(partial, tree)
        files.write_json(partial / "checksum.json", {"sha256": tree_hash(tree)})
        files.write_json(partial / "info.json", info)
        files.write_json(partial / FILES, _file_hashes(partial))
        os.rename(partial, path)
    except InputError:
        raise
    except Exception as error:  # orbax wraps a full disk in several types
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_another(path: Path, tree: Any) -> None:
    """Checks that the checkpoint at `path` is of this tree.

    Raises:
      InputError: it is of another, or damaged.
    """
    if checkpoint_hash(path) != tree_hash(tree):
        raise InputError(
            f"{path} is there and holds other weights: what is stored is never "
            f"overwritten; use another folder, or delete that one, {ANEW}"
        )


def _file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder and below, by its name."""
    return {
        file.relative_to(folder).as_posix(): files.sha256_of(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def verify_checkpoint(path: Path) -> None:
    """Checks every byte of a checkpoint's files, without making arrays of them.

    Raises:
      InputError: a file is damaged or missing.
    """
    path = Path(path)
    remedy = f"delete that folder, {ANEW}"
    try:
        expected = json.loads((path / FILES).read_bytes())
        if not {"checksum.json", "info.json"} <= expected.keys():
            raise ValueError("it does not list all files")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"checkpoint {path} is damaged or incomplete "
            f"({FILES}: {first_line(error)}): {remedy}"
        ) from error
    for name, checksum in expected.items():
        try:
            found = files.sha256_of(path / name)
        except (OSError, ValueError) as error:
            raise InputError(
                f"checkpoint {path} is damaged ({name}: {first_line(error)}): {remedy}"
            ) from error
        if found != checksum:
            raise InputError(
                f"checkpoint {path} is damaged ({name} does not match its checksum): "
                f"{remedy}"
            )


def checkpoint_hash(path: Path) -> str:
    """Returns the SHA-256 of a checkpoint's weights, as it was written down.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return files.read_json(Path(path) / "checksum.json")["sha256"]
    except KeyError as error:
        raise InputError(
            f"checkpoint {path} is damaged (no checksum): delete that folder, {ANEW}"
        ) from error


def load_checkpoint(path: Path, like: Any) -> tuple[Any, dict]:
    """Reads a checkpoint of the structure, dtypes and shapes of `like`.

    Returns:
      `(tree, info)` as they were saved.

    Raises:
      InputError: it is damaged, incomplete, or that of another model.
    """
    path = Path(path).absolute()
    verify_checkpoint(path)
    remedy = f"delete that folder, {ANEW}"
    like = jax.tree.map(_abstract, like)
    try:
        checksum = json.loads((path / "checksum.json").read_bytes())["sha256"]
        info = json.loads((path / "info.json").read_bytes())
        tree = _load(path, like)
    except Exception as error:  # orbax raises bare Exception, KeyError and others
        raise InputError(
            f"checkpoint {path} is of another model, or cannot be read "
            f"({typed_line(error)}): {remedy}"
        ) from error
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), t) for t in (tree, like)]
    if shapes[0] != shapes[1]:
        raise InputError(f"checkpoint {path} is of another model: {remedy}")
    if tree_hash(tree) != checksum:
        raise InputError(
            f"checkpoint {path} is damaged (its arrays do not match their checksum): "
            f"{remedy}"
        )
    return tree, info


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copies a checkpoint whole or not at all, if it is there and the copy is not.

    Raises:
      InputError: the source is damaged, another checkpoint is in the copy's place, or
        it cannot be written.
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        return
    if target.exists():
        if checkpoint_hash(source) != checkpoint_hash(target):
            raise InputError(
                f"{target} is there and holds other weights than {source}: what is "
                f"stored is never overwritten; delete {target}, {ANEW}"
            )
        return
    verify_checkpoint(source)
    partial = partial_path(target)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, partial)
        os.rename(partial, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _abstract(leaf):
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or jax.process_count() > 1:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


# Several processes have folders of their own, and every array whole. Orbax takes them
# for writers of one folder, and has NumPy's arrays written by the first alone: so the
# others, whose copies are gone with them, write something simpler.
COPY = "state.npz"


def _save(folder: Path, tree: Any) -> None:
    """Writes the arrays of a tree to a folder."""
    if jax.process_count() == 1:
        from orbax.checkpoint import v1 as ocp

        ocp.save(str(folder / "state"), tree)
        return
    tree = jax.tree.map(np.asarray, tree)
    if jax.process_index() > 0:
        files.save_arrays(folder / COPY, dict(map(_named, _leaves(tree))))
        return
    import orbax.checkpoint as ocp

    alone = ocp.options.MultiprocessingOptions(**_alone())
    handler = ocp.PyTreeCheckpointHandler(
        use_ocdbt=True, use_zarr3=True, multiprocessing_options=alone
    )
    with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        checkpointer.save(folder / "state", tree)


def _load(folder: Path, like: Any) -> Any:
    """Reads what `_save` wrote."""
    from orbax.checkpoint import v1 as ocp

    if (folder / COPY).exists():
        arrays = files.load_arrays(folder / COPY)
        leaves = [arrays[jax.tree_util.keystr(place)] for place, _ in _leaves(like)]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)
    context = ocp.Context()
    if jax.process_count() > 1:
        for name, value in _alone().items():
            setattr(context.multiprocessing_options, name, value)
    with context:
        return ocp.load(str(folder / "state"), like)


def _leaves(tree):
    return jax.tree_util.tree_leaves_with_path(tree)


def _named(leaf):
    return jax.tree_util.keystr(leaf[0]), leaf[1]


def _alone() -> dict:
    number = jax.process_index()
    return {
        "primary_host": number,
        "active_processes": {number},
        "barrier_sync_key_prefix": f"process_{number}",
    }


def epoch_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Lists `(epochs done, path)` of an unfinished training's checkpoints, in order."""
    found = [
        (int(path.name.removeprefix("epoch_")), path)
        for path in Path(folder).glob("epoch_*")
        if re.fullmatch(r"epoch_[0-9]+", path.name)
    ]
    return sorted(found)


def delete(*folders: Path) -> None:
    """Deletes folders with all that is in them, as far as they are there."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
