"""RMIA: is the example's probability raised more than that of other examples?

    LR(x, z) = (p(x | model) / p(x)) / (p(z | model) / p(z))
    score(x) = share of the z with LR(x, z) >= gamma

Zarifzadeh et al., "Low-Cost High-Power Membership Inference Attacks", ICML 2024,
https://arxiv.org/abs/2312.03262. p(x) is a mean over reference models.
"""

import numpy as np
import scipy
from scipy.special import log_expit

from unlearn.errors import InputError
from unlearn.metrics.lira import RETAIN, check, check_finite, leave_one_out, left_out

__all__ = ["rmia"]

# Ratios that are equal but for rounding count as equal.
TOLERANCE = 1e-12


def rmia(
    margins: np.ndarray,
    states: np.ndarray,
    *,
    positive: int = RETAIN,
    population: np.ndarray | None = None,
    gamma: float = 1.0,
    offline: bool = False,
    a: float = 0.3,
) -> np.ndarray:
    """Scores pairs by RMIA: the share of z over which x is favoured.

    Args:
      margins: float[S, N]; p is their logistic function.
      states: int[S, N].
      positive: the state against OUT: RETAIN, or FORGET for unlearned models.
      population: float[S, Z], margins of examples no model has seen, as the z. By
        default the z of a model are the examples that are OUT of it, without x.
      gamma: 1 as in the released code, which says `>`.
      offline: only OUT models are references, and
        `p(x) = ((1 + a) p_out(x) + (1 - a)) / 2`, for x and z alike.
      a: in [0, 1], how far the IN mean is from 1: `p_in = a p_out + (1 - a)`.

    The references are the other models, left out in pairs as for LiRA (see `lira`):
    online, p(x) is the mean of their mean in `positive` and their mean in OUT. For a
    population, it is the mean of all other models.

    Returns: float64[S, N] in [0, 1]; NaN for pairs in neither state, where fewer than
      two references of a state remain, and without a z. The resolution is one over the
      number of z, so true positive rates at 1 % and 0.1 % false positives are 0 unless
      there are far more than 100 and 1000. The floor of the AUC is in `roc.evaluate`.

    Raises:
      InputError: shapes differ, a margin is not finite, a group is empty, or `gamma` or
        `a` is out of range.
    """
    margins, members, non_members = check(margins, states, positive)
    if not (gamma > 0 and 0 <= a <= 1):
        raise InputError(f"gamma must be above 0 and a in [0, 1], not {gamma} and {a}")
    log_p = log_expit(margins)
    reference = _log_mean(log_p, non_members, members)
    if offline:
        reference = _interpolate(reference, a)
    else:
        member_reference = _log_mean(log_p, members, non_members)
        with np.errstate(invalid="ignore"):
            reference = np.logaddexp(reference, member_reference) - np.log(2)
    valid = (members | non_members) & ~np.isnan(reference)
    ratios = np.where(valid, log_p - reference, np.inf)
    if population is None:
        counted = valid & non_members
        others = np.where(counted, ratios, np.inf)
        itself = counted & (np.log(gamma) <= TOLERANCE)
    else:
        others = _population_ratios(population, offline, a, len(margins))
        counted, itself = np.isfinite(others), np.zeros(margins.shape, bool)
    favoured = _count_below(others, ratios - np.log(gamma) + TOLERANCE) - itself
    total = counted.sum(axis=1, keepdims=True)
    if population is None:
        total = total - counted
    return np.where(valid & (total > 0), favoured / np.maximum(total, 1), np.nan)


def _log_mean(log_p, group, other):
    """Log of the mean of a group's other models; NaN if fewer than two."""
    without = left_out(group, other)
    total, count = (
        np.take_along_axis(leave_one_out(values, ufunc), without, axis=0)
        for values, ufunc in (
            (np.where(group, log_p, -np.inf), np.logaddexp),
            (group.astype(float), np.add),
        )
    )
    return total - np.log(np.where(count < 2, np.nan, count))


def _interpolate(log_p_out, a):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.logaddexp(np.log1p(a) + log_p_out, np.log1p(-a)) - np.log(2)


def _population_ratios(population, offline, a, size):
    population = np.asarray(population, np.float64)
    if population.ndim != 2 or len(population) != size or not population.size:
        raise InputError(f"population must be [{size}, Z], not {population.shape}")
    check_finite(population)
    log_p = log_expit(population)
    everyone = np.ones(population.shape, bool)
    reference = _log_mean(log_p, everyone, everyone)
    return log_p - (_interpolate(reference, a) if offline else reference)


def _count_below(others, values):
    """How many of a row's `others` are at most each of its `values`, int[S, N]."""
    both = np.concatenate([values, others], axis=1)
    ranks = scipy.stats.rankdata(both, method="max", axis=1)[:, : values.shape[1]]
    return ranks - scipy.stats.rankdata(values, method="max", axis=1)
