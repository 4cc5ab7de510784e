"""Which examples are the same: hashes of what was decoded."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from unlearn.stored import Stored, as_array, blocks


def content_hashes(examples: Any) -> np.ndarray:
    """Computes the SHA-256 of dtype, shape and bytes of each example.

    Args:
      examples: an array [N, ...], or a tree of them with the same N.

    Returns:
      N texts of 64 hex digits. They do not depend on the machine's order of bytes.
    """
    return np.array([digest.hex() for digest in digests(examples)], "U64")


def copies(examples: Any) -> np.ndarray:
    """Numbers the examples by content: int32[N], equal where examples are identical.

    Numbers go from 0 in the order in which each content comes first, so there are
    `copies(examples).max() + 1` different ones.

    Args:
      examples: an array [N, ...], or a tree of them with the same N.
    """
    numbers: dict[bytes, int] = {}
    found = [numbers.setdefault(d, len(numbers)) for d in digests(examples)]
    return np.array(found, np.int32)


def digests(examples: Any) -> Iterator[bytes]:
    """Yields the SHA-256 of dtype, shape and bytes of each example; see above."""
    leaves = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(examples):
        leaf = as_array(leaf)
        dtype = leaf.dtype.newbyteorder("<")
        kind = f"{jax.tree_util.keystr(path)} {dtype.str} {leaf.shape[1:]} "
        leaves.append((hashlib.sha256(kind.encode()), _rows(leaf, dtype)))
    if len(leaves) == 1:
        ((start, rows),) = leaves
        for row in rows:
            digest = start.copy()
            digest.update(row.data)
            yield digest.digest()
        return
    for parts in zip(*(rows for _, rows in leaves), strict=True):
        digest = hashlib.sha256()
        for (start, _), row in zip(leaves, parts, strict=True):
            part = start.copy()
            part.update(row.data)
            digest.update(part.digest())
        yield digest.digest()


def _rows(leaf: np.ndarray | Stored, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yields the bytes of each row, uint8[.]."""
    size = math.prod(leaf.shape[1:])
    for part in blocks(leaf):
        part = part.astype(dtype, order="C", copy=False)
        yield from part.reshape(len(part), size).view(np.uint8)
