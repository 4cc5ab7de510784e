"""The one form every data set takes, and the checks it has to pass."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.data.identical import copies
from unlearn.data.ids import apart, check_groups, check_ids
from unlearn.data.labels import read_labels, read_subclasses
from unlearn.data.relations import joined
from unlearn.errors import InputError
from unlearn.stored import Stored, as_array, blocks


class Dataset(NamedTuple):
    """A classification data set, in memory but for `Stored` examples.

    Images are uint8[N, H, W, C]. Other inputs are float32[N, ...] (features) or
    int32[N, ...] (tokens), and have empty `mean` and `std`: models take them as they
    are.

    An id is the user's: the row number in their order, a file's name relative to the
    folder, an entry of the array `ids` of an npz file, a key of tensorflow-datasets.

    `mean` and `std` standardise pixels in [0, 1]. They are constants of the data set's
    name, never computed here: they must not depend on the examples to be forgotten.
    """

    name: str
    train_images: np.ndarray | Stored  # uint8[N, H, W, C], or other inputs [N, ...]
    train_labels: np.ndarray  # int32[N], in [0, K)
    test_images: np.ndarray | Stored  # uint8[T, H, W, C], or other inputs [T, ...]
    test_labels: np.ndarray  # int32[T], in [0, K)
    class_names: tuple[str, ...]  # K of them
    mean: np.ndarray  # float32[C]; [0] for other inputs
    std: np.ndarray  # float32[C]; [0] for other inputs
    train_ids: np.ndarray  # [N], whole numbers or text: the user's own name of each
    test_ids: np.ndarray  # [T], likewise; no id is in both
    train_groups: np.ndarray | None = None  # int32[N]; validation takes whole groups
    notes: tuple[str, ...] = ()  # lines that say what was left out or changed
    train_subclasses: np.ndarray | None = None  # int32[N], a second label
    test_subclasses: np.ndarray | None = None  # int32[T], likewise
    subclass_names: tuple[str, ...] = ()


STATISTICS = {
    "digits": ((0.3053,), (0.3759,)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar20": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "svhn_cropped": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
"""Published mean and standard deviation of the training split, by data set."""


def fingerprint(dataset: Dataset) -> str:
    """Computes the SHA-256, in hex, of the images and labels of both splits."""
    digest = hashlib.sha256()
    for array in dataset[1:5]:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        for part in blocks(array):
            part = np.ascontiguousarray(part)
            digest.update(part)  # ty: ignore[invalid-argument-type]
    return digest.hexdigest()


Pair = tuple[ArrayLike | Stored, ArrayLike]


def make_dataset(
    name: str,
    train: Pair,
    test: Pair | None = None,
    class_names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    ids: ArrayLike | None = None,
    test_ids: ArrayLike | None = None,
    notes: Sequence[str] = (),
    draw: bool = True,
    subclasses: Sequence[ArrayLike] = (),
    subclass_names: Sequence[str] | None = None,
) -> Dataset:
    """Makes a data set of `(examples, labels)` pairs, and checks it.

    Args:
      name: what the user called it; names it in messages.
      train: images uint8[N, H, W, C], or inputs float32 or int32 [N, ...]; labels
        int[N] in [0, K).
      test: the same; None takes a fixed fifth of every class of `train`, of whole
        groups if there are groups, and of exact copies all or none.
      class_names: None: as `labels.read_labels` has it.
      groups: which examples of `train` belong together, such as the images of one
        patient: [N], whole numbers or text.
      ids: the user's ids of `train`, [N]; by default the row numbers.
      test_ids: of `test`; by default `test/` and the row number.
      notes: lines for the user.
      draw: without a `test`, draw one; else it is empty, and there may be one class.
      subclasses: second labels of `train` and of `test`, or of `train` alone, in any
        form that labels may have; empty: there are none.
      subclass_names: as `class_names`.

    Raises:
      InputError: wrong shapes, types or values.
    """
    pairs = {"train": train} if test is None else {"train": train, "test": test}
    examples = {key: as_array(pair[0]) for key, pair in pairs.items()}
    labels = {key: np.asarray(pair[1]) for key, pair in pairs.items()}
    if class_names is None:
        labels, class_names = read_labels(name, labels, None)
    for key in pairs:
        _check(name, key, examples[key], labels[key], class_names)
    _check_all(name, examples)
    if draw and len(class_names) < 2:
        raise InputError(f"{name}: needs 2 classes or more; it has {len(class_names)}")
    count = len(labels["train"])
    own = test_ids is not None
    ids = np.arange(count) if ids is None else check_ids(name, ids, count, "train")
    if groups is not None:
        groups = check_groups(name, groups, count)
    second, subclass_names = read_subclasses(name, labels, subclasses, subclass_names)
    if test is None:
        kept, held_out = np.arange(count), np.arange(0)
        if draw:
            kept, held_out, more = _draw_test(
                examples["train"], labels["train"], groups
            )
            notes = [*notes, *more]
        if draw and (not len(held_out) or not len(kept)):
            raise InputError(
                f"{name}: no test split, and too few images or groups to take a fifth "
                "of every class as one; give it a test split"
            )
        examples = {
            "train": examples["train"][kept],
            "test": examples["train"][held_out],
        }
        labels = {"train": labels["train"][kept], "test": labels["train"][held_out]}
        second = [part[rows] for part in second for rows in (kept, held_out)]
        ids, test_ids = ids[kept], ids[held_out]
        groups = None if groups is None else check_groups(name, groups[kept], len(kept))
    else:
        count = len(labels["test"])
        test_ids = check_ids(name, test_ids, count, "test") if own else np.arange(count)
        test_ids = apart(name, ids, test_ids, own=own)
    return Dataset(
        name,
        *(examples["train"], labels["train"].astype(np.int32)),
        *(examples["test"], labels["test"].astype(np.int32)),
        tuple(class_names),
        *standardisation(name, examples["train"]),
        ids,
        test_ids,
        groups,
        tuple(notes),
        *[*second, None, None][:2],
        tuple(subclass_names),
    )


def _draw_test(
    examples: np.ndarray | Stored, labels: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draws a fifth, of exact copies all or none: `(rest, held out, notes)`."""
    content = copies(examples)
    if content.max() + 1 == len(content):
        return *stratified_split(labels, groups=groups), []
    units = joined(len(content), groups, content)
    kept, held_out = stratified_split(labels, groups=units)
    if len(kept) and len(held_out):
        return kept, held_out, []
    kept, held_out = stratified_split(labels, groups=groups)
    torn = int(np.isin(content[held_out], content[kept]).sum())
    note = f"test split: {torn} of its {len(held_out)} have exact copies in training"
    return kept, held_out, [f"{note}, for too few differ"] if torn else []


