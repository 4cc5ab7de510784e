"""BaVarIA: LiRA with a prior on each example's mean and variance, for few models.

    1 / variance ~ Gamma(a, rate b)      mean | variance ~ Normal(m, variance / k)
    score = log t_positive(margin) - log t_out(margin)

with t the predictive density of a margin given the other models, a Student t. It does
not trust a variance of three models, as LiRA does. Brännvall,
"Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA",
https://arxiv.org/abs/2603.11799. The conjugate prior and the Student t are the paper's;
how (m, k, a, b) are chosen is ours:

- one prior for each group (positive, OUT), by moments over all examples;
- a and b by Smyth (Statistical Applications in Genetics and Molecular Biology, 2004):
  from the mean and the variance of the logs of the examples' sample variances;
- m is the mean of the examples' means, and `1 / k` their mean squared distance from m
  in units of the example's expected variance, less `1 / n` for n models.

The prior for a model is made from the moments that this model sees (see `lira`), hence
from other models only: scores are out of sample with few examples, too.
"""

from typing import NamedTuple

import numpy as np
import scipy
from scipy.special import digamma, polygamma

from unlearn.metrics.lira import MIN_SD, RETAIN, Moments, check, moments

__all__ = ["bavaria"]


def bavaria(
    margins: np.ndarray, states: np.ndarray, *, positive: int = RETAIN
) -> np.ndarray:
    """Scores pairs by the log ratio of two groups' predictive densities.

    Args:
      margins: float[S, N]. The prior is learnt from the N examples: a few dozen at
        least, or it only repeats them.
      states: int[S, N].
      positive: the state against OUT: RETAIN, or FORGET for unlearned models.

    On simulated Gaussians 1.5 standard deviations apart, of very different variances,
    where 0.86 is the best AUC, 4 / 8 / 64 models in each group gave 0.78 / 0.82 / 0.85;
    `lira_online` 0.73 / 0.81 / 0.85, with a global variance 0.77 / 0.80 / 0.81. No
    constant is to be tuned. Variances are at least `lira.MIN_SD ** 2`.

    Returns: float64[S, N], above 0 if more like `positive`; NaN for pairs in neither
      state, and where fewer than two models of a state remain. The floor of the AUC is
      in `roc.evaluate`.

    Raises:
      InputError: shapes differ, a margin is not finite, a group is empty.
    """
    margins, members, non_members = check(margins, states, positive)
    density_in, density_out = (
        _log_predictive(margins, moments(margins, *groups))
        for groups in ((members, non_members), (non_members, members))
    )
    return np.where(members | non_members, density_in - density_out, np.nan)


class Prior(NamedTuple):
    """A normal-inverse-gamma prior, each float64[S, 1]: one for every row."""

    m: np.ndarray
    k: np.ndarray
    a: np.ndarray
    b: np.ndarray


def fit_prior(fitted: Moments) -> Prior:
    """Fits the prior to the moments of many examples, float64[S, N]."""
    freedom = fitted.count - 1
    squared = np.maximum(fitted.squares / freedom, MIN_SD**2)
    logs = np.log(squared) - digamma(freedom / 2) + np.log(freedom / 2)
    spread = _mean((logs - _mean(logs)) ** 2) - _mean(polygamma(1, freedom / 2))
    a = _inverse_trigamma(np.maximum(spread, 1e-4))
    b = np.exp(_mean(logs) + digamma(a))
    m = _mean(fitted.mean)
    variance = (b + fitted.squares / 2) / np.maximum(a + freedom / 2 - 1, 0.5)
    apart = _mean((fitted.mean - m) ** 2 / variance) - _mean(1 / fitted.count)
    return Prior(m, 1 / np.maximum(apart, 1e-4), a, b)


def _log_predictive(x, fitted):
    prior = fit_prior(fitted)
    n, mean = fitted.count, fitted.mean
    k, a = prior.k + n, prior.a + n / 2
    m = (prior.k * prior.m + n * mean) / k
    b = prior.b + (fitted.squares + prior.k * n * (mean - prior.m) ** 2 / k) / 2
    scale = np.sqrt(b * (k + 1) / (a * k))
    return scipy.stats.t.logpdf(x, 2 * a, loc=m, scale=np.maximum(scale, MIN_SD))


def _mean(x):
    """Mean over the examples that have moments, float64[S, 1]; NaN if none has."""
    there = ~np.isnan(x)
    count = there.sum(axis=1, keepdims=True)
    total = np.where(there, x, 0).sum(axis=1, keepdims=True)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def _inverse_trigamma(x):
    """Newton's method on the reciprocal, which is convex: it rises to the solution."""
    y = 0.5 + 1 / x
    for _ in range(8):
        value = polygamma(1, y)
        y = y + value * (1 - value / x) / polygamma(2, y)
    return y
