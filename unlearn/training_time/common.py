"""What these methods share: the training set, its batches, the check of a request."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn import training
from unlearn.errors import InputError
from unlearn.forget_sets import check_forget_indices
from unlearn.problem import Model, Problem, Variables
from unlearn.stored import Reading
from unlearn.training import Rows


def training_set(
    problem: Problem, indices: ArrayLike | None = None
) -> tuple[Problem, np.ndarray]:
    """Returns the problem less its request, and bool[N]: the examples trained on.

    Raises:
      InputError: an index is out of range or no whole number, or there is none.
    """
    active = np.ones(len(problem.labels), bool)
    if indices is not None:
        indices = np.asarray(indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise InputError("the training set must be a flat list of whole numbers")
        if not indices.size or indices.min() < 0 or indices.max() >= len(active):
            raise InputError(
                f"the training set has indices 0..{len(active) - 1}: "
                "name at least one, and none outside"
            )
        active[:] = False
        active[indices] = True
    return without_request(problem), active


def check_batch_size(batch_size: int) -> None:
    """Refuses batches of nothing.

    Raises:
      InputError: in one line.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1; it is {batch_size}")


def without_request(problem: Problem) -> Problem:
    """Returns the problem less what is to be forgotten, kept or held out."""
    return problem.replace(
        forget=None, retain=None, forget_classes=None, validation=None
    )


def check_request(active: np.ndarray, indices: ArrayLike) -> np.ndarray:
    """Returns the sorted indices of a request that leaves something to train on.

    Raises:
      InputError: no index, one out of range or repeated, one that is not (or no longer)
        trained on, or nothing would be left.
    """
    active = np.asarray(active)
    indices = check_forget_indices(indices, len(active))
    absent = indices[~active[indices]]
    if absent.size:
        raise InputError(
            f"example {absent[0]} is not in the training set: it was removed before, "
            "or never trained on; leave it out of the request"
        )
    if len(indices) == active.sum():
        raise InputError("the request removes every example that is left: keep some")
    return indices


def rows_hash(problem: Problem, indices: np.ndarray) -> str:
    """Returns the SHA-256 of indices, and of the examples and labels there.

    What is elsewhere does not count: it may be gone.
    """
    digest = hashlib.sha256(np.asarray(indices, "<i8").tobytes())
    chosen = jax.tree.map(
        lambda leaf: np.asarray(leaf)[indices], (problem.examples, problem.labels)
    )
    if isinstance(problem.preprocess, Reading):
        chosen = problem.preprocess.read(chosen[0]), chosen[1]
    for path, leaf in jax.tree_util.tree_leaves_with_path(chosen):
        rows = np.ascontiguousarray(leaf)
        name = jax.tree_util.keystr(path)
        digest.update(f"{name} {rows.dtype.str} {rows.shape}".encode())
        digest.update(rows.reshape(-1).view(np.uint8))  # ty: ignore[invalid-argument-type]
    return digest.hexdigest()


def key_bits(key: jax.Array) -> np.ndarray:
    """Returns uint32[.]: a key as NumPy and a checkpoint can hold it."""
    return np.asarray(jax.random.key_data(key))


def random(key_bits: np.ndarray, *purpose: int) -> np.random.Generator:
    """Makes NumPy's generator, another for each key and purpose."""
    entropy = np.asarray(key_bits).ravel().tolist()
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=purpose))


def draw_key(rng: np.random.Generator) -> jax.Array:
    """Draws a JAX key with the generator of NumPy."""
    bits = rng.integers(2**32, size=2, dtype=np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(bits), impl="threefry2x32")


def passes(
    rng: np.random.Generator, members: np.ndarray, epochs: int, batch_size: int
) -> Rows:
    """Draws shuffled passes over `members` one after another, as NumPy arrays.

    A ragged last batch is filled from the same permutation, with weight 0.
    """
    steps = -(-len(members) // batch_size)
    filled = (np.arange(steps * batch_size) < len(members)).astype(np.float32)
    orders = [
        np.resize(rng.permutation(members), steps * batch_size) for _ in range(epochs)
    ]
    indices = np.array(orders, np.int32).reshape(epochs * steps, batch_size)
    weights = np.tile(filled.reshape(steps, batch_size), (epochs, 1))
    return Rows(indices, weights)


class Kept(Protocol):
    """Where checkpoints are kept by name, each a dict of named arrays."""

    def get(self, name: str) -> dict[str, np.ndarray] | None:
        """Returns what is kept under a name, or None."""
        ...

    def put(self, name: str, arrays: dict[str, np.ndarray]) -> Any:
        """Keeps arrays under a name."""
        ...


def to_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Returns the leaves of a tree as NumPy arrays by their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def to_structs(tree: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shape and dtype of each leaf of a tree by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for path, leaf in leaves
    }


def from_arrays(arrays: dict[str, np.ndarray], like: Any) -> Any:
    """Makes a tree of the structure, shapes and dtypes of `like` of its `to_arrays`.

    Raises:
      InputError: they are of another tree.
    """
    wanted = to_structs(like)
    found = {n: jax.ShapeDtypeStruct(x.shape, x.dtype) for n, x in arrays.items()}
    for name in sorted(wanted.keys() | found.keys()):
        old, new = found.get(name), wanted.get(name)
        if old != new:
            raise InputError(
                f"these weights are of another model: {name} is {_in_words(old)}, and "
                f"the model has {_in_words(new)}"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[n] for n in wanted])


def _in_words(leaf) -> str:
    return "missing" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"


def without_data(state: Any) -> Any:
    """Returns the state less examples and labels, as a checkpoint should hold it.

    It still predicts.
    """
    problem = state.problem.replace(examples=None, labels=None)
    return dataclasses.replace(state, problem=problem)


def with_data(state: Any, problem: Problem) -> Any:
    """Returns the state as it was before `without_data`."""
    problem = state.problem.replace(examples=problem.examples, labels=problem.labels)
    return dataclasses.replace(state, problem=problem)


@functools.partial(jax.jit, static_argnums=(0, 3))
def predict(
    model: Model,
    variables: Variables,
    examples: Any,
    preprocess: Callable[[Any], Any],
) -> jax.Array:
    """Returns logits float32[N, K], compiled; see `training.predict`."""
    return training.predict(model, variables, examples, preprocess)
