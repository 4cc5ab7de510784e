"""Per-example attacks against their formulas, model by model, example by example."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import digamma, expit, gammaln, polygamma
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity

from unlearn import metrics
from unlearn.errors import InputError
from unlearn.metrics.bavaria import bavaria, fit_prior
from unlearn.metrics.lira import (
    FORGET,
    MIN_SD,
    OUT,
    RETAIN,
    lira_offline,
    lira_online,
    margins,
    moments,
    u_lira,
)
from unlearn.metrics.rmia import rmia
from unlearn.metrics.roc import evaluate, roc_curve
from unlearn.metrics.ruli import ruli_efficacy, ruli_privacy

CASES = 1000  # scored pairs of each attack, or ROC curves, at least

ATTACKS = {
    "lira_online": lambda x, s: lira_online(x, s, positive=FORGET),
    "lira_global": lambda x, s: lira_online(x, s, positive=FORGET, variance="global"),
    "lira_offline": lambda x, s: lira_offline(x, s, positive=FORGET),
    "u_lira": u_lira,
    "rmia": lambda x, s: rmia(x, s, positive=FORGET),
    "rmia_offline": lambda x, s: rmia(x, s, positive=FORGET, offline=True),
    "bavaria": lambda x, s: bavaria(x, s, positive=FORGET),
    "ruli": ruli_privacy,
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def study(rng, size, count, shift=0.0, *, balanced=True, spread=(0.3, 2.0)):
    """Margins in which a third of the pairs are FORGET and `shift` sd higher."""
    if balanced:
        states = np.argsort(rng.random((size, count)), axis=0) % 3
    else:
        states = rng.integers(0, 3, (size, count))
    noise = rng.normal(size=(size, count)) + shift * (states == FORGET)
    return noise * rng.uniform(*spread, count) + rng.normal(0, 3, count), states


def audit(attack, x, states, positive=FORGET, **options):
    options = {"rounds": 0} | options
    return evaluate(attack(x, states), states == positive, states == OUT, **options)


def used(states, row, group, other):
    """Rows of `group` for the score of `row`: without itself, or without its partner.

    `states` are of one example. The partner of the k-th row of `other` is the k-th of
    the group, in a circle.
    """
    rows, rivals = (np.flatnonzero(states == s) for s in (group, other))
    place = np.searchsorted(rivals, row, side="right") - 1
    if row in rows or not len(rows):
        return rows[rows != row]
    return rows[rows != rows[place % len(rows)]]


def others(x, states, row, column, state, positive):
    """Margins of one example in other models: without the row and its partner."""
    other = OUT if state == positive else positive
    return x[used(states[:, column], row, state, other), column]


def by_loops(x, states, positive, score, *, offline=False):
    """`score(margin, positives, outs)` of every pair that can have one."""
    needed = (OUT,) if offline else (positive, OUT)
    result = np.full(x.shape, np.nan)
    for row, column in np.argwhere((states == positive) | (states == OUT)):
        if all(np.sum(states[:, column] == s) >= 3 for s in needed):
            sides = [
                others(x, states, row, column, s, positive) for s in (positive, OUT)
            ]
            result[row, column] = score(x[row, column], *sides)
    return result


def random_studies(number, *, size=(7, 14), count=5, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        yield rng, *study(rng, rng.integers(*size), count, 1.0, balanced=False)


# Margins


def test_margins_are_logit_scaled_confidences():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (25, 40, 5)), rng.integers(0, 5, 40)
    ours = margins(logits, labels)
    assert ours.size == CASES
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    own = p[:, np.arange(40), labels]
    np.testing.assert_allclose(ours, np.log(own / (1 - own)), rtol=1e-9)
    for row, phi in zip(logits, ours, strict=True):
        np.testing.assert_allclose(np.logaddexp(0, -phi), metrics.losses(row, labels))


def test_margins_of_extreme_logits_are_exact():
    logits = np.float32([[500, -500, 0], [-2e4, 2e4, 0], [40, 0, 0]])
    expected = [500, -4e4, 40 - np.log(2)]
    np.testing.assert_allclose(margins(logits, [0, 0, 0]), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((4, 1)), 0),
        (np.zeros((4, 3)), 3),
        (np.zeros((4, 3)), np.zeros(5, int)),
    ],
)
def test_margins_need_labels_that_fit(logits, labels):
    with pytest.raises(InputError, match="labels"):
        margins(logits, labels)


# ROC


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


# The attacks against loops


def gaussian_ratio(x, inside, outside):
    sides = [
        stats.norm.logpdf(x, np.mean(v), max(np.std(v, ddof=1), MIN_SD))
        for v in (inside, outside)
    ]
    return sides[0] - sides[1]


@pytest.mark.parametrize("positive", [RETAIN, FORGET])
def test_lira_is_a_refit_without_the_model_and_its_partner(positive):
    scored = np.zeros(2)
    for _, x, states in random_studies(60):
        both = by_loops(x, states, positive, gaussian_ratio)
        out = by_loops(
            x,
            states,
            positive,
            lambda v, _, out: (v - np.mean(out)) / np.std(out, ddof=1),
            offline=True,
        )
        ours = lira_online(x, states, positive=positive)
        np.testing.assert_allclose(ours, both, rtol=1e-7, atol=1e-7)
        ours = lira_offline(x, states, positive=positive)
        np.testing.assert_allclose(ours, out, rtol=1e-7, atol=1e-7)
        if positive == FORGET:
            np.testing.assert_array_equal(
                u_lira(x, states), lira_online(x, states, positive=2)
            )
        scored += np.isfinite([both, out]).sum(axis=(1, 2))
    assert scored.min() >= CASES


def pooled_sd(x, states, row, group, other):
    """Of deviations from each example's own mean."""
    squares = freedom = 0
    for values, mine in zip(x.T, states.T, strict=True):
        left = values[used(mine, row, group, other)]
        if len(left) > 1:
            squares += np.sum((left - left.mean()) ** 2)
            freedom += len(left) - 1
    return np.sqrt(squares / freedom)


