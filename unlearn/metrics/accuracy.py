"""Accuracy overall and by class, and losses, of logits."""

import numpy as np


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of correct predictions in [0, 1]; NaN of an empty set."""
    if not len(labels):
        return float("nan")
    return float(np.mean(np.argmax(logits, -1) == labels))


def confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many examples of each class (row) were called each class (column), [K, K]."""
    classes = logits.shape[-1]
    cells = np.asarray(labels, np.int64) * classes + np.argmax(logits, -1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """float64[K] of a confusion matrix; NaN for a class with no example."""
    of_class = confusion.sum(axis=1)
    hits = np.where(of_class > 0, np.diag(confusion), np.nan)
    return hits / np.maximum(of_class, 1)


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Per-example cross-entropy in nats, float64[N], exact down to 1e-300.

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
