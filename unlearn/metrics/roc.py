"""Audits of per-example attacks: ROC, rates at low false positives, intervals.

An attack gives a score to every pair of a model and an example (`lira`, `rmia`,
`ruli`, `bavaria`); here the pairs of all models and examples are pooled, as in Carlini
et al. (2022). Pairs are not independent: those of a model share its training, those of
an example the models that it is compared with.
"""

from typing import NamedTuple

import numpy as np
import scipy

from unlearn.errors import InputError
from unlearn.metrics import clustered

__all__ = ["FALSE_POSITIVE_RATES", "auc", "evaluate", "roc_curve"]

FALSE_POSITIVE_RATES = (0.01, 0.001)


class Audit(NamedTuple):
    """What an attack achieves; the intervals are (low, high), of 95 %."""

    auc: float
    auc_interval: tuple[float, float]
    tpr_at_1fpr: float
    tpr_at_1fpr_interval: tuple[float, float]
    tpr_at_01fpr: float  # at a false positive rate of 0.1 %
    tpr_at_01fpr_interval: tuple[float, float]
    null_sd: float  # of the AUC if groups are alike and pairs independent
    positives: int  # pairs
    negatives: int


def evaluate(
    scores: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    *,
    balanced: bool = True,
    comparisons: int = 1,
) -> Audit:
    """Computes AUC and true positive rates at 1 % and 0.1 % false positives.

    All pairs of a model and an example are pooled.

    Args:
      scores: float[S, N], higher for members; NaN: the pair is left out.
      positive, negative: bool[S, N], the pairs of each group.
      balanced: weigh pairs so that each example counts the same in both groups, as if
        it was positive in as many models as every other, and negative likewise; then
        it changes nothing. Without, as in the literature, pairs count the same. With
        states drawn independently, examples that are positive in more models have
        higher scores, too, since less is known of the other group: the AUC of U-LiRA on
        24 models was 0.515 where the groups were alike, of BaVarIA 0.520; balanced,
        both were 0.50.
      comparisons: how many attacks' intervals are to hold together (Bonferroni).

    A tie counts one half. The TPR at x is the largest of a threshold with FPR <= x, and
    NaN if x allows not even one of the negatives. The floor of the AUC is 0.5 with
    standard deviation `null_sd = sqrt((n + m + 1) / (12 n m))`, if pairs were
    independent. Those of an example share the models that they are compared with: over
    repeated studies in which the groups were alike, the AUC of `lira_offline` and
    `rmia` varied as much as that or less, that of `u_lira`, `bavaria` and RULI 1.2 to
    1.6 times as much. To see the floor of one study, shuffle the states of each example
    among the models, and attack again.

    Intervals are for other models *and* other examples, by the two-way clustered
    variance of `clustered`: of the AUC on the placements of the pairs, of a rate on
    the pairs above the threshold, whose own noise counts by the slope of the ROC, as
    an exact binomial interval of as many pairs as give that variance (Korn & Graubard,
    Survey Methodology 1998). Where no pair of either group is above the threshold, as
    of one answer to everything, all pairs count; where only no positive one is, as many
    as there are models or examples. The scores are not computed again. An AUC of 0 or 1
    has an interval only of fewer than 24 models or examples (`clustered.unseen`).
    95 % intervals of the AUC covered the mean of repeated studies in 93 to 97 % of
    simulations of 24 to 96 models of U-LiRA, LiRA offline and RMIA. They are .7 times
    as wide as those of a bootstrap of models and examples, which covered 96 to 100 %.

    Raises:
      InputError: shapes differ, groups overlap, or one has no pair with a score.
    """
    scores, positive, negative = _check(scores, positive, negative)
    positive, negative, weights = _weighted(positive, negative, balanced)
    n, m = (
        np.sum(weights[g]) ** 2 / np.sum(weights[g] ** 2) for g in (positive, negative)
    )
    pairs = _pairs(scores, positive, negative, weights)
    area = clustered.estimate(
        *_auc(pairs),
        comparisons=comparisons,
        bounds=(0.0, 1.0),
    )
    if min(area.value, 1 - area.value) < 1e-9:  # nothing varies
        used = positive | negative
        clusters = min(int(used.any(axis=axis).sum()) for axis in (0, 1))
        half = clustered.unseen(clusters, comparisons)
        sure = float(round(area.value))
        low, high = max(sure - half, 0.0), min(sure + half, 1.0)
        area = clustered.Estimate(sure, low, high)
    rates = [
        _rate(pairs, rate, comparisons)
        if m * rate >= 1 - 1e-9
        else clustered.Estimate(np.nan, np.nan, np.nan)
        for rate in FALSE_POSITIVE_RATES
    ]
    return Audit(
        auc=area.value,
        auc_interval=(area.low, area.high),
        tpr_at_1fpr=rates[0].value,
        tpr_at_1fpr_interval=(rates[0].low, rates[0].high),
        tpr_at_01fpr=rates[1].value,
        tpr_at_01fpr_interval=(rates[1].low, rates[1].high),
        null_sd=float(np.sqrt((n + m + 1) / (12 * n * m))),
        positives=int(positive.sum()),
        negatives=int(negative.sum()),
    )


def auc(
    scores: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    *,
    balanced: bool = True,
) -> float:
    """Computes the AUC of `evaluate` alone; args and raises as there."""
    scores, positive, negative = _check(scores, positive, negative)
    groups = _weighted(positive, negative, balanced)
    return _auc(_pairs(scores, *groups))[0]


