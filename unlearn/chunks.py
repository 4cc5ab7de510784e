"""How much is computed at once: as many gradients as a fixed part of memory holds.

Nothing here changes a result, only what lies in memory side by side.
"""

from collections.abc import Callable
from typing import Any

import jax

BUDGET = 2 * 2**30
"""Bytes for what is computed side by side; a program takes a few times as much."""

MOST = 32
"""Examples at once on an accelerator: more are no faster."""


def at_once(each: int, most: int) -> int:
    """Returns how many parts of `each` bytes are computed at once: 1 to `most`."""
    return max(1, min(most, BUDGET // max(1, each)))


def examples_at_once(each: Callable[[], int]) -> int:
    """Returns how many examples of `each()` bytes are differentiated at once.

    One on a CPU, where that is the fastest, and up to `MOST` elsewhere.
    """
    return 1 if jax.default_backend() == "cpu" else at_once(each(), MOST)


def even(count: int, at_once: int) -> tuple[int, int]:
    """Returns (parts, size) of the fewest even parts no larger than `at_once`."""
    parts = -(-count // at_once)
    return parts, -(-count // parts)


def size(tree: Any) -> int:
    """Returns the bytes of all leaves, which may be shapes (`jax.eval_shape`)."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def backward_bytes(fn: Callable[[Any], jax.Array], at: Any, shared: Any) -> int:
    """Returns the bytes that each of many reverse passes of `fn(at)` holds.

    They are the gradient, and what the forward pass leaves for it, without the arrays
    that all passes have in common, `shared`. Only traces `fn`.
    """
    pull = jax.eval_shape(lambda x: jax.vjp(fn, x)[1], at)
    return size(at) + max(0, size(pull) - size(shared))
