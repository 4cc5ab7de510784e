"""Every metric against a computation as direct as its formula."""

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import mannwhitneyu

from unlearn import metrics
from unlearn.metrics.membership import (
    confidence_attack,
    regression_attack,
    threshold_attack,
)


def random_logits(size=60, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(size, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, size)


def test_accuracies_and_confusion():
    logits, labels = random_logits()
    predicted = [int(np.argmax(row)) for row in logits]
    hits = [p == y for p, y in zip(predicted, labels, strict=True)]
    assert metrics.accuracy(logits, labels) == pytest.approx(sum(hits) / 60)
    matrix = metrics.confusion_matrix(logits, labels)
    for a in range(4):
        for b in range(4):
            pairs = zip(labels, predicted, strict=True)
            assert matrix[a, b] == sum((y, p) == (a, b) for y, p in pairs)
    by_class = metrics.per_class_accuracy(np.pad(matrix, (0, 1)))
    for c in range(4):
        mine = [h for h, y in zip(hits, labels, strict=True) if y == c]
        assert by_class[c] == pytest.approx(np.mean(mine))
    assert np.isnan(by_class[4])


def test_losses_are_cross_entropies_even_when_extreme():
    logits, labels = random_logits()
    logits[0] = [500, -500, 0, 0]
    expected = -log_softmax(logits.astype(float), -1)[np.arange(60), labels]
    np.testing.assert_allclose(metrics.losses(logits, labels), expected, rtol=1e-12)


def test_auc_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(1)
    for n, m in ((30, 50), (200, 20)):
        forget, test = np.round(rng.exponential(1, n), 1), rng.exponential(1.5, m)
        u = mannwhitneyu(-forget, -test).statistic / (n * m)
        assert threshold_attack(forget, test).auc == pytest.approx(u)


def test_tpr_at_one_percent_fpr_by_brute_force():
    rng = np.random.default_rng(2)
    forget, test = rng.exponential(0.2, 300), rng.exponential(1.0, 400)
    best = 0.0
    for threshold in np.concatenate([forget, test]):
        if np.mean(test <= threshold) <= 0.01:
            best = max(best, np.mean(forget <= threshold))
    assert threshold_attack(forget, test).tpr_at_1fpr == pytest.approx(best)
    assert best > 0.02


def test_auc_null_is_calibrated():
    rng = np.random.default_rng(3)
    draws = [threshold_attack(*rng.normal(size=(2, 80))) for _ in range(400)]
    aucs = np.array([d.auc for d in draws])
    assert abs(aucs.mean() - 0.5) < 0.01
    assert aucs.std() == pytest.approx(draws[0].auc_null_sd, rel=0.15)


def test_attacks_see_members_and_nothing_where_there_is_nothing():
    rng = np.random.default_rng(4)
    same = rng.exponential(1, (2, 400))
    low, high = rng.exponential(0.1, 400), rng.exponential(3, 400)
    assert regression_attack(*same) == pytest.approx(0.5, abs=0.06)
    assert regression_attack(low, high) > 0.8
    confident, unsure = 1 - rng.beta(1, 30, 400), rng.beta(2, 2, 400)
    assert confidence_attack(confident, unsure, confident) < 0.2
    assert confidence_attack(confident, unsure, unsure) > 0.8


def test_confidence_attack_is_the_share_of_true_negatives():
    """Against the released definition: 1 - mean(pred == member) on the forget set."""
    from sklearn.svm import SVC

    rng = np.random.default_rng(5)
    members, others, forget = rng.beta(5, 1, 90), rng.beta(2, 2, 60), rng.beta(3, 1, 40)
    attack = SVC(C=3, gamma="auto", kernel="rbf")
    attack.fit(np.r_[members[:60], others][:, None], np.r_[np.ones(60), np.zeros(60)])
    expected = np.mean(attack.predict(forget[:, None]) == 0)
    assert confidence_attack(members, others, forget) == pytest.approx(expected)


def test_measure_in_class_forgetting_keeps_the_class_out_of_test_accuracy():
    logits, labels = random_logits(300, 3, seed=6)
    test_logits, test_labels = random_logits(200, 3, seed=7)
    forget = np.flatnonzero(labels == 1)
    retain = np.flatnonzero(labels != 1)
    row = metrics.measure(
        logits, labels, forget, retain, test_logits, test_labels, forget_classes=(1,)
    )
    hit = np.argmax(test_logits, -1) == test_labels
    assert row["test_accuracy"] == pytest.approx(hit[test_labels != 1].mean())
    assert row["test_forget_accuracy"] == pytest.approx(hit[test_labels == 1].mean())
    u = mannwhitneyu(
        -metrics.losses(logits, labels)[forget],
        -metrics.losses(test_logits, test_labels)[test_labels == 1],
    )
    count = len(forget) * np.sum(test_labels == 1)
    assert row["mia_auc"] == pytest.approx(u.statistic / count)
    assert set(metrics.COLUMNS) <= row.keys()
    assert all(0 <= row[name] <= 1 for name in metrics.COLUMNS)


def test_modified_entropy_by_its_formula_and_not_by_the_published_slips():
    """1,000 random cases against a loop; the reversed log and all labels' columns."""
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(0, 3, (1000, 5)), draw.integers(0, 5, 1000)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected, reversed_log = [], []
    for row, y in zip(p, labels, strict=True):
        others = [q for i, q in enumerate(row) if i != y]
        first = -(1 - row[y]) * np.log(row[y])
        expected.append(first - sum(q * np.log(1 - q) for q in others))
        reversed_log.append(first - sum(q * np.log(q) for q in others))
    ours = metrics.modified_entropy(logits, labels)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(ours - reversed_log).max() > 0.1
    every = p.copy()
    every[:, labels] = 0  # all columns that are some example's label: none is left
    assert not every.any() and ours.min() < ours.max()
    sure = np.array([[900.0, 0, 0], [0, 900.0, 0]])
    right, wrong = metrics.modified_entropy(sure, np.array([0, 0]))
    assert right == 0 and 900 < wrong < 1000
