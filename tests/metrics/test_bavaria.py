"""BaVarIA against evidences, integrals and a recovered prior."""

import numpy as np
import pytest
from attack_studies import (
    ATTACKS,
    CASES,
    audit,
    others,
    random_studies,
    study,
    used,
)
from scipy import integrate, optimize, stats
from scipy.special import digamma, gammaln, polygamma

from unlearn.metrics.bavaria import bavaria, fit_prior
from unlearn.metrics.lira import (
    FORGET,
    OUT,
    RETAIN,
    moments,
)


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
