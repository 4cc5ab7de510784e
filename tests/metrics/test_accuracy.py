"""Accuracies, confusions and losses against computations by their formulas."""

import math
import warnings

import numpy as np
import pytest
import scipy.special
from metric_cases import CASES, logits_and_labels
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score

from unlearn import metrics
from unlearn.metrics.accuracy import class_accuracies, in_blocks


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


def test_outputs_are_all_that_the_standard_metrics_need():
    logits, labels = logits_and_labels(50, 4, seed=1)
    seen = metrics.outputs(logits, labels)
    np.testing.assert_array_equal(seen.losses, metrics.losses(logits, labels))
    np.testing.assert_array_equal(seen.predictions, logits.argmax(-1))
    kept = {"test_losses": seen.losses, "test_predictions": seen.predictions}
    for evaluation in ({"test_logits": logits}, kept):
        found = metrics.outputs_of(evaluation, "test", labels)
        np.testing.assert_array_equal(found.losses, seen.losses)
        np.testing.assert_array_equal(found.predictions, seen.predictions)


def test_class_accuracies_are_those_of_the_confusion_matrix():
    logits, labels = logits_and_labels(60, 5, seed=2)
    labels = np.where(labels == 3, 1, labels)  # a class without examples
    matrix = metrics.confusion_matrix(logits, labels)
    found = class_accuracies(logits.argmax(-1), labels, 5)
    np.testing.assert_array_equal(found, metrics.per_class_accuracy(matrix))
    assert np.isnan(found[3]) and np.isfinite(np.delete(found, 3)).all()


@pytest.mark.parametrize("seed", range(5))
def test_balanced_accuracy_is_that_of_sklearn(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(5, 80, p=[0.6, 0.2, 0.1, 0.1, 0])
    predictions = rng.integers(0, 6, 80)  # a class without examples, one unheard of
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = balanced_accuracy_score(labels, predictions)
    assert metrics.balanced_accuracy(predictions, labels) == pytest.approx(expected)


def test_always_the_most_frequent_class_is_worth_one_over_their_number():
    labels = np.repeat([0, 1, 2], [90, 6, 4])
    always = np.zeros(100, int)
    assert metrics.balanced_accuracy(always, labels) == pytest.approx(1 / 3)
    assert metrics.balanced_accuracy(labels, labels) == 1
    assert math.isnan(metrics.balanced_accuracy(always[:0], labels[:0]))


@pytest.mark.parametrize("size", [0, 1, 7, 8])
def test_blocks_change_nothing_and_stay_small(size):
    x, seen = np.random.default_rng(0).normal(size=(size, 3)), []

    def total(rows):
        seen.append(len(rows))
        return rows.sum(axis=1)

    np.testing.assert_array_equal(in_blocks(total, x, entries=6), x.sum(axis=1))
    assert max(seen) <= 2 and sum(seen) == size
    np.testing.assert_array_equal(in_blocks(total, x, entries=1), x.sum(axis=1))
