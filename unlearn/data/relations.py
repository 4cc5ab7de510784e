"""Which examples belong together: those of a group, and exact copies of one another."""

from typing import Any

import numpy as np

from unlearn.data.identical import digests


def copies(train: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    """Numbers examples by content: int64[N] and int64[T], equal for exact copies.

    Args:
      train, test: arrays [N, ...] and [T, ...], or trees of them.
    """
    hashes = [np.array([*digests(part)], "S32") for part in (train, test)]
    numbers = np.unique(np.concatenate(hashes), return_inverse=True)[1]
    return numbers[: len(hashes[0])], numbers[len(hashes[0]) :]


def joined(size: int, *relations: np.ndarray | None) -> np.ndarray:
    """Numbers sets of examples that belong together by any chain of relations, int[N].

    Args:
      size: N.
      relations: int[N] each, equal for examples that belong together; None: none do.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    known = [np.unique(r, return_inverse=True)[1] for r in relations if r is not None]
    rows = np.tile(np.arange(size), len(known))
    columns = np.concatenate(
        [size * (i + 1) + r for i, r in enumerate(known)] or [rows]
    )
    count = size * (len(known) + 1)
    edges = coo_array((np.ones(len(rows)), (rows, columns)), (count, count))
    return connected_components(edges, directed=False)[1][:size]


def with_others(rows: np.ndarray, *relations: np.ndarray | None) -> np.ndarray:
    """Adds what belongs together with examples; sorted, see `joined`."""
    sizes = [len(relation) for relation in relations if relation is not None]
    if not sizes:
        return np.sort(rows)
    units = joined(sizes[0], *relations)
    return np.flatnonzero(np.isin(units, units[rows]))
