"""Audits of per-example attacks: ROC, rates at low false positives, intervals.

An attack gives a score to every pair of a model and an example (`lira`, `rmia`,
`ruli`, `bavaria`); here the pairs of all models and examples are pooled, as in Carlini
et al. (2022). Pairs are not independent: those of a model share its training, those of
an example the models that it is compared with.
"""

from typing import NamedTuple

import numpy as np

from unlearn.errors import InputError

__all__ = ["FALSE_POSITIVE_RATES", "evaluate", "roc_curve"]

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
    models: np.ndarray | None = None,
    balanced: bool = True,
    examples: bool = True,
    rounds: int = 1000,
    seed: int = 0,
) -> Audit:
    """Computes AUC and true positive rates at 1 % and 0.1 % false positives.

    All pairs of a model and an example are pooled.

    Args:
      scores: float[S, N], higher for members; NaN: the pair is left out.
      positive, negative: bool[S, N], the pairs of each group.
      models: int[S], rows of one number are resampled together, such as the unlearned
        and the retrained model of one split; by default every row is its own.
      balanced: weigh pairs so that each example counts the same in both groups, as if
        it was positive in as many models as every other, and negative likewise; then
        it changes nothing. Without, as in the literature, pairs count the same. With
        states drawn independently, examples that are positive in more models have
        higher scores, too, since less is known of the other group: the AUC of U-LiRA on
        24 models was 0.515 where the groups were alike, of BaVarIA 0.520; balanced,
        both were 0.50.
      examples: resample examples as well as models, see below.
      rounds: of the bootstrap; 0: no intervals.

    A tie counts one half. The TPR at x is the largest of a threshold with FPR <= x, and
    NaN if x allows not even one of the negatives. The floor of the AUC is 0.5 with
    standard deviation `null_sd = sqrt((n + m + 1) / (12 n m))`, if pairs were
    independent. Those of an example share the models that they are compared with: over
    repeated studies in which the groups were alike, the AUC of `lira_offline` and
    `rmia` varied as much as that or less, that of `u_lira`, `bavaria` and RULI 1.2 to
    1.6 times as much. To see the floor of one study, shuffle the states of each example
    among the models, and attack again.

    The bootstrap draws models and, independently, examples with replacement (Owen, "The
    pigeonhole bootstrap", 2007) and takes percentiles. The scores are not computed
    again. It is on the safe side: intervals of the AUC covered the mean of repeated
    studies in 95 to 100 % of simulations of 9 to 128 models. With models alone
    (`examples=False`) in 63 to 90 %: what the pairs of an example share did not vary.

    Raises:
      InputError: shapes differ, groups overlap, or one has no pair with a score.
    """
    scores, positive, negative = _check(scores, positive, negative)
    size, count = scores.shape
    positive, negative, weights = _weighted(positive, negative, balanced)
    ranking = _rank(scores, positive, negative)
    n, m = (np.sum(weights[g]) ** 2 / np.sum(weights[g] ** 2) for g in ranking.groups)
    enough = np.array([True, *(m * rate >= 1 - 1e-9 for rate in FALSE_POSITIVE_RATES)])
    point = np.where(enough, _rates(ranking, weights), np.nan)

    models = np.arange(size) if models is None else np.asarray(models)
    models = np.unique(models, return_inverse=True)[1]
    if models.shape != (size,):
        raise InputError(f"models has shape {models.shape}, not ({size},)")
    draws = np.full((max(rounds, 1), 3), np.nan)
    rng = np.random.default_rng(seed)
    for i in range(rounds if models.max() > 0 else 0):
        rows = _draw(rng, models.max() + 1)[models]
        columns = _draw(rng, count) if examples else np.ones(count)
        draws[i] = _rates(ranking, weights * np.outer(rows, columns))
    draws = draws[~np.isnan(draws[:, 0])]
    ends = np.full((2, 3), np.nan)
    if len(draws):
        ends = np.where(enough, np.quantile(draws, [0.025, 0.975], axis=0), np.nan)
    auc, at_1, at_01 = map(float, point)
    interval, interval_1, interval_01 = ((float(a), float(b)) for a, b in ends.T)
    return Audit(
        auc=auc,
        auc_interval=interval,
        tpr_at_1fpr=at_1,
        tpr_at_1fpr_interval=interval_1,
        tpr_at_01fpr=at_01,
        tpr_at_01fpr_interval=interval_01,
        null_sd=float(np.sqrt((n + m + 1) / (12 * n * m))),
        positives=int(positive.sum()),
        negatives=int(negative.sum()),
    )


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


class _Ranking(NamedTuple):
    """The pairs by falling score, as indices into the flat [S, N]."""

    groups: tuple[np.ndarray, np.ndarray]  # positive and negative, bool[S, N]
    positives: np.ndarray
    negatives: np.ndarray
    above: np.ndarray  # for each negative: how many positives score more
    level: np.ndarray  # or as much


def _rank(scores, positive, negative):
    flat = scores.ravel()
    positives, negatives = (
        pairs[np.argsort(-flat[pairs], kind="stable")]
        for pairs in (np.flatnonzero(positive), np.flatnonzero(negative))
    )
    rising = -flat[positives]
    above = np.searchsorted(rising, -flat[negatives], side="left")
    level = np.searchsorted(rising, -flat[negatives], side="right")
    return _Ranking((positive, negative), positives, negatives, above, level)


def _rates(ranking, weights):
    """AUC and the true positive rates; NaN if a group has no weight."""
    weights = weights.ravel()
    hits = np.append(0, np.cumsum(weights[ranking.positives]))
    others = weights[ranking.negatives]
    alarms = np.cumsum(others)
    if not hits[-1] * alarms[-1]:
        return np.full(3, np.nan)
    auc = others @ (hits[ranking.above] + hits[ranking.level]) / (2 * alarms[-1])
    limits = np.array(FALSE_POSITIVE_RATES) * alarms[-1] * (1 + 1e-9)
    refused = np.searchsorted(alarms, limits, side="right")  # the first too many
    return np.append(auc, hits[ranking.above[refused]]) / hits[-1]


def _draw(rng, size):
    """How often each of `size` is drawn in `size` draws with replacement."""
    return np.bincount(rng.integers(0, size, size), minlength=size).astype(float)


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
            raise InputError(f"no {name} pair has a score: more models are needed")
