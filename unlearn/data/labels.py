"""Labels as users give them, to int32 from 0 and the names of the classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from unlearn.data.ids import as_text
from unlearn.data.order import natural, plain
from unlearn.errors import InputError

BLANK = -1
"""The label of an erased example that stays in place."""


def read_labels(
    name: str,
    splits: Mapping[str, np.ndarray],
    class_names: Sequence[str] | None,
    *,
    known: bool = False,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Makes int32[N] in [0, K) of the labels of each split, and K names.

    Taken are whole numbers (as floats too) from 0 or from 1 without a gap, text, whose
    classes are in natural order, truth values, and rows with one 1 (one-hot). Numbers
    from 1 name the classes 1 to K.

    Args:
      splits: arrays [N], [N, 1] or [N, K]; `train` first.
      class_names: of the K classes, some of which may not occur; None takes those that
        occur in the training split.
      known: classes may have been deleted: those that occur in any split are taken,
        numbers with gaps and empty text too, each by its own name. Text is then its
        own name whatever `class_names` are. NaN, and a row of a one-hot array without
        a 1, are blank as -1 is.

    Raises:
      InputError: anything else, or a class that is in the test split only.
    """
    flat = {key: _flat(name, key, labels) for key, labels in splits.items()}
    text = {key for key, labels in flat.items() if labels.dtype.kind == "U"}
    if text and len(text) < len(flat):
        raise InputError(f"{name}: labels are text in the {text.pop()} split only")
    if class_names is not None:
        class_names = tuple(class_names)
        if len({plain(entry) for entry in class_names}) < len(class_names):
            raise InputError(f"{name}: two classes have the same name in class_names")
    if text:
        return _from_text(name, flat, class_names, known)
    numbers = {key: _numbers(name, key, labels, known) for key, labels in flat.items()}
    widths = {labels.shape[1] for labels in flat.values() if labels.ndim == 2}
    truths = all(v.dtype == bool and v.ndim == 1 for v in flat.values())
    if widths or truths:
        names = ("False", "True") if truths else tuple(map(str, range(max(widths))))
        if class_names is not None and len(class_names) != len(names):
            raise InputError(
                f"{name}: labels tell {len(names)} classes apart and class_names has "
                f"{len(class_names)}"
            )
        class_names = class_names or names
    return _from_numbers(name, numbers, class_names, bool(widths or truths), known)


def _flat(name, split, labels):
    labels = as_text(np.asarray(labels))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "U" and labels.ndim == 1:
        labels = np.array([entry.strip() for entry in labels.tolist()], np.str_)
    elif labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2):
        raise InputError(
            f"{name}: {split} labels must be integers 0 to K-1, text, or one-hot rows; "
            f"theirs are {labels.dtype} of shape {list(labels.shape)}"
        )
    if not len(labels):
        raise InputError(f"{name}: the {split} split is empty")
    return labels


def _numbers(name, split, labels, known):
    """Makes int64[N] of numbers or of one-hot rows; where known, -1 of blank ones."""
    if known and labels.ndim == 2:
        blank = np.isnan(labels).any(1) | np.isin(labels, (0, -1)).all(1)
        made = np.full(len(labels), BLANK)
        made[~blank] = _numbers(name, split, labels[~blank], known=False)
        return made
    if known and labels.dtype.kind == "f":
        labels = np.where(np.isnan(labels), BLANK, labels)
    if labels.dtype.kind == "f" and not (np.rint(labels) == labels).all():
        raise InputError(
            f"{name}: {split} labels must be integers 0 to K-1; they are "
            f"{labels.dtype}, and not all are whole numbers"
        )
    if labels.ndim == 2:
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            raise InputError(
                f"{name}: {split} labels of shape {list(labels.shape)} must be one-hot:"
                " one 1 in every row and else 0; several classes an image cannot be "
                "used"
            )
        return labels.argmax(1)
    bad = labels[(labels < (BLANK if known else 0)) | (labels >= 2**31)]
    if len(bad):
        raise InputError(
            f"{name}: {split} labels must be 0 to K-1; found {bad[0]:g}. Number them "
            "from 0, or give them as text"
        )
    return labels.astype(np.int64)


