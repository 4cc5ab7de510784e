"""Rates of pooled pairs against all thresholds; intervals against simulations."""

import numpy as np
import pytest
from attack_studies import (
    CASES,
    audit,
    study,
)
from sklearn.metrics import roc_auc_score

from unlearn.errors import InputError
from unlearn.metrics.lira import (
    FORGET,
    OUT,
    RETAIN,
    u_lira,
)
from unlearn.metrics.roc import evaluate, roc_curve


def direct_rates(scores, positive, negative, weights):
    """AUC by all pairs, its null deviation, TPRs by all thresholds that raise them."""
    a, b = scores[positive], scores[negative]
    v, w = weights[positive] / weights[positive].sum(), weights[negative]
    w = w / w.sum()
    wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    n, m = (1 / np.sum(x**2) for x in (v, w))  # pairs of equal weight with their noise
    fpr, tpr = (b >= a[:, None]) @ w, (a >= a[:, None]) @ v
    at = [
        tpr[fpr <= limit + 1e-12].max(initial=0) if limit * m >= 1 else np.nan
        for limit in (0.01, 0.001)
    ]
    return v @ wins @ w, np.sqrt((n + m + 1) / (12 * n * m)), *at


@pytest.mark.parametrize("balanced", [True, False])
def test_rates_are_those_of_all_thresholds(balanced):
    rng = np.random.default_rng(1)
    reached = np.zeros(2)
    for case in range(CASES):
        scores = rng.normal(size=(40, 40))
        states = rng.choice(3, scores.shape, p=[0.93, 0.02, 0.05])
        scores += rng.uniform(0, 4) * (states == FORGET)
        scores = scores.round(case % 3 + 1)
        scores[rng.random(scores.shape) < 0.02] = np.nan
        p, n = ((states == s) & ~np.isnan(scores) for s in (FORGET, OUT))
        ours = evaluate(
            scores, states == FORGET, states == OUT, balanced=balanced, rounds=0
        )
        weights = np.ones(scores.shape)
        if balanced:
            p, n = (g & p.any(axis=0) & n.any(axis=0) for g in (p, n))
            share = [g / np.maximum(g.sum(axis=0), 1) for g in (p, n)]
            weights = share[0] + share[1]
        auc, null_sd, *rates = direct_rates(scores, p, n, weights)
        assert (ours.auc, ours.null_sd) == pytest.approx((auc, null_sd))
        assert (ours.tpr_at_1fpr, ours.tpr_at_01fpr) == pytest.approx(
            rates, nan_ok=True
        )
        assert (ours.positives, ours.negatives) == (p.sum(), n.sum())
        reached += np.greater(rates, 0)
        if case % 10 == 0:
            pair = p | n
            theirs = roc_auc_score(p[pair], scores[pair], sample_weight=weights[pair])
            assert ours.auc == pytest.approx(theirs)
    assert np.isnan(ours.auc_interval).all()
    assert reached.min() > 0.75 * CASES  # of the others, most are 0


def test_balanced_changes_nothing_in_a_balanced_study():
    x, states = study(np.random.default_rng(2), 24, 200, 1.0)
    results = [audit(u_lira, x, states, balanced=b) for b in (True, False)]
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_rate_may_be_reached_exactly():
    for false_alarms, negatives in ((29, 2900), (7, 700), (1, 1000)):
        scores = np.arange(negatives + 5.0)[::-1]
        positive = np.zeros(len(scores), bool)
        positive[false_alarms : false_alarms + 5] = True  # below that many negatives
        result = evaluate(scores[None], positive[None], ~positive[None], balanced=False)
        exact = "tpr_at_01fpr" if negatives == 1000 else "tpr_at_1fpr"
        assert getattr(result, exact) == 1


def test_too_few_negatives_have_no_rate():
    scores = np.arange(600.0).reshape(6, 100)
    positive = np.zeros((6, 100), bool)
    positive[5] = True
    result = evaluate(scores, positive, ~positive, rounds=20)
    assert result.tpr_at_1fpr == 1
    assert np.isnan(result.tpr_at_01fpr)
    assert np.isnan(result.tpr_at_01fpr_interval).all()
    few = evaluate(scores[:, :10], positive[:, :10], ~positive[:, :10], rounds=0)
    assert np.isnan(few.tpr_at_1fpr)


def test_uneven_states_mislead_a_pooled_auc():
    rng = np.random.default_rng(30)
    x, states = study(rng, 24, 2000, balanced=False)
    assert audit(u_lira, x, states, balanced=False).auc > 0.51
    assert audit(u_lira, x, states).auc == pytest.approx(0.5, abs=0.008)


