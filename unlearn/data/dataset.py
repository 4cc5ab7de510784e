"""The one form every data set takes, and the checks it has to pass."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError


class Dataset(NamedTuple):
    """A classification data set in memory.

    `mean` and `std` standardise pixels in [0, 1]. They are constants of the data set's
    name, never computed here: they must not depend on the examples to be forgotten.
    """

    name: str
    train_images: np.ndarray  # uint8[N, H, W, C]
    train_labels: np.ndarray  # int32[N], in [0, K)
    test_images: np.ndarray  # uint8[T, H, W, C]
    test_labels: np.ndarray  # int32[T], in [0, K)
    class_names: tuple[str, ...]  # K of them
    mean: np.ndarray  # float32[C]
    std: np.ndarray  # float32[C]
    train_groups: np.ndarray | None = None  # int32[N]; validation takes whole groups


STATISTICS = {
    "digits": ((0.3053,), (0.3759,)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "svhn_cropped": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
"""Published mean and standard deviation of the training split, by data set."""


def fingerprint(dataset: Dataset) -> str:
    """Computes the SHA-256, in hex, of the images and labels of both splits."""
    digest = hashlib.sha256()
    for array in dataset[1:5]:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        array = np.ascontiguousarray(array)
        digest.update(array)  # ty: ignore[invalid-argument-type]
    return digest.hexdigest()


Pair = tuple[ArrayLike, ArrayLike]


def make_dataset(
    name: str,
    train: Pair,
    test: Pair | None = None,
    class_names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
) -> Dataset:
    """Makes a data set of `(images, labels)` pairs, and checks it.

    Args:
      name: what the user called it; names it in messages.
      train: images uint8[N, H, W, C] or [N, H, W], or floats in [0, 1]; labels int[N].
      test: the same; None takes a fixed fifth of every class of `train`.
      class_names: None names the K classes 0 to K - 1, and all of them must occur.
      groups: which images of `train` belong together, such as those of one patient;
        N values of any kind. Goes with a test split of its own.

    Raises:
      InputError: wrong shapes, types or values.
    """
    splits = {"train": train} if test is None else {"train": train, "test": test}
    splits = {key: _check(name, key, *split) for key, split in splits.items()}
    images, labels = splits["train"]
    if class_names is None:
        found = np.unique(labels)
        class_names = tuple(str(label) for label in range(len(found)))
        if found[-1] != len(found) - 1:
            raise InputError(
                f"{name}: labels must be 0 to K-1 without a gap; the {len(found)} "
                f"labels in use go from {found[0]} to {found[-1]}"
            )
    if len(class_names) < 2:
        raise InputError(f"{name}: needs 2 classes or more; it has {len(class_names)}")
    for key, (_, split_labels) in splits.items():
        if split_labels.max() >= len(class_names):
            raise InputError(
                f"{name}: {key} labels must be 0 to {len(class_names) - 1}; "
                f"found {split_labels.max()}"
            )
    if test is None:
        kept, held_out = stratified_split(labels)
        if not len(held_out):
            raise InputError(
                f"{name}: no test split, and too few images to take a fifth of every "
                "class as one; give it a test split"
            )
        test_images, test_labels = images[held_out], labels[held_out]
        images, labels = images[kept], labels[kept]
    else:
        test_images, test_labels = splits["test"]
        if images.shape[1:] != test_images.shape[1:]:
            raise InputError(
                f"{name}: train images are {_shape(images)}, test images "
                f"{_shape(test_images)}; they must agree"
            )
    statistics = standardisation(name, images.shape[-1])
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1].astype(np.int32)
    splits = images, labels, test_images, test_labels
    return Dataset(name, *splits, tuple(class_names), *statistics, groups)


def standardisation(name: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Looks up mean and standard deviation, float32[C]; 0.5 if none are known."""
    base = name.partition(":")[0]
    mean, std = STATISTICS.get(base, ((), ()))
    if len(mean) != channels:
        mean = std = (0.5,) * channels
    return np.array(mean, np.float32), np.array(std, np.float32)


def stratified_split(
    labels: np.ndarray, share: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a fixed `share` of every class: sorted indices `(rest, held out)`."""
    random = np.random.RandomState(0)  # its stream is the same in every numpy
    held_out = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held_out.append(members[: round(share * len(members))])
    held_out = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def first_line(error: BaseException) -> str:
    """Names the type and first line of another library's error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _shape(images) -> str:
    return "x".join(str(side) for side in images.shape[1:])


def _check(name, split, images, labels):
    """Makes uint8[N, H, W, C] and int32[N] of a split."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(
            f"{name}: {split} images must have shape [N, H, W, C] or [N, H, W]; "
            f"theirs is {list(images.shape)}"
        )
    if not len(images):
        raise InputError(f"{name}: the {split} split is empty")
    if images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        raise InputError(
            f"{name}: {split} images of shape {list(images.shape)} look "
            "channels-first; transpose them to [N, H, W, C]"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != images.shape[:1]:
        raise InputError(
            f"{name}: {len(images)} {split} images need labels of shape "
            f"[{len(images)}]; theirs is {list(labels.shape)}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{name}: {split} labels must be integers 0 to K-1; they are {labels.dtype}"
        )
    if labels.min() < 0 or labels.max() >= 2**31:
        bad = labels[(labels < 0) | (labels >= 2**31)][0]
        raise InputError(f"{name}: {split} labels must be 0 to K-1; found {bad}")
    return _as_bytes(name, split, images), labels.astype(np.int32)


def _as_bytes(name, split, images):
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(
            f"{name}: {split} images must be uint8 or floats in [0, 1]; they are "
            f"{images.dtype}"
        )
    low, high = images.min(), images.max()
    if np.isnan(low):
        raise InputError(f"{name}: {split} images contain NaN")
    if low < 0 or high > 1:
        raise InputError(
            f"{name}: {split} images of type {images.dtype} must lie in [0, 1]; they "
            f"lie in [{low:g}, {high:g}]"
        )
    return np.rint(images * 255).astype(np.uint8)
