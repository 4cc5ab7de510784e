"""What these methods share: the training set, its batches, the check of a request."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn import training
from unlearn.errors import InputError
from unlearn.problem import Problem, check_forget_indices
from unlearn.training import Rows


def training_set(
    problem: Problem, indices: ArrayLike | None = None
) -> tuple[Problem, np.ndarray]:
    """Returns the problem less its request, and bool[N]: the examples trained on.

    Raises:
      InputError: an index is out of range, or there is none.
    """
    active = np.ones(len(problem.labels), bool)
    if indices is not None:
        indices = np.asarray(indices)
        if not indices.size or indices.min() < 0 or indices.max() >= len(active):
            raise InputError(
                f"the training set has indices 0..{len(active) - 1}: "
                "name at least one, and none outside"
            )
        active[:] = False
        active[indices] = True
    kept = dict(forget=None, retain=None, forget_classes=None, validation=None)
    return problem.replace(**kept), active


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


def without_data(state: Any) -> Any:
    """Returns the state less images and labels, as a checkpoint should hold it.

    It still predicts.
    """
    problem = state.problem.replace(images=None, labels=None)
    return dataclasses.replace(state, problem=problem)


def with_data(state: Any, problem: Problem) -> Any:
    """Returns the state as it was before `without_data`."""
    problem = state.problem.replace(images=problem.images, labels=problem.labels)
    return dataclasses.replace(state, problem=problem)


predict = functools.partial(jax.jit, static_argnums=0)(training.predict)
"""`(model, variables, images, mean, std) -> logits`, compiled."""
