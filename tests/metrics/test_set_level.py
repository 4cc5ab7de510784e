"""The attack on whole sets, on simulated studies of which the leak is known."""

import warnings

import numpy as np
import pytest
from scipy import stats

from unlearn.errors import InputError
from unlearn.metrics import lira
from unlearn.metrics.lira import FORGET, OUT
from unlearn.metrics.roc import auc
from unlearn.metrics.set_level import separation, set_level
from unlearn.shadows import balanced_states


def simulated(rng, leak, *, models=48, common=0.5):
    """`leak`: float[N], by how many deviations forgetting leaves each margin higher."""
    states = balanced_states(rng, models, len(leak), (OUT, FORGET))
    noise = rng.normal(size=states.shape) + rng.normal(0, common, (models, 1))
    return noise + leak * (states == FORGET), states


def test_the_value_is_that_of_all_pairs_of_sets():
    margins, states = simulated(np.random.default_rng(0), np.full(20, 0.3), models=14)
    scores = lira.u_lira(margins, states)
    sets = [
        [np.mean(row[of == s]) for row, of in zip(scores, states, strict=True)]
        for s in (FORGET, OUT)
    ]
    wins = [a > b for a in sets[0] for b in sets[1]]
    assert set_level(margins, states).value == pytest.approx(np.mean(wins))


def test_weak_traces_of_many_examples_add_up():
    rng = np.random.default_rng(1)
    margins, states = simulated(rng, np.full(60, 0.5), common=0.1)
    scores = lira.u_lira(margins, states)
    assert auc(scores, states == FORGET, states == OUT) < 0.65
    assert set_level(margins, states).low > 0.65


def test_a_few_examples_that_are_plain_to_see_show_the_set():
    rng = np.random.default_rng(2)
    leak = np.where(np.arange(60) < 6, 4.0, 0.0)
    assert set_level(*simulated(rng, leak)).low > 0.8


def coverage(leak, repeats, **sizes):
    rng = np.random.default_rng(3)
    found = np.array(
        [set_level(*simulated(rng, leak, **sizes)) for _ in range(repeats)]
    )
    truth = found[:, 0].mean() if leak.any() else 0.5
    return np.mean((found[:, 1] <= truth) & (truth <= found[:, 2]))


def test_intervals_cover_chance_where_nothing_is_left():
    assert coverage(np.zeros(30), 60, models=24) > 0.85


def test_few_models_are_not_narrower_than_either_variance():
    """The jackknife is the wider one where nothing leaks; 48 do not need it."""
    rng = np.random.default_rng(8)
    halves = []
    for models in (46, 48):
        found = [
            set_level(*simulated(rng, np.zeros(30), models=models)) for _ in range(20)
        ]
        halves.append(np.mean([one.high - one.low for one in found]) / 2)
    null = [np.sqrt((2 * s + 1) / (12 * s * s)) for s in (46, 48)]
    assert halves[0] / null[0] > 1.15 * halves[1] / null[1]


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.0, 0.1, 1.0])
def test_coverage(part):
    rng = np.random.default_rng(4)
    leak = rng.exponential(0.35, 60) * (np.arange(60) < 60 * part)
    assert coverage(leak, 70) > 0.9


def test_unlearned_and_retrained_models_have_one_set_each():
    rng = np.random.default_rng(5)
    states = np.repeat([[FORGET], [OUT]], 24, axis=0) * np.ones((1, 40), int)
    margins = rng.normal(size=states.shape)
    assert set_level(margins, states).low < 0.5 < set_level(margins, states).high
    assert set_level(margins + (states == FORGET), states).low > 0.95


def test_what_examples_of_one_model_share_is_no_noise_of_examples():
    """As of a class or a client: each model has one set, and its own shift."""
    rng, held = np.random.default_rng(8), 0
    states = np.repeat([[FORGET], [OUT]], 48, axis=0) * np.ones((1, 12), int)
    for _ in range(60):
        shared = rng.normal(size=(96, 1))
        margins = np.sqrt(0.5) * (shared + rng.normal(size=states.shape))
        found = set_level(margins, states)
        held += found.low <= 0.5 <= found.high
    assert held >= 55


def test_of_few_models_an_auc_of_one_has_an_interval():
    states = np.repeat([[FORGET], [OUT]], 3, axis=0) * np.ones((1, 20), int)
    margins = np.random.default_rng(9).normal(size=states.shape) + 9 * (states == OUT)
    found = set_level(margins, states)
    assert found.value == 1 and found.low < 0.5


def test_deterministic_models_give_nothing_away():
    _, states = simulated(np.random.default_rng(6), np.zeros(20))
    assert set_level(np.ones(states.shape), states) == (0.5, 0.5, 0.5)


def test_what_is_told_apart_without_a_doubt():
    """Likelihood ratios are infinite, and their means have no spread."""
    _, states = simulated(np.random.default_rng(6), np.zeros(20))
    margins = np.where(states == FORGET, np.inf, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = set_level(margins, states, attack=lambda margins, states: margins)
    assert found == (1.0, 1.0, 1.0)


def test_too_few_models_are_refused():
    margins, states = simulated(np.random.default_rng(7), np.zeros(20), models=12)
    states[3:] = np.where(states[3:] == FORGET, lira.RETAIN, states[3:])
    states[:2] = np.where(states[:2] == FORGET, lira.RETAIN, states[:2])
    with pytest.raises(InputError):
        set_level(margins, states)


def test_the_separation_is_that_of_two_gaussians():
    for apart in (0.0, 0.5, 2.0):
        area = stats.norm.cdf(apart / np.sqrt(2))
        assert separation(area) == pytest.approx(apart, abs=1e-9)
    assert separation(1.0) == separation(0.99) < 4
