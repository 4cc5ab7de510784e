"""Ids and groups as users give them: every example has one name, and only one."""

import unicodedata
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unlearn.data.order import plain, shown
from unlearn.errors import InputError


def check_ids(name: str, ids: Any, count: int, split: str) -> np.ndarray:
    """Makes int64[N] or text [N] of the ids of a split.

    Raises:
      InputError: not one for each of `count` examples, or not whole numbers or text;
        an empty one; two that are the same, or look it.
    """
    ids = column(name, ids, count, f"{split} ids")
    if ids.dtype.kind not in "iuU":
        raise InputError(
            f"{name}: {split} ids must be whole numbers or text; they are {ids.dtype}"
        )
    if ids.dtype.kind == "u" and ids.max() >= 2**63:
        raise InputError(f"{name}: {split} ids must be below 2^63; found {ids.max()}")
    ids = ids if ids.dtype.kind == "U" else ids.astype(np.int64)
    seen: dict[str, Any] = {}
    for entry in ids.tolist():
        key = plain(str(entry))
        if not key:
            raise InputError(f"{name}: one of the {split} ids is empty; fill it in")
        if has_control(key):
            raise InputError(
                f"{name}: the id {shown(key)} has a line break or another control "
                "character, so no list can name it; rename it"
            )
        if key in seen:
            raise InputError(f"{name}: {split} ids {_twins(seen[key], entry)}")
        seen[key] = entry
    return ids


def has_control(text: str) -> bool:
    """Says whether text has a line break or another control character."""
    return any(unicodedata.category(letter) == "Cc" for letter in text)


def check_groups(name: str, groups: ArrayLike, count: int) -> np.ndarray:
    """Numbers the groups: int32[N], equal where the user's values are.

    Raises:
      InputError: not one for each of `count` examples, or not whole numbers or text;
        an empty one, which would join what does not belong together.
    """
    groups = column(name, groups, count, "groups")
    if groups.dtype.kind not in "biuU":
        raise InputError(
            f"{name}: groups must be whole numbers or text; they are {groups.dtype}"
        )
    if groups.dtype.kind == "U":
        groups = np.array([plain(group) for group in groups.tolist()])
        if (groups == "").any():
            raise InputError(
                f"{name}: {(groups == '').sum()} groups are empty; give every example "
                "a group, its own where it belongs to no other"
            )
    return np.unique(groups, return_inverse=True)[1].astype(np.int32)


def apart(
    name: str, train_ids: np.ndarray, test_ids: np.ndarray, *, own: bool
) -> np.ndarray:
    """Returns ids of the test split none of which is an id of the training split.

    Args:
      train_ids: [N].
      test_ids: [T].
      own: they are the user's; others are changed to `test/` and the id.

    Raises:
      InputError: the user gave an id to an example of either split.
    """
    taken = {plain(str(entry)) for entry in train_ids.tolist()}
    shared = [entry for entry in test_ids.tolist() if plain(str(entry)) in taken]
    if own and shared:
        raise InputError(
            f"{name}: the id {shared[0]!r} is in the training and in the test split; "
            "ids must tell them apart"
        )
    if own:
        return test_ids
    start = "test/"
    while any(entry.startswith(start) for entry in taken):
        start += "test/"
    return np.array([f"{start}{entry}" for entry in test_ids.tolist()])


def column(name: str, values: ArrayLike, count: int, what: str) -> np.ndarray:
    """Makes an array [N] of an array [N] or [N, 1]; bytes become text.

    Raises:
      InputError: another shape.
    """
    values = as_text(np.asarray(values))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (count,):
        raise InputError(
            f"{name}: {count} examples need {what} of shape [{count}]; theirs is "
            f"{list(values.shape)}"
        )
    return values


def as_text(values: np.ndarray) -> np.ndarray:
    """Makes text of bytes, and of objects that are all text; else returns `values`."""
    if values.dtype.kind == "T" or (
        values.dtype.kind == "O" and all(isinstance(v, str) for v in values.flat)
    ):
        return values.astype(np.str_)
    if values.dtype.kind == "S":
        decoded = [v.decode(errors="surrogateescape") for v in values.ravel().tolist()]
        return np.array(decoded, np.str_).reshape(values.shape)
    return values


def _twins(first, second) -> str:
    if first == second:
        return f"must differ; {first!r} is given twice"
    return f"must differ by more than spaces or spelling; {first!r} and {second!r}"