def test_global_variance_is_pooled_within_examples():
    scored = 0
    for _, x, states in random_studies(25, size=(12, 20)):
        online = lira_online(x, states, variance="global")
        offline = lira_offline(x, states, variance="global")
        for row, column in np.argwhere(np.isfinite(online)):
            density = []
            for state, other in ((RETAIN, OUT), (OUT, RETAIN)):
                mean = others(x, states, row, column, state, RETAIN).mean()
                sd = pooled_sd(x, states, row, state, other)
                density.append(stats.norm.logpdf(x[row, column], mean, sd))
            assert online[row, column] == pytest.approx(density[0] - density[1])
            above = (x[row, column] - mean) / sd
            assert offline[row, column] == pytest.approx(above)
            scored += 1
    assert scored >= CASES


def test_the_released_global_variance_is_another():
    """That of all margins together, which is mostly how examples differ."""
    x, states = study(np.random.default_rng(31), 24, 200, 1.5, spread=(1, 1))
    released = x * 0
    for group, sign in ((FORGET, 1), (OUT, -1)):
        values = np.where(states == group, x, np.nan)
        mean, sd = np.nanmean(values, axis=0), np.nanstd(values)
        released += sign * stats.norm.logpdf(x, mean, sd)
    ours = ATTACKS["lira_global"](x, states)
    pairs = states != RETAIN
    assert np.median(np.abs(ours[pairs])) > 3 * np.median(np.abs(released[pairs]))
    assert audit(ATTACKS["lira_global"], x, states).auc > 0.8


@pytest.mark.parametrize("variance", ["per_example", "global"])
def test_a_model_is_scored_without_its_own_margin(variance):
    """Moving one margin moves its own score only by the density at the new place."""
    x, states = study(np.random.default_rng(9), 12, 6, 1.0)
    for group, other in ((RETAIN, OUT), (OUT, RETAIN)):
        fitted = moments(x, states == group, states == other)
        for row, column in np.argwhere(states == group):
            moved = x.copy()
            moved[row, column] += 1e6
            again = moments(moved, states == group, states == other)
            for old, new in zip(fitted, again, strict=True):
                np.testing.assert_allclose(new[row], old[row], rtol=1e-6)
    scores = [lira_offline(v, states, variance=variance) for v in (x, moved)]
    elsewhere = np.arange(6) != column
    np.testing.assert_allclose(
        scores[1][row, elsewhere], scores[0][row, elsewhere], rtol=1e-9
    )


