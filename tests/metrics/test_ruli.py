"""RULI's games against scikit-learn's kernel densities."""

import numpy as np
import pytest
from attack_studies import (
    CASES,
    audit,
    by_loops,
    efficacy_auc,
    random_studies,
    study,
)
from scipy import stats
from sklearn.neighbors import KernelDensity

from unlearn.metrics.lira import (
    FORGET,
)
from unlearn.metrics.ruli import ruli_efficacy, ruli_privacy


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


def test_privacy_and_efficacy_are_different_hypotheses():
    """Unlearned models like never-seen ones, but not like retrained ones."""
    rng = np.random.default_rng(27)
    x, states = study(rng, 24, 60, 0.0)
    retrained = x + 3 * rng.choice([-1, 1], 60)
    assert audit(ruli_privacy, x, states).auc == pytest.approx(0.5, abs=0.08)
    assert efficacy_auc(x, retrained, states) > 0.8
