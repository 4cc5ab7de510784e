"""Rates of pooled pairs against all thresholds; intervals against simulations."""

import numpy as np
import pytest
from attack_studies import audit, study
from scipy import stats
from sklearn.metrics import roc_auc_score

from unlearn.errors import InputError
from unlearn.metrics.lira import (
    FORGET,
    OUT,
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


@pytest.mark.slow
@pytest.mark.parametrize("balanced", [True, False])
def test_rates_are_those_of_all_thresholds(balanced):
    rng = np.random.default_rng(1)
    reached, cases = np.zeros(2), 300
    for case in range(cases):
        scores = rng.normal(size=(40, 40))
        states = rng.choice(3, scores.shape, p=[0.93, 0.02, 0.05])
        scores += rng.uniform(0, 4) * (states == FORGET)
        scores = scores.round(case % 3 + 1)
        scores[rng.random(scores.shape) < 0.02] = np.nan
        p, n = ((states == s) & ~np.isnan(scores) for s in (FORGET, OUT))
        ours = evaluate(scores, states == FORGET, states == OUT, balanced=balanced)
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
    assert reached.min() > 0.75 * cases  # of the others, most are 0


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
    result = evaluate(scores, positive, ~positive)
    assert result.tpr_at_1fpr == 1
    assert np.isnan(result.tpr_at_01fpr)
    assert np.isnan(result.tpr_at_01fpr_interval).all()
    few = evaluate(scores[:, :10], positive[:, :10], ~positive[:, :10])
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
        result = evaluate(scores, states == FORGET, states == OUT)
        aucs.append(result.auc)
    assert np.std(aucs) == pytest.approx(result.null_sd, rel=0.1)
    assert np.mean(aucs) == pytest.approx(0.5, abs=4 * result.null_sd / 500**0.5)


def influences_by_hand(scores, positive, negative):
    """AUC, and by how much each pair moves it, from all comparisons."""
    influences = np.zeros(scores.shape)
    rows = [np.argwhere(group) for group in (positive, negative)]
    share = [1 / group.sum(axis=0) for group in (positive, negative)]
    share = [
        s / (s * g.sum(axis=0)).sum()
        for s, g in zip(share, (positive, negative), strict=True)
    ]
    wins = np.array(
        [
            [
                (scores[*p] > scores[*n]) + 0.5 * (scores[*p] == scores[*n])
                for n in rows[1]
            ]
            for p in rows[0]
        ]
    )
    v, w = (np.array([s[n] for _, n in of]) for s, of in zip(share, rows, strict=True))
    auc = v @ wins @ w
    for (s, n), weight, placed in zip(rows[0], v, wins @ w, strict=True):
        influences[s, n] = weight * (placed - auc)
    for (s, n), weight, placed in zip(rows[1], w, v @ wins, strict=True):
        influences[s, n] = weight * (placed - auc)
    return auc, influences


def test_the_interval_is_by_models_examples_and_pairs():
    rng = np.random.default_rng(4)
    x, states = study(rng, 27, 26, 1.0)
    x = x.round(1)
    positive, negative = states == FORGET, states == OUT
    auc, influences = influences_by_hand(x, positive, negative)
    for n in range(26):  # what positives gain and negatives lose
        p, q = positive[:, n], negative[:, n]
        common = (influences[p, n].sum() - influences[q, n].sum()) / 2
        influences[p, n] -= common / p.sum()
        influences[q, n] += common / q.sum()
    by_models = np.sum(influences.sum(1) ** 2) * 27 / 26
    by_examples = np.sum(influences.sum(0) ** 2) * 26 / 25
    half = np.sqrt(by_models + by_examples - np.sum(influences**2))
    found = evaluate(x, positive, negative)
    assert found.auc == pytest.approx(auc)
    reach = stats.t.ppf(0.975, 25) * half
    np.testing.assert_allclose(found.auc_interval, [auc - reach, auc + reach])
    wide = evaluate(x, positive, negative, comparisons=3).auc_interval
    reach = stats.t.ppf(1 - 0.025 / 3, 25) * half
    np.testing.assert_allclose(wide, [auc - reach, auc + reach])


def coverage(shift, *, repeats, size, count, comparisons=1):
    rng = np.random.default_rng(6)
    results = []
    for _ in range(repeats):
        x, states = study(rng, size, count, shift)
        x = x + rng.normal(0, 0.5, (size, 1))
        results.append(audit(u_lira, x, states, comparisons=comparisons))
    truth = 0.5 if shift == 0 else np.mean([r.auc for r in results])
    covered = [r.auc_interval[0] < truth < r.auc_interval[1] for r in results]
    rate = np.mean([r.tpr_at_1fpr for r in results])
    ends = np.array([r.tpr_at_1fpr_interval for r in results])
    return np.mean(covered), np.mean((ends[:, 0] <= rate) & (rate <= ends[:, 1]))


def test_the_interval_covers_the_mean_of_repeated_studies():
    for shift in (0.0, 0.7):
        covered, of_rate = coverage(shift, repeats=60, size=30, count=60)
        assert covered > 0.87 and of_rate > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_interval_covers_what_it_says(shift):
    """95 % within three deviations of 600 repeats: 93 to 97 %, if 95 were true."""
    covered, of_rate = coverage(shift, repeats=600, size=48, count=50)
    assert 0.923 <= covered <= 0.977
    assert 0.91 <= of_rate <= 0.985


def test_the_interval_of_a_rate_is_exact_where_pairs_are_independent():
    """One pair a model and an example: as many trials, the binomial interval."""
    scores = np.zeros((400, 400))
    np.fill_diagonal(scores, np.r_[np.full(30, 9.0), np.arange(370) / 1000])
    groups = np.eye(400, dtype=bool) & (np.arange(400) < 200), np.eye(400, dtype=bool)
    found = evaluate(scores, groups[0], groups[1] & ~groups[0], balanced=False)
    ends = stats.beta.ppf([0.025, 0.975], [30, 31], [171, 170])
    assert found.tpr_at_1fpr == pytest.approx(30 / 200, abs=0.01)
    np.testing.assert_allclose(found.tpr_at_1fpr_interval, ends, atol=0.012)


def test_nothing_found_has_an_upper_bound():
    rng = np.random.default_rng(7)
    states = np.argsort(rng.random((30, 40)), axis=0) % 3
    found = evaluate(-1.0 * (states == FORGET), states == FORGET, states == OUT)
    assert found.tpr_at_1fpr == 0 and found.tpr_at_1fpr_interval[0] == 0
    assert 0 < found.tpr_at_1fpr_interval[1] < 0.2


def test_one_answer_to_everything_finds_surely_nothing():
    """All scores tie: none of 300 pairs is found, as of 300 trials; else of 40."""
    rng = np.random.default_rng(7)
    states = np.argsort(rng.random((30, 40)), axis=0) % 3
    groups = states == FORGET, states == OUT
    found = evaluate(np.zeros(states.shape), *groups)
    end = 1 - 0.025 ** (1 / groups[0].sum())
    assert found.tpr_at_1fpr_interval == pytest.approx((0, end))
    noise = rng.normal(size=states.shape) - 9.0 * groups[0]
    wide = evaluate(noise, *groups).tpr_at_1fpr_interval
    assert wide == pytest.approx((0, 1 - 0.025 ** (1 / 40)))


def test_one_model_has_no_interval():
    x, states = study(np.random.default_rng(6), 3, 40)
    groups = states[:1] == FORGET, states[:1] == OUT
    result = evaluate(x[:1], *groups, balanced=False)
    assert np.isnan(result.auc_interval).all()
    assert np.isnan(result.tpr_at_1fpr_interval).all()


def test_roc_curve_has_the_auc_as_its_area():
    x, states = study(np.random.default_rng(8), 12, 50, 1.0, balanced=False)
    groups = states == FORGET, states == OUT
    found = set()
    for balanced in (True, False):
        fpr, tpr = roc_curve(u_lira(x, states), *groups, balanced=balanced)
        expected = evaluate(u_lira(x, states), *groups, balanced=balanced)
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


def test_of_few_models_an_auc_of_one_has_an_interval():
    states = np.repeat([[True], [False]], 3, axis=0)
    found = evaluate(np.where(states, 9.0, 0.0), states, ~states)
    assert found.auc == 1 and found.auc_interval == (pytest.approx(0.025), 1.0)
    states = np.repeat([[True], [False]], 24, axis=0) * np.ones((1, 30), bool)
    found = evaluate(np.where(states, 9.0, 0.0), states, ~states)
    assert found.auc_interval == (1.0, 1.0)