@pytest.mark.parametrize("positive", [RETAIN, FORGET])
@pytest.mark.parametrize("offline", [False, True])
def test_rmia_is_the_triple_loop(positive, offline):
    def ratio(value, inside, outside):
        p_out = expit(outside).mean()
        if offline:
            reference = 0.5 * (1.3 * p_out + 0.7)
        else:
            reference = 0.5 * (expit(inside).mean() + p_out)
        return expit(value) / reference

    def z_ratio(z, s):
        p = expit(np.delete(z, s)).mean()
        p = 0.5 * (1.3 * p + 0.7) if offline else p
        return expit(z[s]) / p

    scored = np.zeros((3, 2))
    for rng, x, states in random_studies(130):
        population = rng.normal(0, 2, (len(x), 7))
        ratios = by_loops(x, states, positive, ratio, offline=offline)
        z_ratios = [[z_ratio(z, s) for z in population.T] for s in range(len(x))]
        for i, gamma in enumerate((0.8, 1.0, 1.5)):
            for j, z in enumerate((None, population)):
                expected = np.full(x.shape, np.nan)
                for s, n in np.argwhere(~np.isnan(ratios)):
                    against = z_ratios[s]
                    if z is None:
                        against = [
                            ratios[s, m]
                            for m in range(x.shape[1])
                            if m != n and states[s, m] == OUT and ratios[s, m] > 0
                        ]
                    if against:
                        wins = sum(ratios[s, n] / r >= gamma for r in against)
                        expected[s, n] = wins / len(against)
                options = dict(gamma=gamma, offline=offline, population=z)
                ours = rmia(x, states, positive=positive, **options)
                np.testing.assert_allclose(ours, expected, atol=1e-12)
                scored[i, j] += np.isfinite(expected).sum()
    assert scored.min() >= CASES


def test_rmia_sees_differences_that_probabilities_round_away():
    """In float32, p(x) is 1 from a margin of 17, and all ratios tie."""
    rng = np.random.default_rng(10)
    x, states = study(rng, 30, 40, 3.0, spread=(0.5, 0.5))
    x = x - x.mean(axis=0) + 21
    assert np.all(np.float32(1) / (1 + np.exp(-x, dtype=np.float32)) == 1)
    assert audit(ATTACKS["rmia"], x, states).auc > 0.8
    assert np.isfinite(rmia(x - 1e4, states)[states != FORGET]).all()


@pytest.mark.parametrize("bandwidth", [1.0, 0.3])
def test_ruli_is_scikit_learns_kernel_density(bandwidth):
    def ratio(x, inside, outside):
        sides = [
            KernelDensity(bandwidth=bandwidth).fit(v[:, None]).score_samples([[x]])[0]
            for v in (inside, outside)
        ]
        return sides[0] - sides[1]

    scored = 0
    for _, x, states in random_studies(50):
        expected = by_loops(x, states, FORGET, ratio)
        ours = ruli_privacy(x, states, bandwidth=bandwidth)
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-8)
        scored += np.isfinite(expected).sum()
    assert scored >= CASES


def test_ruli_efficacy_compares_unlearned_with_retrained():
    scored = 0
    for rng, x, states in random_studies(50):
        retrained = rng.normal(size=x.shape)
        ours = ruli_efficacy(x, retrained, states)
        expected = np.full((2, *x.shape), np.nan)
        for column in range(x.shape[1]):
            rows = np.flatnonzero(states[:, column] == FORGET)
            for row in rows if len(rows) > 2 else ():
                left = rows[rows != row]
                for i, v in enumerate((x[row, column], retrained[row, column])):
                    sides = [
                        np.mean(stats.norm.pdf(v, models[left, column], 1.0))
                        for models in (x, retrained)
                    ]
                    expected[i, row, column] = np.log(sides[0] / sides[1])
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)
        scored += np.isfinite(expected).sum()
    assert scored >= CASES


def test_ruli_far_from_every_model_is_not_zero_over_zero():
    x, states = study(np.random.default_rng(11), 12, 5)
    row, column = np.argwhere(states == FORGET)[0]
    x[row, column] = 1e4
    assert np.isfinite(ruli_privacy(x, states)[row, column])


