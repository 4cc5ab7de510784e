"""RMIA against its triple loop."""

import numpy as np
import pytest
from attack_studies import (
    ATTACKS,
    CASES,
    audit,
    by_loops,
    random_studies,
    study,
)
from scipy.special import expit

from unlearn.metrics.lira import (
    FORGET,
    OUT,
    RETAIN,
)
from unlearn.metrics.rmia import rmia


@pytest.mark.slow
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
