"""Accuracy overall and by class, and losses, of logits."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError

__all__ = [
    "Outputs",
    "accuracy",
    "balanced_accuracy",
    "class_accuracies",
    "confusion_matrix",
    "confusions",
    "losses",
    "outputs",
    "outputs_of",
    "per_class_accuracy",
]

BLOCK = 2**22  # entries of logits that are looked at together: 32 MB in float64


class Outputs(NamedTuple):
    """What the standard metrics see of a model: two numbers an example."""

    losses: np.ndarray  # float64[N], in nats
    predictions: np.ndarray  # int[N]


def outputs(logits: np.ndarray, labels: np.ndarray) -> Outputs:
    """Computes losses and predictions of logits float[N, K], labels int[N]."""
    logits, labels = check_labels(logits, labels)
    predictions = in_blocks(lambda part: np.argmax(part, -1), logits)
    return Outputs(in_blocks(_losses, logits, labels), predictions)


def outputs_of(
    evaluation: Mapping[str, np.ndarray], part: str, labels: np.ndarray
) -> Outputs:
    """Returns the outputs on a set from what a run keeps of a model.

    Args:
      evaluation: has `<part>_logits`, or `<part>_losses` and `<part>_predictions`
        where the logits are too many to keep.
      part: train, test or validation.
      labels: int[N] of the set.
    """
    logits = evaluation.get(f"{part}_logits")
    if logits is not None:
        return outputs(logits, labels)
    return Outputs(*(evaluation[f"{part}_{name}"] for name in Outputs._fields))


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Computes the share of correct predictions, in [0, 1]; NaN of an empty set.

    Args:
      logits: float[N, K].
      labels: int[N].

    Raises:
      InputError: labels of other examples, or of classes that there are not.
    """
    if not len(labels):
        return float("nan")
    logits, labels = check_labels(logits, labels)
    return share(np.argmax(logits, -1) == labels)


def share(hits: np.ndarray) -> float:
    """Returns the mean of bool[N]; NaN of an empty set."""
    return float(np.mean(hits)) if len(hits) else float("nan")


def confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts the examples of each class (row) put into each class (column), [K, K]."""
    logits, labels = check_labels(logits, labels)
    return confusions(np.argmax(logits, -1), labels, logits.shape[-1])


def confusions(predictions: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts as `confusion_matrix` from predictions int[N]: int64[K, K]."""
    cells = np.asarray(labels, np.int64) * classes + predictions
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Computes the accuracy of each class, float64[K]; NaN for one with no example.

    Args:
      confusion: int[K, K], as of `confusion_matrix`.
    """
    return _ratios(np.diag(confusion), confusion.sum(axis=1))


def class_accuracies(
    predictions: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    """Computes `per_class_accuracy` without a matrix [K, K]: float64[K]."""
    labels = np.asarray(labels)
    hits = labels[np.asarray(predictions) == labels]
    counts = (np.bincount(values, minlength=classes) for values in (hits, labels))
    return _ratios(*counts)


def balanced_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Computes the mean recall of the classes that occur, in [0, 1]; NaN of none.

    Guessing the most frequent class is worth one over their number (Brodersen et al.,
    2010, https://doi.org/10.1109/ICPR.2010.764).

    Args:
      predictions: int[N].
      labels: int[N].
    """
    if not len(labels):
        return float("nan")
    classes = 1 + int(max(np.max(predictions), np.max(labels)))
    return float(np.nanmean(class_accuracies(predictions, labels, classes)))


def _ratios(hits, of_class) -> np.ndarray:
    return np.where(of_class > 0, hits, np.nan) / np.maximum(of_class, 1)


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Computes the cross-entropy of each example, float64[N] in nats, down to 1e-300.

    `log(1 + sum over the other classes of exp(z_j - z_y))`: the usual
    `logsumexp(z) - z_y` rounds to 0 below 1e-16, and confident examples would tie.

    Raises:
      InputError: labels of other examples, or of classes that there are not.
    """
    return in_blocks(_losses, *check_labels(logits, labels))


def check_labels(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as arrays, float[N, K] and int[N].

    Raises:
      InputError: labels of other examples, or of classes that there are not, such as
        -1.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise InputError(
            "metrics need logits [N, K] and a label for each of the N; they are "
            f"{list(logits.shape)} and {list(labels.shape)}"
        )
    if not labels.size:
        return logits, labels.astype(np.int64)
    if not np.issubdtype(labels.dtype, np.integer):
        whole = labels.astype(np.int64) if labels.dtype.kind in "bf" else None
        if whole is None or not np.array_equal(whole, labels):
            raise InputError(f"labels must be whole numbers; they are {labels.dtype}")
        labels = whole
    outside = labels[(labels < 0) | (labels >= logits.shape[1])]
    if outside.size:
        raise InputError(
            f"there is a label {outside[0]}, and logits of the classes "
            f"0..{logits.shape[1] - 1}: leave such examples out"
        )
    return logits, labels


def _losses(logits, labels):
    rows = np.arange(len(labels))
    margins = logits.astype(np.float64)
    margins -= margins[rows, labels][:, None]
    margins[rows, labels] = -np.inf
    largest = margins.max(axis=1, keepdims=True)
    others = np.log(np.exp(margins - largest).sum(axis=1)) + largest[:, 0]
    return np.logaddexp(0, others)


def in_blocks(
    fn: Callable[..., np.ndarray], *arrays: np.ndarray, entries: int = BLOCK
) -> np.ndarray:
    """Applies a function of examples to blocks of them, so that memory stays small.

    Args:
      fn: of arrays [n, ...], one value an example: [n].
      arrays: [N, ...] each; the first is the largest.
      entries: of the first array in a block, at most (but one example at least).
    """
    parts = row_blocks(*arrays, entries=entries)
    return np.concatenate([fn(*part) for part in parts])


def row_blocks(
    *arrays: np.ndarray, entries: int = BLOCK
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the same rows of arrays [N, ...], some of them after the others.

    There is at least one block. `entries`: see `in_blocks`.
    """
    first = arrays[0]
    size = max(1, entries // max(1, first[:1].size))
    for start in range(0, max(1, len(first)), size):
        yield tuple(array[start : start + size] for array in arrays)