def test_chunks_of_kernel_densities_join(monkeypatch):
    x, states = study(np.random.default_rng(12), 9, 20)
    whole = ruli_privacy(x, states)
    monkeypatch.setattr("unlearn.metrics.ruli.CHUNK", 7 * 81)
    np.testing.assert_array_equal(ruli_privacy(x, states), whole)


def prior_by_loops(x, states, row, group, other):
    """(m, k, a, b): Smyth's d0 = 2 a and s0^2 = b / a, then moments of the means."""
    data = [
        values[used(mine, row, group, other)]
        for values, mine in zip(x.T, states.T, strict=True)
    ]
    data = [values for values in data if len(values) > 1]
    size = np.array([len(values) for values in data])
    means = np.array([np.mean(values) for values in data])
    variances = np.array([np.var(values, ddof=1) for values in data])
    half = (size - 1) / 2
    e = np.log(variances) - digamma(half) + np.log(half)
    excess = max(np.var(e) - polygamma(1, half).mean(), 1e-4)
    a = optimize.brentq(lambda a: polygamma(1, a) - excess, 1e-3, 1e6)
    b = a * np.exp(e.mean() + digamma(a) - np.log(a))
    m = means.mean()
    inverse_gamma_mean = (b + half * variances) / np.maximum(a + half - 1, 0.5)
    share = np.mean((means - m) ** 2 / inverse_gamma_mean) - np.mean(1 / size)
    return m, 1 / max(share, 1e-4), a, b


def log_evidence(data, m, k, a, b):
    """Log of the probability of all data, mean and variance integrated out."""
    n = len(data)
    inner = np.sum((data - data.mean()) ** 2)
    after = b + inner / 2 + k * n * (data.mean() - m) ** 2 / (2 * (k + n))
    gammas = gammaln(a + n / 2) - gammaln(a)
    powers = a * np.log(b) - (a + n / 2) * np.log(after)
    return gammas + powers + np.log(k / (k + n)) / 2 - n / 2 * np.log(2 * np.pi)


@pytest.mark.parametrize("positive", [RETAIN, FORGET])
def test_bavaria_is_a_ratio_of_evidences(positive):
    """What the margin adds to that of the other models, under each group's prior."""
    scored = 0
    for _, x, states in random_studies(8, size=(9, 15), count=25):
        priors = [
            [prior_by_loops(x, states, row, *groups) for row in range(len(x))]
            for groups in ((positive, OUT), (OUT, positive))
        ]
        ours = bavaria(x, states, positive=positive)
        scores = np.full(x.shape, np.nan)
        for row, column in np.argwhere((states == positive) | (states == OUT)):
            added = []
            for state, prior in zip((positive, OUT), priors, strict=True):
                data = others(x, states, row, column, state, positive)
                if len(data) > 1:
                    more = np.append(data, x[row, column])
                    added.append(
                        log_evidence(more, *prior[row])
                        - log_evidence(data, *prior[row])
                    )
            if len(added) == 2:
                scores[row, column] = added[0] - added[1]
        np.testing.assert_allclose(ours, scores, rtol=1e-6, atol=1e-6)
        scored += np.isfinite(scores).sum()
    assert scored >= CASES


def test_bavaria_is_the_integral_over_means_and_variances():
    """Predictive density by quadrature of likelihood times prior."""
    x, states = study(np.random.default_rng(13), 12, 30, 1.0)
    ours = bavaria(x, states, positive=FORGET)
    for row, column in np.argwhere(np.isfinite(ours))[::60]:
        density = []
        for group, other in ((FORGET, OUT), (OUT, FORGET)):
            fitted = moments(x, states == group, states == other)
            m, k, a, b = (v[row, 0] for v in fit_prior(fitted))
            data = others(x, states, row, column, group, FORGET)

            def joint(mean, log_variance, values, m=m, k=k, a=a, b=b):
                variance = np.exp(log_variance)
                sd = np.sqrt(variance)
                prior = stats.invgamma.pdf(variance, a, scale=b) * variance
                prior = prior * stats.norm.pdf(mean, m, sd / np.sqrt(k))
                return prior * np.prod(
                    stats.norm.pdf(values[:, None, None], mean, sd), 0
                )

            centre, sd = data.mean(), data.std(ddof=1) + 0.5
            means = np.linspace(centre - 12 * sd, centre + 12 * sd, 801)
            logs = np.linspace(np.log(b / a) - 8, np.log(b / a) + 12, 401)[:, None]
            evidence = [
                integrate.simpson(integrate.simpson(joint(means, logs, v)), logs[:, 0])
                for v in (np.append(data, x[row, column]), data)
            ]
            density.append(np.log(evidence[0] / evidence[1]))
        assert ours[row, column] == pytest.approx(density[0] - density[1], abs=1e-3)