def roc_curve(
    scores: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    *,
    balanced: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes false and true positive rates of all pairs, both rising, for a figure.

    Args and raises: as `evaluate`, whose AUC is the area below. On log axes, leave out
    the first points, where the false positive rate is 0.
    """
    from sklearn.metrics import roc_curve

    scores, positive, negative = _check(scores, positive, negative)
    positive, negative, weights = _weighted(positive, negative, balanced)
    used = positive | negative
    fpr, tpr, _ = roc_curve(positive[used], scores[used], sample_weight=weights[used])
    return fpr, tpr


def _weighted(positive, negative, balanced) -> tuple:
    """The groups and a weight for each pair, see `evaluate`: balanced, only examples
    that are in both groups are left, and each counts the same in both."""
    weights = np.ones(positive.shape)
    if balanced:
        both = positive.any(axis=0) & negative.any(axis=0)
        positive, negative = positive & both, negative & both
        _require(positive, negative)
        for group in (positive, negative):
            weights = np.where(group, 1 / np.maximum(group.sum(axis=0), 1), weights)
    return positive, negative, weights


class _Pairs(NamedTuple):
    """The pairs of both groups, as indices into the flat [S, N], by rising score."""

    shape: tuple[int, int]
    positives: np.ndarray
    negatives: np.ndarray
    scores: tuple[np.ndarray, np.ndarray]  # of the positives, of the negatives
    weights: tuple[np.ndarray, np.ndarray]  # each group's sum to 1


def _pairs(scores, positive, negative, weights):
    flat, heavy = scores.ravel(), weights.ravel()
    groups = [
        pairs[np.argsort(flat[pairs], kind="stable")]
        for pairs in (np.flatnonzero(positive), np.flatnonzero(negative))
    ]
    first, second = (heavy[pairs] / heavy[pairs].sum() for pairs in groups)
    values = flat[groups[0]], flat[groups[1]]
    return _Pairs(scores.shape, *groups, values, (first, second))


def _auc(pairs):
    """The AUC and the influence of each pair: its placement among the other group."""
    (a, b), (v, w) = pairs.scores, pairs.weights
    below, above = _placed(b, w, a), 1 - _placed(a, v, b)
    value = min(float(v @ below), 1.0)  # the weights' sum is 1 but for rounding
    influences = np.zeros(pairs.shape).ravel()
    influences[pairs.positives] = v * (below - value)
    influences[pairs.negatives] = w * (above - value)
    return value, _own(pairs, influences)


def _own(pairs, influences):
    """The influences [S, N] without what both groups have in common on an example."""
    groups = np.zeros((2, influences.size), bool)
    groups[0, pairs.positives] = groups[1, pairs.negatives] = True
    groups = groups.reshape(2, *pairs.shape)
    return clustered.without_common(influences.reshape(pairs.shape), *groups)


def _placed(scores, weights, points):
    """The weight of the sorted scores below each point, ties counted one half."""
    total = np.append(0, np.cumsum(weights))
    sides = (np.searchsorted(scores, points, side) for side in ("left", "right"))
    return sum(total[side] for side in sides) / 2


def _rate(pairs, rate, comparisons):
    """The true positive rate at a false positive rate, with its interval."""
    (a, b), (v, w) = pairs.scores, pairs.weights
    threshold = _threshold(b, w, rate)
    value = float(v[a > threshold].sum() / v.sum())
    near = [v[a > _threshold(b, w, factor * rate)].sum() for factor in (0.5, 1.5)]
    slope = (near[1] - near[0]) / rate
    influences = np.zeros(pairs.shape).ravel()
    influences[pairs.positives] = v * ((a > threshold) - value)
    alarms = (b > threshold).astype(float)
    influences[pairs.negatives] = -slope * w * (alarms - w @ alarms)
    variance = clustered.variance(_own(pairs, influences))
    counted = value * (1 - value)
    if counted and variance > 0:
        size = min(counted / variance, len(a))
    elif not value and not alarms.any():  # no pair stands out from the largest score
        size = len(a)
    else:
        size = min(max(pairs.shape), len(a))
    alpha = 0.025 / comparisons
    hits = size * value
    low = scipy.stats.beta.ppf(alpha, hits, size - hits + 1) if hits > 0 else 0.0
    high = scipy.stats.beta.isf(alpha, hits + 1, size - hits) if hits < size else 1.0
    if np.isnan(variance):
        low = high = np.nan
    return clustered.Estimate(value, float(low), float(high))


def _threshold(scores, weights, rate):
    """The largest score of a negative that may not be called a member."""
    alarms = np.cumsum(weights[::-1])
    refused = np.searchsorted(alarms, rate * (1 + 1e-9), side="right")
    return scores[::-1][min(refused, len(scores) - 1)]


def _check(scores, positive, negative):
    scores = np.asarray(scores, np.float64)
    positive, negative = np.asarray(positive, bool), np.asarray(negative, bool)
    if scores.ndim != 2 or not scores.shape == positive.shape == negative.shape:
        shapes = f"{scores.shape}, {positive.shape} and {negative.shape}"
        raise InputError(f"scores and groups must be [S, N] alike, not {shapes}")
    if np.any(positive & negative):
        raise InputError("a pair is both positive and negative")
    scored = ~np.isnan(scores)
    positive, negative = positive & scored, negative & scored
    _require(positive, negative)
    return scores, positive, negative


def _require(positive, negative):
    for name, group in (("positive", positive), ("negative", negative)):
        if not group.any():
            raise InputError(
                f"no {name} pair has a score: give more models, or more targets"
            )
