"""Population attacks against computations as direct as their formulas."""

import numpy as np
import pytest
from metric_cases import CASES, logits_and_labels
from scipy.special import expit, softmax
from scipy.stats import entropy, mannwhitneyu
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.svm import SVC

from unlearn import metrics
from unlearn.metrics.membership import (
    confidence_attack,
    regression_attack,
    threshold_attack,
)


def test_threshold_attack_by_all_pairs_and_all_thresholds():
    rng = np.random.default_rng(1)
    found = 0
    for case in range(CASES):
        forget = rng.exponential(rng.uniform(0.01, 0.5), rng.integers(5, 60))
        test = rng.exponential(1, rng.integers(100, 220))
        if case % 2:
            forget, test = forget.round(2), test.round(2)
        ours = threshold_attack(forget, test)
        wins = (forget[:, None] < test) + 0.5 * (forget[:, None] == test)
        assert ours.auc == pytest.approx(wins.mean())
        allowed = np.mean(test <= forget[:, None], axis=1) <= 0.01
        best = np.mean(forget <= forget[allowed].max(initial=-1))
        assert ours.tpr_at_1fpr == pytest.approx(best)
        found += best > 0
        if case < 20:
            u = mannwhitneyu(-forget, -test).statistic
            assert ours.auc == pytest.approx(u / wins.size)
    assert found > CASES / 2


def test_one_per_cent_of_fewer_than_a_hundred_is_no_rate():
    """The rate at no false alarm would be 1 / (m + 1) of sets that are alike."""
    forget, test = np.random.default_rng(0).random((2, 99))
    assert np.isnan(threshold_attack(forget, test).tpr_at_1fpr)
    assert 0 < threshold_attack(forget, test).auc < 1


def test_losses_that_are_none_and_empty_sets_have_no_attack():
    some = np.random.default_rng(0).random(120)
    for broken in (np.inf, np.nan):
        losses = np.where(np.arange(120) == 3, broken, some)
        assert np.isnan(threshold_attack(losses, some)).all()
    for number in range(3):
        sets = [some, some, some]
        sets[number] = some[:0]
        assert np.isnan(confidence_attack(*sets))


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


def share_of_true_negatives(members, others, forget):
    """As released, 1 - mean(pred == member) on the forget set, here from a kernel
    matrix: `gamma="auto"` of one feature is 1."""
    seen = np.concatenate([members[: len(others)], others])
    member = np.arange(len(seen)) < len(others)
    attack = SVC(C=3, kernel="precomputed")
    attack.fit(np.exp(-((seen[:, None] - seen) ** 2)), member)
    return np.mean(~attack.predict(np.exp(-((forget[:, None] - seen) ** 2))))


@pytest.mark.slow
def test_confidence_attack_is_the_share_of_true_negatives():
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(CASES):
        members, others = rng.beta(5, 1, 40), rng.beta(2, 2, rng.integers(10, 30))
        forget = rng.beta(3, 1, 20)
        shares.append(share_of_true_negatives(members, others, forget))
        assert confidence_attack(members, others, forget) == pytest.approx(shares[-1])
    assert np.std(shares) > 0.1


def test_the_table_has_the_attack_on_confidence_not_on_entropy():
    """Unlearn-Sparse gives its machine the entropies, under the same name."""
    logits, labels = logits_and_labels(200, 3, seed=10)
    logits[:150][np.arange(150), labels[:150]] += 2
    test_logits, test_labels = logits_and_labels(120, 3, seed=11)
    forget, retain = np.arange(100, 200), np.arange(100)
    row = metrics.measure(logits, labels, forget, retain, test_logits, test_labels)
    p, test_p = softmax(logits, axis=1), softmax(test_logits, axis=1)
    own, test_own = (
        x[np.arange(len(x)), y] for x, y in ((p, labels), (test_p, test_labels))
    )
    chosen = (np.arange(100) * 1.2).astype(int)  # as many, evenly spaced
    share = share_of_true_negatives(own[retain], test_own[chosen], own[forget])
    assert row["mia_confidence"] == pytest.approx(share)
    entropies = entropy(p, axis=1), entropy(test_p, axis=1)[chosen]
    sparse = share_of_true_negatives(
        entropies[0][retain], entropies[1], entropies[0][forget]
    )
    assert abs(sparse - share) > 0.05


def logistic_by_newton(x, y):
    """Slope and offset with the least log loss in sum + slope**2 / 2."""
    design, beta = np.stack([x, np.ones_like(x)], 1), np.zeros(2)
    for _ in range(20):
        p = expit(design @ beta)
        gradient = design.T @ (p - y) + beta * [1, 0]
        hessian = (design.T * (p * (1 - p))) @ design + np.diag([1, 0])
        beta = beta - np.linalg.solve(hessian, gradient)
    return beta


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "splits"), [(6, 10), (50, 2)])
def test_regression_attack_is_a_logistic_regression_a_split(cases, splits):
    rng = np.random.default_rng(8)
    folds = StratifiedShuffleSplit(n_splits=splits, random_state=0)
    for _ in range(cases):
        size = int(rng.integers(10, 30))
        forget, test = rng.exponential(0.5, size), rng.exponential(1.5, 3 * size)
        x, y = np.append(forget, test[::3]), np.arange(2 * size) < size
        accuracies = []
        for train, held_out in folds.split(x, y):
            slope, offset = logistic_by_newton(x[train], y[train])
            guess = slope * x[held_out] + offset > 0
            accuracies.append(np.mean(guess == y[held_out]))
        ours = regression_attack(forget, test, splits=splits)
        assert ours == pytest.approx(np.mean(accuracies))


def released_modified_entropy(p, labels):
    """With both slips: log p for log(1 - p), and `[:, labels]` for one column a row."""
    weights, logs = p.copy(), np.log(p)
    weights[:, labels] = 1 - p[:, labels]
    logs[:, labels] = np.log(p)[:, labels]
    return -np.sum(weights * logs, axis=1)


def test_modified_entropy_by_its_formula_and_not_by_the_published_slips():
    """The reversed log, and all labels' columns for the example's own."""
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(0, 3, (CASES, 5)), draw.integers(0, 5, CASES)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected, reversed_log, columns = [], [], []
    for row, y in zip(p, labels, strict=True):
        others = [q for i, q in enumerate(row) if i != y]
        first = -(1 - row[y]) * np.log(row[y])
        expected.append(first - sum(q * np.log(1 - q) for q in others))
        reversed_log.append(first - sum(q * np.log(q) for q in others))
        # of a thousand examples, every class is some example's label
        columns.append(-sum((1 - q) * np.log(q) for q in row))
    ours = metrics.modified_entropy(logits, labels)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)
    released = released_modified_entropy(p, labels)
    np.testing.assert_allclose(released, columns)
    for slip in (reversed_log, columns):
        assert np.mean(np.abs(ours - slip) > 0.1) > 0.5
    # released, the value of an example depends on those that it is computed with
    each = [slice(i, i + 1) for i in range(CASES)]
    alone = [released_modified_entropy(p[i], labels[i])[0] for i in each]
    np.testing.assert_allclose(alone, reversed_log)
    alone = [metrics.modified_entropy(logits[i], labels[i])[0] for i in each]
    np.testing.assert_allclose(alone, ours)
    sure = np.array([[900.0, 0, 0], [0, 900.0, 0]])
    right, wrong = metrics.modified_entropy(sure, np.array([0, 0]))
    assert right == 0 and 900 < wrong < 1000
