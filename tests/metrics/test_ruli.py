"""RULI's games against scikit-learn's kernel densities."""

import numpy as np
import pytest
from attack_studies import (
    CASES,
    by_loops,
    random_studies,
    study,
)
from sklearn.neighbors import KernelDensity

from unlearn.metrics.lira import (
    FORGET,
)
from unlearn.metrics.ruli import ruli_privacy


@pytest.mark.slow
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
