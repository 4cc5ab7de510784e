"""Accuracy overall and by class, and losses, of logits."""

import numpy as np


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of correct predictions in [0, 1]; NaN of an empty set."""
    if not len(labels):
        return float("nan")
    return float(np.mean(np.argmax(logits, -1) == labels))


def per_class_accuracy(logits, labels, num_classes: int) -> np.ndarray:
    """float64[K]; NaN for a class without examples."""
    correct = np.argmax(logits, -1) == labels
    counts = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels, weights=correct, minlength=num_classes)
    return np.divide(hits, counts, out=np.full(num_classes, np.nan), where=counts > 0)


def confusion_matrix(logits, labels, num_classes: int) -> np.ndarray:
    """int64[K, K] counts: rows are labels, columns predictions."""
    pairs = labels.astype(np.int64) * num_classes + np.argmax(logits, -1)
    return np.bincount(pairs, minlength=num_classes**2).reshape(
        num_classes, num_classes
    )


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Log-softmax in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Per-example cross-entropy in nats, float64[N]."""
    return -log_probabilities(logits)[np.arange(len(labels)), labels]
