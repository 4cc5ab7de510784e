"""The run folder: configuration, checkpoints, evaluations and the log.

Every file and folder appears whole or not at all, and nothing is overwritten in place:
a checkpoint is written beside its final name, with its checksum, and then renamed.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np

from unlearn.errors import InputError


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file that is there whole or not at all."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path):
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({_line(error)}): use another --workdir, "
            "or delete the run folder to start over"
        ) from error


def cannot_write(path, error) -> InputError:
    return InputError(
        f"cannot write {path} ({_line(error)}): free some space or choose a writable "
        "--workdir; what was finished is kept, and the same command continues"
    )


def _line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0][:200]


# Configuration and manifest


def check_claim(folder: Path, config: dict) -> None:
    """Checks that a run folder, if there is one, was made with the same config.

    Raises:
      InputError: it holds a run with another config, or something else.
    """
    path = folder / "config.json"
    if not path.exists():
        if (folder / "checkpoints").exists():
            raise InputError(
                f"{folder} holds checkpoints without a config.json: use another "
                "--workdir, or delete the folder to start over"
            )
        return
    changes = [
        f"{key}: {old} there, {new} now"
        for key, old, new in differences(
            read_json(path), json.loads(json.dumps(config))
        )
    ]
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise InputError(
            f"{folder} holds a run with another config "
            f"({'; '.join(changes[:3])}{more}): use another --workdir, "
            "or delete the folder to start over"
        )


def claim(folder: Path, config: dict) -> None:
    """Makes the folder of a run, unless it is there; see `check_claim`."""
    check_claim(folder, config)
    if not (folder / "config.json").exists():
        write_json(folder / "config.json", config)


def differences(old, new, prefix=""):
    """`(dotted key, old value, new value)` wherever two nested dicts differ."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield prefix, old, new
        return
    for key in sorted(old.keys() | new.keys()):
        path = f"{prefix}.{key}" if prefix else key
        yield from differences(old.get(key), new.get(key), path)


def array_hash(*arrays) -> str:
    """SHA-256 of dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array)
    return digest.hexdigest()


def git_revision() -> str | None:
    """Revision of the checkout this package lies in; `+` if it has changes."""

    def git(*words):
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


# Checkpoints


def tree_hash(tree) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of all leaves."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(array_hash(leaf).encode())
    return digest.hexdigest()


def save_checkpoint(path: Path, tree, info: dict) -> None:
    """Writes `path/{state,checksum.json,info.json}`; does nothing if `path` exists.

    `info` is a flat JSON value that belongs to the checkpoint (seconds, epochs).
    """
    from orbax.checkpoint import v1 as ocp

    path = Path(path).absolute()
    if path.exists():
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        ocp.save(partial / "state", tree)
        write_json(partial / "checksum.json", {"sha256": tree_hash(tree)})
        write_json(partial / "info.json", info)
        os.rename(partial, path)
    except InputError:
        raise
    except Exception as error:  # orbax wraps a full disk in several types
        shutil.rmtree(partial, ignore_errors=True)
        raise cannot_write(path, error) from error


def load_checkpoint(path: Path, like) -> tuple:
    """`(tree, info)` of a checkpoint with the structure, dtypes and shapes of `like`.

    Raises:
      InputError: it is damaged, incomplete, or that of another model.
    """
    from orbax.checkpoint import v1 as ocp

    path = Path(path).absolute()
    remedy = "delete that folder, and the same command computes it anew"
    like = jax.tree.map(_abstract, like)
    try:
        checksum = json.loads((path / "checksum.json").read_text())["sha256"]
        info = json.loads((path / "info.json").read_text())
        tree = ocp.load(path / "state", like)
    except Exception as error:  # orbax raises bare Exception, KeyError and others
        raise InputError(
            f"checkpoint {path} is damaged or of another model "
            f"({type(error).__name__}: {_line(error)}): {remedy}"
        ) from error
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), t) for t in (tree, like)]
    if shapes[0] != shapes[1]:
        raise InputError(f"checkpoint {path} is of another model: {remedy}")
    if tree_hash(tree) != checksum:
        raise InputError(
            f"checkpoint {path} is damaged (its bytes do not match its checksum): "
            f"{remedy}"
        )
    return tree, info


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copies a checkpoint whole or not at all, if it is there and the copy is not."""
    if not source.exists() or target.exists():
        return
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        os.rename(partial, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def _abstract(leaf):
    sharding = getattr(leaf, "sharding", None)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def epoch_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """`(epochs done, path)` of the checkpoints of an unfinished training, in order."""
    found = [
        (int(path.name.removeprefix("epoch_")), path)
        for path in Path(folder).glob("epoch_*")
    ]
    return sorted(found)


def delete(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


# Evaluations and log


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def load_arrays(path: Path, wanted=lambda name: True) -> dict[str, np.ndarray]:
    """Those arrays of the file whose names are wanted; the others are not read."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files if wanted(name)}
    except Exception as error:  # zipfile, numpy and the system each have their own
        raise InputError(
            f"{path} is damaged ({_line(error)}): delete it, "
            "and the same command computes it anew"
        ) from error


class Log:
    """`log.jsonl`: a JSON object a line. A line that a kill tore is dropped."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lines = []
        if not self.path.exists():
            return
        text = self.path.read_text()
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(line))
        if len(self.lines) < text.count("\n") or not text.endswith("\n"):
            self._write()

    def rewind(self, keep) -> None:
        """Drops lines for which `keep(line)` is false."""
        lines = [line for line in self.lines if keep(line)]
        if lines != self.lines:
            self.lines = lines
            self._write()

    def _write(self) -> None:
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))

    def add(self, **line) -> None:
        self.lines.append(line)
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error