def test_bavarias_prior_is_recovered_from_many_examples():
    rng = np.random.default_rng(14)
    m, k, a, b, size = 2.0, 1.0, 4.0, 6.0, 5
    variance = stats.invgamma.rvs(a, scale=b, size=20_000, random_state=rng)
    mean = rng.normal(m, np.sqrt(variance / k))
    x = rng.normal(mean, np.sqrt(variance), (size, 20_000))
    everyone = np.ones(x.shape, bool)
    prior = fit_prior(moments(x, everyone, everyone))
    for found, truth in zip(prior, (m, k, a, b), strict=True):
        np.testing.assert_allclose(found, truth, rtol=0.12)
    one_variance = rng.normal(mean, 1.0, x.shape)
    prior = fit_prior(moments(one_variance, everyone, everyone))
    assert prior.a.min() > 50
    np.testing.assert_allclose(prior.b / prior.a, 1, rtol=0.05)


def test_the_prior_of_a_model_does_not_see_it():
    x, states = study(np.random.default_rng(15), 9, 4)
    moved = x.copy()
    moved[2] += 1e3 * (np.arange(4) + 1)
    for group, other in ((RETAIN, OUT), (OUT, RETAIN)):
        old, new = (
            fit_prior(moments(v, states == group, states == other)) for v in (x, moved)
        )
        for before, after in zip(old, new, strict=True):
            np.testing.assert_allclose(after[2], before[2], rtol=1e-6)


# Floors and known values


@every_attack
@pytest.mark.parametrize("balanced", [True, False])
def test_nothing_is_found_where_nothing_is(attack, balanced):
    rng = np.random.default_rng(16)
    size = 12 if balanced else 18
    results = [
        audit(attack, *study(rng, size, 40, balanced=balanced)) for _ in range(80)
    ]
    aucs, floor = np.array([r.auc for r in results]), results[0].null_sd
    assert abs(aucs.mean() - 0.5) < 4 * 1.5 * floor / np.sqrt(len(aucs))
    assert 0.5 < aucs.std() / floor < 1.8


def test_the_efficacy_game_finds_nothing_where_nothing_is():
    rng = np.random.default_rng(17)
    aucs = []
    for _ in range(64):
        states = np.argsort(rng.random((12, 100)), axis=0) % 3
        mean, sd = rng.normal(0, 3, 100), rng.uniform(0.3, 2, 100)
        split = rng.normal(size=states.shape)  # what models of a split have in common
        both = mean + sd * (split + rng.normal(size=(2, *states.shape)))
        aucs.append(efficacy_auc(*both, states))
    assert np.mean(aucs) == pytest.approx(0.5, abs=4 * np.std(aucs) / 8)
    assert np.std(aucs) < 0.03


def efficacy_auc(x, retrained, states):
    forget = states == FORGET
    no = np.zeros_like(forget)
    result = evaluate(
        np.concatenate(ruli_efficacy(x, retrained, states)),
        np.concatenate([forget, no]),
        np.concatenate([no, forget]),
        models=np.tile(np.arange(len(x)), 2),
        rounds=10,
    )
    assert np.isfinite(result.auc_interval).all()
    return result.auc


