"""Lower bounds on epsilon from one model, on mechanisms whose epsilon is known."""

import itertools
import math

import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.metrics.one_run import (
    epsilon_lower_bound,
    largest,
    one_run_epsilon,
    p_value,
)


def tail(right, guesses, chance):
    """P(B >= right), by counting every outcome."""
    return sum(
        chance ** sum(one) * (1 - chance) ** (guesses - sum(one))
        for one in itertools.product((0, 1), repeat=guesses)
        if sum(one) >= right
    )


@pytest.mark.parametrize("delta", [0.0, 0.01])
def test_the_chance_is_that_of_every_outcome(delta):
    chance = math.exp(0.7) / (1 + math.exp(0.7))
    for right in range(7):
        above = tail(right, 6, chance)
        steps = [
            (tail(right - i, 6, chance) - above) / i for i in range(1, right + 1)
        ] or [0.0]
        expected = min(1.0, above + 2 * 9 * delta * max(steps))
        assert p_value(0.7, right, 6, 9, delta) == pytest.approx(expected)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_randomised_response_keeps_its_epsilon(epsilon):
    """Every coin is told, and is true with the largest chance that epsilon allows."""
    draw = np.random.default_rng(0)
    chance = 1 / (1 + math.exp(-epsilon))
    bounds = []
    for _ in range(300):
        included = draw.random(200) < 0.5
        told = np.where(draw.random(200) < chance, included, ~included)
        scores = told + 1e-3 * draw.random(200)
        bounds.append(one_run_epsilon(scores, included).epsilon)
    assert np.mean(np.array(bounds) > epsilon) <= 0.05
    many = 10**6
    tight = epsilon_lower_bound(round(many * chance), many, many)
    assert epsilon - 0.01 < tight <= epsilon


def test_delta_is_allowed_for():
    """Coins that are told with probability 0.01 each, or guessed, are (0, 0.01)."""
    draw = np.random.default_rng(1)
    found = {0.0: [], 0.01: []}
    for _ in range(100):
        included = draw.random(2000) < 0.5
        told = draw.random(2000) < 0.01
        sign = 2.0 * included - 1
        scores = np.where(told, 5 * sign, draw.normal(size=2000))
        for delta, bounds in found.items():
            bounds.append(one_run_epsilon(scores, included, delta=delta).epsilon)
    assert np.mean(np.array(found[0.01]) > 0) <= 0.05
    assert np.mean(np.array(found[0.0]) > 0) > 0.5


def test_more_canaries_show_more():
    values = [largest(n) for n in (10, 100, 1000)]
    assert values == sorted(values) and 4.5 < values[2] < 5.5
    alone = epsilon_lower_bound(1000, 1000, 1000, confidence=0.95)
    assert alone == pytest.approx(math.log(0.05**1e-3 / (1 - 0.05**1e-3)), rel=1e-5)


def test_who_is_guessed():
    """The surest both ways: in the middle nothing need be known."""
    draw = np.random.default_rng(2)
    included = draw.random(1000) < 0.5
    scores = draw.normal(size=1000)
    sure = np.flatnonzero(included)[:50], np.flatnonzero(~included)[:50]
    scores[sure[0]], scores[sure[1]] = 9.0, -9.0
    found = one_run_epsilon(scores, included)
    assert found.guesses == found.right == 100 and found.epsilon > 2
    assert one_run_epsilon(-scores, included).epsilon == 0


def test_scores_that_are_equal_show_nothing():
    """However the canaries are ordered."""
    draw = np.random.default_rng(3)
    half = np.where(draw.random(200) < 0.5, 0.0, -draw.random(200))
    for scores in (np.zeros(200), half):
        for included in (np.arange(200) >= 100, np.arange(200) < 100):
            assert one_run_epsilon(scores, included).epsilon == 0


@pytest.mark.parametrize("size", [2, 3, 7, 11, 23])
def test_any_number_of_canaries(size):
    inside = np.arange(size) % 2 == 0
    found = one_run_epsilon(inside.astype(float), inside)
    assert found.right <= found.guesses <= size


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: epsilon_lower_bound(5, 4, 10), "5 right of 4, of 10 canaries"),
        (lambda: epsilon_lower_bound(2, 4, 3), "2 right of 4, of 3 canaries"),
        (lambda: epsilon_lower_bound(1, 1, 1, confidence=1.0), "must lie in"),
        (lambda: one_run_epsilon(np.array([np.nan]), np.array([True])), "finite"),
        (lambda: one_run_epsilon(np.ones(1), np.array([True])), "two canaries"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
