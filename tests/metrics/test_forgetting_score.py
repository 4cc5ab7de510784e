"""The score of the challenge against every threshold, one after another."""

import math

import numpy as np
import pytest
from metric_cases import CASES, random_groups

from unlearn.errors import InputError
from unlearn.metrics import forgetting_score


def epsilon_by_formula(fpr, fnr, delta=1e-5):
    if fpr == 0 and fnr == 0:
        return math.inf
    if fpr == 0 or fnr == 0:
        return -math.inf
    bounds = [0.0]
    for a, b in ((fpr, fnr), (fnr, fpr)):
        if 1 - delta - a > 0:
            bounds.append(math.log(1 - delta - a) - math.log(b))
    return max(bounds)


def epsilon_by_thresholds(unlearned, retrained, rules=("single", "double")):
    """Of one example, each threshold of the grid, as the challenge describes it."""
    spreads = np.ptp(unlearned), np.ptp(retrained)
    if min(spreads) < 0.01 * max(spreads):
        return 50.0
    if np.median(retrained) > np.median(unlearned):
        pos, neg = retrained, unlearned
    else:
        pos, neg = unlearned, retrained
    rates = set()
    if "single" in rules:
        low, high = np.min([*pos, *neg]), np.max([*pos, *neg])
        t = np.linspace(low, high, math.ceil((high - low) * 100))[:, None]
        alarms, missed = np.mean(neg >= t, axis=1), np.mean(pos < t, axis=1)
        rates |= set(zip(alarms, missed, strict=True))
    if "double" in rules:
        if np.ptp(pos) >= np.ptp(neg):
            pos, neg = neg, pos
        width = np.ptp(pos)
        right = np.linspace(pos.max() - 2, pos.max() + 2, 400)[:, None]
        # some are the least margin itself, but for rounding
        left = right - width + np.linspace(-2, 2, 400) - 1e-9
        inside = [sum((left <= x) & (x <= right) for x in g) for g in (neg, pos)]
        found = np.zeros((len(neg) + 1, len(pos) + 1), bool)
        found[*inside] = True
        for alarms, hits in np.argwhere(found):
            rates.add((alarms / len(neg), 1 - hits / len(pos)))
    best = max((epsilon_by_formula(*rate) for rate in rates), default=-math.inf)
    return None if best == -math.inf else min(best, 50.0)


@pytest.mark.parametrize(
    ("rules", "cases", "scales"),
    [
        (("single",), CASES, (1, 0.05)),
        (("double",), 45, (1, 0.05, 8)),  # the grid's step and its width matter
        pytest.param(("double",), 120, (1, 0.05, 8), marks=pytest.mark.slow),
        (("single", "double"), 30, (1,)),
    ],
)
def test_epsilons_are_those_of_every_threshold_in_turn(rules, cases, scales):
    rng = np.random.default_rng(5)
    drawn = compared = 0
    while compared < cases:
        scale = scales[drawn % len(scales)]
        drawn += 1
        groups = random_groups(rng) if scale == 1 else random_groups(rng, 40, place=0.5)
        unlearned, retrained = (scale * x for x in groups)
        expected = epsilon_by_thresholds(unlearned[:, 0], retrained[:, 0], rules)
        if expected is not None:  # else the released code stops
            ours = forgetting_score.epsilons(unlearned, retrained, rules=rules)
            assert ours[0] == pytest.approx(expected, abs=1e-9)
            compared += 1
    assert compared > 0.8 * drawn


def test_epsilons_of_tied_margins():
    rng = np.random.default_rng(6)
    compared = 0
    while compared < CASES:
        groups = [np.round(x, 1) for x in random_groups(rng)]
        expected = epsilon_by_thresholds(groups[0][:, 0], groups[1][:, 0], ("single",))
        if expected is not None:
            ours = forgetting_score.epsilons(*groups, rules=("single",))
            assert ours[0] == pytest.approx(expected, abs=1e-9)
            compared += 1


def test_the_released_score_stops_at_its_assertion():
    """`assert thr_eps`, of an array: true or false of one threshold only."""
    groups = np.random.default_rng(28).normal(size=(2, 40, 1))
    low, high = groups.min(), groups.max()
    by_threshold = np.array(
        [
            epsilon_by_formula(np.mean(groups[0] >= t), np.mean(groups[1] < t))
            for t in np.linspace(low, high, math.ceil((high - low) * 100))
        ]
    )
    with pytest.raises(ValueError, match="ambiguous"):
        assert by_threshold[np.isfinite(by_threshold)]
    assert 0 < forgetting_score.epsilons(*groups)[0] < 50


def test_epsilon_table_is_the_formula_of_two_counts():
    for rows, columns in ((1, 1), (3, 7), (20, 20)):
        table = forgetting_score.epsilon_table(rows, columns, 1e-5)
        for a in range(rows + 1):
            for b in range(columns + 1):
                expected = epsilon_by_formula(b / columns, a / rows)
                if (a, b) == (rows, columns):  # everything wrong: no bound at all
                    expected = -math.inf
                assert table[a, b] == pytest.approx(expected)


def epsilon(unlearned, retrained, **options):
    groups = (np.array(x, float)[:, None] for x in (unlearned, retrained))
    return forgetting_score.epsilons(*groups, **options)[0]