def standardisation(
    name: str, examples: np.ndarray | Stored
) -> tuple[np.ndarray, np.ndarray]:
    """Looks up mean and standard deviation of images uint8[N, H, W, C]: float32[C].

    They are 0.5 if none are known, and empty for inputs that are no such images.
    """
    if examples.dtype != np.uint8:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    mean, std = STATISTICS.get(name.partition(":")[0], ((), ()))
    if len(mean) != examples.shape[-1]:
        mean = std = (0.5,) * examples.shape[-1]
    return np.array(mean, np.float32), np.array(std, np.float32)


def standardised_by(
    dataset: Dataset, mean: Sequence[float], std: Sequence[float]
) -> Dataset:
    """Replaces what images are standardised by, in units of [0, 1]; empty: as it is.

    Raises:
      InputError: the examples are no images, or there is not one number or one of each
        channel.
    """
    return dataset._replace(
        mean=_constants("mean", mean, dataset.mean),
        std=_constants("std", std, dataset.std),
    )


def _constants(name, given, own):
    """Makes float32[C] of one number or of C."""
    if not len(given):
        return own
    if not len(own):
        raise InputError(f"data.{name} is for images, and these are none: leave it out")
    if len(given) not in (1, len(own)):
        raise InputError(
            f"data.{name} must be one number, or one of each of the {len(own)} "
            f"channels; it has {len(given)}"
        )
    given = np.array(given, np.float32)
    check_constants(name, given.tolist())
    return np.broadcast_to(given, own.shape)


def check_constants(name: str, values: Sequence[float]) -> None:
    """Checks values of `mean` or of `std`.

    Raises:
      InputError: one that is not finite, or a deviation that is not above 0.
    """
    for one in values:
        if not math.isfinite(one) or (name == "std" and one <= 0):
            kind = "finite numbers above 0" if name == "std" else "finite numbers"
            raise InputError(
                f"data.{name} must be {kind}, in units of [0, 1]; one is {one}: "
                "correct it, or leave it out"
            )


def stratified_split(
    labels: np.ndarray, share: float = 0.2, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a fixed `share` of every class: sorted indices `(rest, held out)`.

    Args:
      labels: int[N].
      share: of each class.
      groups: int[N]: whole groups are held out, those drawn first that fit in; a group
        counts for the class of its first example.
    """
    random = np.random.RandomState(0)  # its stream is the same in every numpy
    numbers = np.arange(len(labels)) if groups is None else groups
    _, first, group, sizes = np.unique(
        numbers, return_index=True, return_inverse=True, return_counts=True
    )
    held_out = np.zeros(len(first), bool)
    by_first = np.argsort(first)
    for label in np.unique(labels[first]):
        drawn = random.permutation(by_first[labels[first[by_first]] == label])
        room = round(share * sizes[drawn].sum())
        for one in drawn:
            if sizes[one] <= room:
                held_out[one] = True
                room -= sizes[one]
    return np.flatnonzero(~held_out[group]), np.flatnonzero(held_out[group])


def _shape(examples) -> str:
    return "x".join(str(side) for side in examples.shape[1:])


def _check(name, split, examples, labels, class_names):
    """Checks the examples and labels of one split."""
    if not len(examples):
        raise InputError(f"{name}: the {split} split is empty")
    if labels.shape != examples.shape[:1]:
        raise InputError(
            f"{name}: {len(examples)} {split} images or inputs need labels of shape "
            f"[{len(examples)}]; theirs is {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(
            f"{name}: {split} labels must be 0 to {len(class_names) - 1}; found {bad}"
        )


def _check_all(name, examples):
    """Checks what the splits must have together."""
    first, *others = examples.values()
    for other in others:
        if first.shape[1:] != other.shape[1:] or first.dtype != other.dtype:
            raise InputError(
                f"{name}: train examples are {_shape(first)} {first.dtype}, test "
                f"examples {_shape(other)} {other.dtype}; they must agree"
            )
    one = np.asarray(first[:1]).flat[0]
    every = (part for split in examples.values() for part in blocks(split))
    if all(part.min() == one == part.max() for part in every):
        raise InputError(
            f"{name}: every value of every example is {one}: there is nothing to learn"
        )