def test_in_sample_fits_and_rows_left_out_alone_are_biased():
    """What the scores would be with the two usual shortcuts, on four models a group."""
    rng = np.random.default_rng(18)
    x = rng.normal(size=(8, 3000))
    states = np.argsort(rng.random(x.shape), axis=0) % 2 * FORGET

    def auc(scores):
        return evaluate(scores, states == FORGET, states == OUT, rounds=0).auc

    groups = [np.where(states == s, x, np.nan) for s in (FORGET, OUT)]
    in_sample = [
        stats.norm.logpdf(x, np.nanmean(g, axis=0), np.nanstd(g, axis=0, ddof=1))
        for g in groups
    ]
    alone = []
    for group in groups:
        density = np.empty(x.shape)
        for row in range(len(x)):
            left = np.delete(group, row, axis=0)
            mean, sd = np.nanmean(left, axis=0), np.nanstd(left, axis=0, ddof=1)
            density[row] = stats.norm.logpdf(x[row], mean, sd)
        alone.append(density)
    assert auc(in_sample[0] - in_sample[1]) > 0.72
    assert auc(alone[0] - alone[1]) < 0.46
    assert auc(u_lira(x, states)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("shift", [0.5, 1.5])
@pytest.mark.parametrize(
    "name", ["lira_online", "lira_global", "lira_offline", "bavaria"]
)
def test_shifted_gaussians_have_the_known_auc(name, shift):
    rng = np.random.default_rng(19)
    x, states = study(rng, 300, 60, shift, spread=(1, 1))
    result = audit(ATTACKS[name], x, states)
    exact = stats.norm.cdf(shift / np.sqrt(2))
    assert result.auc == pytest.approx(exact, abs=0.025)
    if name != "bavaria":
        power = stats.norm.sf(stats.norm.isf(0.01) - shift)
        assert result.tpr_at_1fpr == pytest.approx(power, rel=0.35)


def test_bavaria_beats_lira_with_few_models_and_equals_it_with_many():
    rng = np.random.default_rng(20)
    gains = []
    for _ in range(20):
        states = np.argsort(rng.random((8, 200)), axis=0) % 2 * FORGET
        sd = rng.uniform(0.7, 1.3, 200)
        x = (rng.normal(size=(8, 200)) + 1.5 * (states == FORGET)) * sd
        x = x + rng.normal(0, 3, 200)
        gains.append(
            audit(ATTACKS["bavaria"], x, states).auc
            - audit(ATTACKS["lira_online"], x, states).auc
        )
    assert np.mean(gains) > 0.03
    assert np.mean(np.array(gains) > 0) > 0.9
    x, states = study(rng, 400, 30, 1.0)
    both = [ATTACKS[a](x, states) for a in ("bavaria", "lira_online")]
    used = ~np.isnan(both[0])
    assert np.corrcoef(both[0][used], both[1][used])[0, 1] > 0.99


# Relations


@every_attack
def test_a_larger_shift_is_found_more_often(attack):
    rng = np.random.default_rng(21)
    aucs = []
    for shift in (0, 1, 2, 4):
        x, states = study(rng, 30, 100, shift)
        aucs.append(audit(attack, x, states).auc)
    assert aucs == sorted(aucs)
    assert aucs[0] < 0.55
    assert aucs[-1] > 0.8


@pytest.mark.parametrize("name", [n for n in ATTACKS if "rmia" not in n])
def test_only_differences_of_margins_matter(name):
    x, states = study(np.random.default_rng(22), 15, 20, 1.0)
    ours = ATTACKS[name](x, states)
    shift = 5.0 if name == "bavaria" else np.arange(20.0) * 10
    np.testing.assert_allclose(ATTACKS[name](x + shift, states), ours, atol=1e-6)


@pytest.mark.parametrize("name", ["lira_online", "lira_global", "bavaria", "ruli"])
def test_swapping_the_groups_turns_the_sign(name):
    x, states = study(np.random.default_rng(23), 15, 20, 1.0)
    swapped = np.array([FORGET, RETAIN, OUT])[states]
    expected = -ATTACKS[name](x, states)
    np.testing.assert_allclose(ATTACKS[name](x, swapped), expected, atol=1e-9)


@every_attack
def test_the_order_of_examples_does_not_matter(attack):
    x, states = study(np.random.default_rng(24), 12, 20, 1.0)
    order = np.random.default_rng(0).permutation(20)
    expected = attack(x, states)[:, order]
    np.testing.assert_allclose(
        attack(x[:, order], states[:, order]), expected, atol=1e-9
    )


@every_attack
def test_scores_are_nan_exactly_where_there_is_nothing_to_compare(attack):
    x, states = study(np.random.default_rng(25), 12, 40)
    states[:, 0] = [FORGET] * 2 + [OUT] * 10  # two unlearned
    states[:, 1] = [FORGET] * 10 + [OUT] * 2  # two never seen
    states[:, 2] = RETAIN
    scores = attack(x, states)
    offline = attack in (ATTACKS["lira_offline"], ATTACKS["rmia_offline"])
    assert np.isnan(scores[:, 0]).all() != offline
    assert np.isnan(scores[:, 1:3]).all()
    np.testing.assert_array_equal(np.isnan(scores[:, 3:]), (states[:, 3:] == RETAIN))


@every_attack
def test_deterministic_models_have_finite_scores(attack):
    """Constant margins; Gaussians on 0/1 correctness divide by their deviation of 0."""
    _, states = study(np.random.default_rng(26), 12, 30)
    pairs = states != RETAIN
    alike = np.broadcast_to(np.linspace(-3, 40, 30), states.shape)
    scores = attack(alike, states)
    assert np.isfinite(scores[pairs]).all()
    result = evaluate(scores, states == FORGET, states == OUT, rounds=0)
    ranks = attack is ATTACKS["rmia_offline"]  # those of examples, a little uneven
    assert result.auc == pytest.approx(0.5, abs=0.02 if ranks else 1e-6)
    apart = alike + 3 * (states == FORGET)
    scores = attack(apart, states)
    assert np.isfinite(scores[pairs]).all()
    result = evaluate(scores, states == FORGET, states == OUT, rounds=0)
    ranks = attack in (ATTACKS["rmia"], ATTACKS["rmia_offline"])
    assert result.auc > (0.6 if ranks else 0.95)


def test_gaussians_of_correctness_fail_where_ours_do_not():
    correct = np.ones((6, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        published = stats.norm.pdf(correct, correct.mean(0), correct.std(0))
    assert np.isnan(published).all()
    states = np.repeat([FORGET, OUT], 3)[:, None].repeat(2, axis=1)
    np.testing.assert_array_equal(u_lira(correct, states), 0)


def test_privacy_and_efficacy_are_different_hypotheses():
    """Unlearned models like never-seen ones, but not like retrained ones."""
    rng = np.random.default_rng(27)
    x, states = study(rng, 24, 60, 0.0)
    retrained = x + 3 * rng.choice([-1, 1], 60)
    assert audit(ruli_privacy, x, states).auc == pytest.approx(0.5, abs=0.08)
    assert efficacy_auc(x, retrained, states) > 0.8


# Bad input


@every_attack
def test_attacks_refuse_what_they_cannot_use(attack):
    x, states = study(np.random.default_rng(28), 9, 5)
    broken = x.copy()
    broken[4, 3] = np.nan
    cases = [
        ((x[0], states[0]), "alike"),
        ((x, states[:, :3]), "alike"),
        ((broken, states), r"model and example \[4 3\] is not finite"),
        ((x, np.where(states == OUT, RETAIN, states)), "state 0"),
        ((x, np.where(states == FORGET, RETAIN, states)), "state 2"),
        ((x, states + 1), "none of OUT"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            attack(*arguments)


def test_options_are_checked():
    x, states = study(np.random.default_rng(29), 9, 5)
    cases = [
        (lambda: lira_online(x, states, positive=OUT), "positive is"),
        (lambda: lira_online(x, states, variance="all"), "variance is"),
        (lambda: rmia(x, states, gamma=0), "gamma"),
        (lambda: rmia(x, states, offline=True, a=1.5), "gamma"),
        (lambda: rmia(x, states, population=x[:3]), "population must be"),
        (lambda: rmia(x, states, population=np.full((9, 2), np.inf)), "not finite"),
        (lambda: ruli_privacy(x, states, bandwidth=0), "bandwidth"),
        (lambda: ruli_efficacy(x, x[:, :3], states), "alike"),
        (lambda: ruli_efficacy(x, np.full(x.shape, np.nan), states), "not finite"),
        (lambda: ruli_efficacy(x, x, np.zeros_like(states)), "no model has"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
