"""Accuracy overall and by class, and losses, of logits."""

import numpy as np

__all__ = ["accuracy", "confusion_matrix", "losses", "per_class_accuracy"]


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Computes the share of correct predictions, in [0, 1]; NaN of an empty set.

    Args:
      logits: float[N, K].
      labels: int[N].
    """
    if not len(labels):
        return float("nan")
    return float(np.mean(np.argmax(logits, -1) == labels))


def confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts the examples of each class (row) put into each class (column), [K, K]."""
    classes = logits.shape[-1]
    cells = np.asarray(labels, np.int64) * classes + np.argmax(logits, -1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Computes the accuracy of each class, float64[K]; NaN for one with no example.

    Args:
      confusion: int[K, K], as of `confusion_matrix`.
    """
    of_class = confusion.sum(axis=1)
    hits = np.where(of_class > 0, np.diag(confusion), np.nan)
    return hits / np.maximum(of_class, 1)


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Computes the cross-entropy of each example, float64[N] in nats, down to 1e-300.

    `log(1 + sum over the other classes of exp(z_j - z_y))`: the usual
    `logsumexp(z) - z_y` rounds to 0 below 1e-16, and confident examples would tie.
    """
    rows = np.arange(len(labels))
    margins = np.asarray(logits, np.float64)
    margins = margins - margins[rows, labels][:, None]
    margins[rows, labels] = -np.inf
    largest = margins.max(axis=1, keepdims=True)
    others = np.log(np.exp(margins - largest).sum(axis=1)) + largest[:, 0]
    return np.logaddexp(0, others)
