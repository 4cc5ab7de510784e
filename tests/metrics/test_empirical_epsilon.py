"""Lower bounds on epsilon, on mechanisms whose epsilon is known."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from unlearn.errors import InputError
from unlearn.metrics.empirical_epsilon import (
    empirical_epsilon,
    epsilon_lower_bound,
    largest,
)
from unlearn.shadows import balanced_states


def clopper_pearson(hits, trials, risk):
    """Both one-sided bounds, by what they are: roots of binomial tails."""
    low = brentq(lambda p: binom.sf(hits - 1, trials, p) - risk, 0, 1) if hits else 0.0
    if hits == trials:
        return low, 1.0
    return low, brentq(lambda p: binom.cdf(hits, trials, p) - risk, 0, 1)


@pytest.mark.parametrize("delta", [0.0, 0.05])
def test_the_bound_is_that_of_two_clopper_pearson_intervals(delta):
    rng = np.random.default_rng(0)
    shown = 0
    for _ in range(200):
        n, m = rng.integers(1, 60, 2)
        hits, alarms = rng.integers(0, n + 1), rng.integers(0, m + 1)
        low = clopper_pearson(hits, n, 0.025)[0]
        high = clopper_pearson(alarms, m, 0.025)[1]
        pairs = [(low - delta, high), (1 - high - delta, 1 - low)]
        expected = max([0] + [math.log(a / b) for a, b in pairs if a > 0 and b > 0])
        found = epsilon_lower_bound(hits, n, alarms, m, delta=delta)
        assert found == pytest.approx(expected, abs=1e-6)
        shown += found > 0
    assert 20 < shown < 170


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_randomised_response_keeps_its_epsilon(epsilon):
    rng = np.random.default_rng(1)
    right = 1 / (1 + math.exp(-epsilon))
    hits, alarms = rng.binomial(100, right, 2000), rng.binomial(100, 1 - right, 2000)
    bounds = [
        epsilon_lower_bound(h, 100, a, 100) for h, a in zip(hits, alarms, strict=True)
    ]
    assert np.mean(np.array(bounds) > epsilon) < 0.05
    many = 10**6
    tight = epsilon_lower_bound(
        round(many * right), many, round(many * (1 - right)), many
    )
    assert epsilon - 0.02 < tight <= epsilon


def test_delta_is_allowed_for():
    """What is revealed with probability 0.1 only, and never otherwise, is (0, 0.1)."""
    assert epsilon_lower_bound(1000, 10_000, 0, 10_000) > 3
    assert epsilon_lower_bound(1000, 10_000, 0, 10_000, delta=0.1) == 0


def test_more_trials_show_more():
    values = [largest(n, n) for n in (5, 20, 64, 1000)]
    assert values == sorted(values)
    assert values[2] == pytest.approx(2.83, abs=0.01)
    exact = math.log(0.025 ** (1 / 64) / (1 - 0.025 ** (1 / 64)))
    assert values[2] == pytest.approx(exact)


def scored(leak, seed, models=120, targets=30):
    rng = np.random.default_rng(seed)
    states = balanced_states(rng, models, targets)
    noise = rng.normal(size=states.shape)
    return noise + leak * (states == 2), states == 2, states == 0


def test_a_study_without_a_leak_shows_nothing_and_a_whole_leak_the_most():
    found = [empirical_epsilon(*scored(0.0, seed)) for seed in range(200)]
    assert np.mean([one.epsilon > 0 for one in found]) < 0.06
    whole = empirical_epsilon(*scored(9.0, 0))
    assert (whole.hits, whole.positives, whole.alarms, whole.negatives) == (
        60,
        60,
        0,
        60,
    )
    assert whole.epsilon == largest(60, 60)
    some = empirical_epsilon(*scored(2.0, 0)).epsilon
    assert 0.3 < some < whole.epsilon


def test_the_most_exposed_example_is_attacked():
    scores, positive, negative = scored(0.0, 3)
    scores[:, 7] += 9.0 * positive[:, 7]
    found = empirical_epsilon(scores, positive, negative)
    # It is forgotten in a third of the models; the next best ones fill the others.
    assert found.hits >= 15 and found.alarms == 0 and found.epsilon > 0.8
    only = np.arange(30) == 7
    alone = empirical_epsilon(scores, positive & only, negative & only)
    assert alone.hits == alone.positives and alone.epsilon > 1


def test_models_that_choose_do_not_count():
    """Made to look exposed in the models that choose: nothing is shown by it."""
    scores, positive, negative = scored(0.0, 4)
    scores[::2] += 9.0 * positive[::2]
    assert empirical_epsilon(scores, positive, negative).epsilon < 0.3


def test_bad_input():
    with pytest.raises(InputError, match="do not fit: 5 of 4"):
        epsilon_lower_bound(5, 4, 0, 4)
    with pytest.raises(InputError, match="trials of both kinds"):
        epsilon_lower_bound(0, 0, 0, 4)
    with pytest.raises(InputError, match="confidence and delta"):
        epsilon_lower_bound(1, 4, 0, 4, confidence=1.0)
    scores, positive, negative = scored(1.0, 0)
    with pytest.raises(InputError, match="more models"):
        empirical_epsilon(scores, positive, np.zeros_like(negative))
