"""LiRA against refits, model by model and example by example."""

import numpy as np
import pytest
from attack_studies import (
    ATTACKS,
    CASES,
    audit,
    by_loops,
    others,
    random_studies,
    study,
    used,
)
from scipy import stats

from unlearn import metrics
from unlearn.errors import InputError
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
from unlearn.metrics.roc import evaluate


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


def test_in_sample_fits_and_rows_left_out_alone_are_biased():
    """What the scores would be with the two usual shortcuts, on four models a group."""
    rng = np.random.default_rng(18)
    x = rng.normal(size=(8, 3000))
    states = np.argsort(rng.random(x.shape), axis=0) % 2 * FORGET

    def auc(scores):
        return evaluate(scores, states == FORGET, states == OUT).auc

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


def test_gaussians_of_correctness_fail_where_ours_do_not():
    correct = np.ones((6, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        published = stats.norm.pdf(correct, correct.mean(0), correct.std(0))
    assert np.isnan(published).all()
    states = np.repeat([FORGET, OUT], 3)[:, None].repeat(2, axis=1)
    np.testing.assert_array_equal(u_lira(correct, states), 0)