def test_rules_of_the_score_at_the_edges():
    grid = np.arange(10.0)
    assert epsilon(grid, grid + 20) == 50  # no error: infinite, capped
    assert epsilon(grid * 1e-4, grid) == 50  # a range below 1 % of the other
    assert epsilon([3, 3, 3], [3, 3]) == 0
    assert epsilon([3, 3, 3], [4, 4]) == 50
    assert epsilon(grid, grid + 9, rules=("single",)) == 50  # but one tie
    # margins within a step of the grid: all values are tried
    expected = epsilon_by_formula(0.25, 0.25)
    close, shifted = [0, 1e-4, 2e-4, 3e-4], [1.5e-4, 2.5e-4, 3.5e-4, 4.5e-4]
    assert epsilon(close, shifted, rules=("single",)) == pytest.approx(expected)
    tied = [1e-4, 2e-4, 3e-4, 4e-4]  # guessed positive at t itself
    best = epsilon_by_formula(0.5, 0.25)
    assert epsilon(close, tied, rules=("single",)) == pytest.approx(best)
    # a threshold with errors of one kind is discarded, however large its epsilon
    low, high = [0, 1, 2, 5], [3, 4, 6, 7]
    assert epsilon(low, high, rules=("single",)) == pytest.approx(expected)
    inside, around = [4.5, 5, 5.5, 6], [0, 1, 8, 9.5]
    assert epsilon(around, inside) == 50
    assert epsilon(around, inside, rules=("single",)) < 1
    assert epsilon([-np.inf, 0, 1], [0, 1, np.inf]) > 0
    for rules in ((), ("triple",), "single"):
        with pytest.raises(InputError, match="rules"):
            epsilon(grid, grid, rules=rules)


def test_points():
    """512 models: 14 bins of width 0.5 up to ceil(ln 511) = 7."""
    assert forgetting_score.points(0.0, 512) == 1
    assert forgetting_score.points(0.4999, 512) == 1
    assert forgetting_score.points(0.5, 512) == 0.5
    assert forgetting_score.points(6.99, 512) == 2.0**-13
    assert forgetting_score.points(7.0, 512) == 0
    assert forgetting_score.points(50.0, 512) == 0
    assert forgetting_score.points(3.2, 21) == 0  # ln(20) < 3 < ln(21)
    assert forgetting_score.points(4.99, 64) > 0 == forgetting_score.points(5.0, 64)
    rng = np.random.default_rng(7)
    for value in rng.uniform(0, 9, CASES):
        models, start, award = int(rng.integers(3, 2000)), 0.0, 0.0
        worth = 1.0
        while start + 0.5 <= math.ceil(math.log(models - 1)):
            if value < start + 0.5:
                award = worth
                break
            worth, start = worth / 2, start + 0.5
        assert forgetting_score.points(value, models) == award
    with pytest.raises(InputError, match="models"):
        forgetting_score.points(1.0, 2)


@pytest.mark.parametrize("models", [64, 128, 256, 512, 1024])
@pytest.mark.slow
def test_a_perfect_method_scores_a_fifth(models):
    groups = np.random.default_rng(8).normal(size=(2, models, 600))
    both = forgetting_score.forgetting_score(*groups[:, :, :150])
    single = forgetting_score.forgetting_score(*groups, rules=("single",))
    assert both == pytest.approx(0.18, abs=0.04)
    assert single == pytest.approx(0.365, abs=0.045)


@pytest.mark.parametrize(
    ("shift", "scale", "expected", "tolerance"),
    [
        (0.25, 1, 0.136, 0.03),
        (0.5, 1, 0.073, 0.015),
        (1, 1, 0.016, 0.004),
        (2, 1, 0.0016, 0.0006),
        (0, 0.5, 0.0034, 0.001),
    ],
)
def test_scores_of_512_models_that_are_off(shift, scale, expected, tolerance):
    unlearned, retrained = np.random.default_rng(9).normal(size=(2, 512, 120))
    score = forgetting_score.forgetting_score(scale * unlearned + shift, retrained)
    assert score == pytest.approx(expected, abs=tolerance)


@pytest.mark.slow
def test_score_relative_to_retraining():
    rng = np.random.default_rng(10)
    unlearned, retrained = rng.normal(size=(150, 100)), rng.normal(size=(200, 100))
    result = forgetting_score.relative_forgetting_score(unlearned, retrained)
    score = forgetting_score.forgetting_score
    assert result.models == 100
    assert result.score == score(unlearned[:100], retrained[:100])
    assert result.floor == score(retrained[100:], retrained[:100])
    assert result.relative == result.score / result.floor
    assert result.relative == pytest.approx(1, abs=0.3)
    other = rng.normal(size=(120, 100))
    pair = forgetting_score.relative_forgetting_score(unlearned + 1, retrained, other)
    assert pair.models == 120
    assert pair.floor == score(other, retrained[:120])
    assert pair.relative < 0.3
    apart = np.stack([np.zeros(6), np.arange(6)], 1)
    none = forgetting_score.relative_forgetting_score(apart, apart, apart + 100)
    assert none.floor == 0 and np.isnan(none.relative)
    assert forgetting_score.final_score(0.2, 0.5, 0.9) == pytest.approx(0.09)


def test_many_examples_are_as_each_of_them_alone():
    groups = np.random.default_rng(11).normal(size=(2, 512, 20))
    together = forgetting_score.epsilons(*groups)
    alone = [forgetting_score.epsilons(*groups[:, :, i : i + 1])[0] for i in range(20)]
    np.testing.assert_array_equal(together, alone)
    assert np.all((together >= 0) & (together < 50))
