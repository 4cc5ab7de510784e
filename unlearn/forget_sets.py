"""Which training examples are to be forgotten, as checked index arrays."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.id_files import read_ids

__all__ = ["check_forget_indices", "forget_class", "forget_random", "read_ids"]


def check_forget_indices(indices: ArrayLike, size: int) -> np.ndarray:
    """Returns sorted int32 indices of a forget set that leaves something to retain."""
    indices = np.asarray(indices)
    if indices.size == 0:
        raise InputError("the forget set is empty: nothing to forget")
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise InputError("forget indices must be a flat list of whole numbers")
    if indices.min() < 0 or indices.max() >= size:
        outside = indices[(indices < 0) | (indices >= size)][0]
        raise InputError(
            f"forget index {outside} is out of range: "
            f"the training set has indices 0..{size - 1}"
        )
    unique, counts = np.unique(indices, return_counts=True)
    if len(unique) < len(indices):
        repeated = unique[counts > 1][0]
        raise InputError(f"forget index {repeated} is repeated: give each index once")
    if len(unique) == size:
        raise InputError("the forget set is the whole training set: nothing to retain")
    return unique.astype(np.int32)


def forget_random(
    labels: Sequence[int] | np.ndarray,
    *,
    fraction: float = 0.0,
    count: int = 0,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Draws a random forget set, by fraction of the training set or by count.

    With `groups`, int[N], whole groups: as many examples as they allow, never more.
    """
    size = len(labels)
    if bool(fraction) == bool(count):
        if not fraction:
            raise InputError(
                "the forget set is empty: give a fraction in (0, 1) or a count"
            )
        raise InputError("give the forget set by fraction or by count, not by both")
    if fraction and not 0 < fraction < 1:
        raise InputError(f"forget fraction must lie in (0, 1); it is {fraction}")
    count = count or round(fraction * size)
    if not 0 < count < size:
        raise InputError(
            f"the forget set must have 1..{size - 1} of the {size} training examples; "
            f"it would have {count}: give another fraction, or a count"
        )
    chosen = _draw(np.random.default_rng(seed), np.arange(size), count, groups)
    return np.sort(chosen).astype(np.int32)


def forget_class(
    labels: ArrayLike,
    classes: Iterable[int],
    *,
    num_classes: int,
    fraction: float = 1.0,
    seed: int = 0,
    groups: np.ndarray | None = None,
    word: str = "class",
) -> np.ndarray:
    """Returns indices of one or more classes, or of a random part of each of them.

    With `groups`, int[N], a part is of whole groups, as far as they are of the class.
    `word` is what messages call a class, such as `sub-class`.
    """
    labels, classes = np.asarray(labels), list(classes)
    for c in classes:
        if not 0 <= c < num_classes:
            raise InputError(
                f"there is no {word} {c}: the {word}es are 0..{num_classes - 1}"
            )
        if not np.any(labels == c):
            raise InputError(f"{word} {c} has no training example: nothing to forget")
    if not 0 < fraction <= 1:
        raise InputError(f"forget fraction must lie in (0, 1]; it is {fraction}")
    rng = np.random.default_rng(seed)
    parts = []
    for c in sorted(set(classes)):
        members = np.flatnonzero(labels == c)
        if fraction < 1:
            count = max(1, round(fraction * len(members)))
            members = _draw(rng, members, count, groups)
        parts.append(members)
    if not parts:
        raise InputError("no class to forget was given")
    return np.sort(np.concatenate(parts)).astype(np.int32)


def _draw(
    rng: np.random.Generator,
    members: np.ndarray,
    count: int,
    groups: np.ndarray | None,
) -> np.ndarray:
    """Draws `count` of the members, or groups of them that have no more together."""
    if groups is None:
        return rng.choice(members, count, replace=False)
    _, group, sizes = np.unique(
        groups[members], return_inverse=True, return_counts=True
    )
    drawn, left = np.zeros(len(sizes), bool), count
    for one in rng.permutation(len(sizes)):
        if sizes[one] <= left:
            drawn[one], left = True, left - sizes[one]
    if not drawn.any():
        raise InputError(
            f"every group has more than the {count} examples to forget: forget more, "
            "or parts of groups (forget.groups=False)"
        )
    return members[drawn[group]]