def _from_text(name, splits, class_names, known):
    taken = splits.values() if known else [splits["train"]]
    found = sorted({entry for part in taken for entry in part.tolist()}, key=natural)
    if "" in found and not known:
        raise InputError(f"{name}: some train labels are empty text; fill them in")
    if len({plain(entry) for entry in found}) < len(found):
        raise InputError(
            f"{name}: two classes differ only in how Unicode writes their names; "
            "write them alike"
        )
    names = tuple(found) if known or class_names is None else class_names
    number = {plain(entry): i for i, entry in enumerate(names)}
    labels = {}
    for split, entries in splits.items():
        unknown = sorted({e for e in entries.tolist() if plain(e) not in number})
        if unknown:
            where = "class_names" if class_names is not None else "the training split"
            raise InputError(
                f"{name}: the {split} label {unknown[0]!r} is not in {where}"
            )
        labels[split] = np.array([number[plain(e)] for e in entries.tolist()], np.int32)
    return labels, names


def _from_numbers(name, splits, class_names, from_0, known):
    found = np.unique(splits["train"])
    if known and from_0 and any((v == BLANK).any() for v in splits.values()):
        last = len(class_names)  # a class of its own
        splits = {k: np.where(v == BLANK, last, v) for k, v in splits.items()}
        class_names = (*class_names, str(BLANK))
    if class_names is None and known:
        found = np.unique(np.concatenate(list(splits.values())))
        numbered = {k: np.searchsorted(found, v) for k, v in splits.items()}
        return (
            {k: v.astype(np.int32) for k, v in numbered.items()},
            tuple(map(str, found.tolist())),
        )
    if class_names is None:
        first, count = int(found[0] > 0), len(found)
        if found[0] > 1 or found[-1] - found[0] != count - 1:
            raise InputError(
                f"{name}: labels must be 0 to K-1 or 1 to K without a gap; the {count} "
                f"labels in use go from {found[0]} to {found[-1]}. Give class_names, "
                "or labels as text"
            )
        class_names = tuple(str(label) for label in range(first, first + count))
    else:
        count = len(class_names)
        low = min(int(labels.min()) for labels in splits.values())
        high = max(int(labels.max()) for labels in splits.values())
        first = int(not from_0 and low > 0 and high == count)
        if not from_0 and low > 0 and high < count:
            raise InputError(
                f"{name}: labels go from {low} to {high} with {count} class_names: "
                "count them from 0, or give the labels as text"
            )
    last = first + count - 1
    for split, labels in splits.items():
        bad = labels[(labels < first) | (labels > last)]
        if len(bad):
            raise InputError(
                f"{name}: {split} labels must be {first} to {last}; found {bad[0]}"
            )
    return {k: (v - first).astype(np.int32) for k, v in splits.items()}, class_names


def read_subclasses(
    name: str,
    labels: Mapping[str, np.ndarray],
    subclasses: Sequence[ArrayLike],
    names: Sequence[str] | None,
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Makes int32 arrays of second labels, one a split of `labels`, and their names.

    Args:
      labels: of the classes, by split.
      subclasses: of the splits, in any form that `read_labels` takes; the test split
        may be without; empty: none.
      names: as its `class_names`.

    Raises:
      InputError: as `read_labels`; they are not as many as the labels.
    """
    if not len(subclasses):
        return [], ()
    pairs = list(zip(labels, subclasses, strict=False))
    for split, second in pairs:
        if np.shape(second)[:1] != labels[split].shape[:1]:
            raise InputError(
                f"{name}: {len(labels[split])} {split} labels need as many labels of "
                f"sub-classes; those have the shape {list(np.shape(second))}"
            )
    numbers, names = read_labels(
        f"{name}: sub-classes", {split: np.asarray(s) for split, s in pairs}, names
    )
    return [part.astype(np.int32) for part in numbers.values()], names
