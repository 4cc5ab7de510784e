"""Accuracies, confusions and losses against computations by their formulas."""

import math

import numpy as np
import pytest
import scipy.special
from metric_cases import CASES, logits_and_labels
from scipy.special import log_softmax

from unlearn import metrics


def test_accuracies_and_confusion():
    for case in range(CASES):
        logits, labels = logits_and_labels(12, 3, seed=case)
        predicted = [int(np.argmax(row)) for row in logits]
        hits = [p == y for p, y in zip(predicted, labels, strict=True)]
        assert metrics.accuracy(logits, labels) == pytest.approx(sum(hits) / 12)
        matrix = metrics.confusion_matrix(logits, labels)
        counted = np.zeros((3, 3))
        for y, p in zip(labels, predicted, strict=True):
            counted[y, p] += 1
        np.testing.assert_array_equal(matrix, counted)
        by_class = metrics.per_class_accuracy(np.pad(matrix, (0, 1)))
        for c in range(4):
            mine = [h for h, y in zip(hits, labels, strict=True) if y == c]
            expected = sum(mine) / len(mine) if mine else math.nan
            assert by_class[c] == pytest.approx(expected, nan_ok=True)


def test_confusion_matrix_counts_true_by_predicted():
    logits = np.eye(3)[[0, 1, 1, 2, 0]]
    counts = metrics.confusion_matrix(logits, np.array([0, 0, 1, 2, 2]))
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_losses_are_cross_entropies_even_when_extreme():
    logits, labels = logits_and_labels(CASES)
    logits[0, :] = [500, -500, 0, 0]
    expected = -log_softmax(logits.astype(float), -1)[np.arange(CASES), labels]
    np.testing.assert_allclose(metrics.losses(logits, labels), expected, rtol=1e-12)


def test_cross_entropy_is_that_of_scipy_and_keeps_tiny_losses():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 6)).astype(np.float32) * 5
    labels = rng.integers(0, 6, 50)
    expected = -scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    expected = expected[np.arange(50), labels]
    np.testing.assert_allclose(metrics.losses(logits, labels), expected)
    extreme = np.array([[60.0, 0.0, -2000.0], [0.0, 2000.0, 0.0]], np.float32)
    losses = metrics.losses(extreme, np.array([0, 0]))
    np.testing.assert_allclose(losses, [math.exp(-60), 2000])