def test_null_sd_is_that_of_independent_pairs():
    rng = np.random.default_rng(3)
    states = np.argsort(rng.random((12, 30)), axis=0) % 3
    aucs = []
    for _ in range(500):
        scores = rng.normal(size=states.shape)
        result = evaluate(scores, states == FORGET, states == OUT, rounds=0)
        aucs.append(result.auc)
    assert np.std(aucs) == pytest.approx(result.null_sd, rel=0.1)
    assert np.mean(aucs) == pytest.approx(0.5, abs=4 * result.null_sd / 500**0.5)


@pytest.mark.parametrize("examples", [True, False])
def test_the_bootstrap_repeats_whole_models_and_examples(examples):
    """Against models and examples copied as often as they are drawn."""
    rng = np.random.default_rng(4)
    x, states = study(rng, 15, 12, 1.0, balanced=False)
    p, n = states == FORGET, states == OUT
    weights = np.where(p, 1 / p.sum(axis=0), 1 / n.sum(axis=0))
    models = np.array([5, 5, 1, 2, 2, 3, 0, 4, 4, 1, 1, 1, 0, 3, 5])
    draws = []
    replay = np.random.default_rng(7)
    for _ in range(50):
        drawn = replay.integers(0, 6, 6)
        rows = np.concatenate([np.flatnonzero(models == m) for m in drawn])
        columns = replay.integers(0, 12, 12) if examples else np.arange(12)
        s, scores, w = (v[np.ix_(rows, columns)] for v in (states, x, weights))
        used = s != RETAIN
        draws.append(roc_auc_score(s[used], scores[used], sample_weight=w[used]))
    result = evaluate(
        x,
        p,
        n,
        models=models,
        examples=examples,
        rounds=50,
        seed=7,
    )
    expected = np.quantile(draws, [0.025, 0.975])
    np.testing.assert_allclose(result.auc_interval, expected)


def test_the_interval_covers_the_mean_of_repeated_studies():
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.7):
        results = []
        for _ in range(40):
            x, states = study(rng, 18, 60, shift)
            x = x + rng.normal(0, 0.5, (18, 1))
            results.append(audit(u_lira, x, states, rounds=80))
        truth = np.mean([r.auc for r in results])
        covered = [r.auc_interval[0] < truth < r.auc_interval[1] for r in results]
        assert np.mean(covered) > 0.88


def test_one_model_has_no_interval_and_seeds_repeat():
    x, states = study(np.random.default_rng(6), 3, 40)
    groups = states[:1] == FORGET, states[:1] == OUT
    result = evaluate(x[:1], *groups, balanced=False)
    assert np.isnan(result.auc_interval).all()
    x, states = study(np.random.default_rng(6), 9, 40)
    first, second, third = (
        audit(u_lira, x, states, rounds=30, seed=s) for s in (0, 0, 1)
    )
    np.testing.assert_equal(first, second)
    assert first.auc_interval != third.auc_interval
    assert first.auc == third.auc


def test_roc_curve_has_the_auc_as_its_area():
    x, states = study(np.random.default_rng(8), 12, 50, 1.0, balanced=False)
    groups = states == FORGET, states == OUT
    found = set()
    for balanced in (True, False):
        fpr, tpr = roc_curve(u_lira(x, states), *groups, balanced=balanced)
        expected = evaluate(u_lira(x, states), *groups, balanced=balanced, rounds=0)
        assert np.trapezoid(tpr, fpr) == pytest.approx(expected.auc)
        found.add(round(expected.auc, 6))
    assert len(found) == 2


def test_evaluate_refuses_what_it_cannot_measure():
    scores, no = np.zeros((4, 3)), np.zeros((4, 3), bool)
    yes = ~no
    half = np.arange(12).reshape(4, 3) % 2 == 0
    cases = [
        ((scores, half, yes), "both positive and negative"),
        ((scores, no, yes), "no positive pair has a score"),
        ((np.where(half, 0, np.nan), half, ~half), "no negative pair has a score"),
        ((scores, half[:3], ~half), "alike"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            evaluate(*arguments)
    first = np.broadcast_to(np.arange(3) == 0, (4, 3))
    with pytest.raises(InputError, match="no positive pair has a score"):
        evaluate(scores, first, ~first)  # no example is in both groups
    with pytest.raises(InputError, match="models has shape"):
        evaluate(scores, half, ~half, models=[1, 2])
