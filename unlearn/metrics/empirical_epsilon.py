"""A lower bound on epsilon from what an attack achieved.

A mechanism that is (epsilon, delta)-indistinguishable from retraining bounds every
attack: TPR <= e^epsilon FPR + delta, and so for the two exchanged. An attack with n and
m independent trials therefore proves, with Clopper-Pearson bounds,

    epsilon >= log((TPR_low - delta) / FPR_high)
    epsilon >= log((1 - FPR_high - delta) / (1 - TPR_low))

Jagielski et al., "Auditing Differentially Private Machine Learning", NeurIPS 2020,
https://arxiv.org/abs/2006.07709; Nasr et al., USENIX Security 2023,
https://arxiv.org/abs/2302.07956. A bound above a certified epsilon refutes the
certificate; one below proves nothing. It is limited by the number of trials: `largest`.
"""

from typing import NamedTuple

import numpy as np

from unlearn.errors import InputError

__all__ = ["empirical_epsilon", "epsilon_lower_bound", "largest"]


class Bound(NamedTuple):
    """A lower bound on epsilon, and the trials that it is from."""

    epsilon: float  # 0 where nothing is shown
    hits: int  # of the positives
    positives: int
    alarms: int  # of the negatives
    negatives: int


def epsilon_lower_bound(
    hits: int,
    positives: int,
    alarms: int,
    negatives: int,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Bounds epsilon from below by one pair of a true and a false positive rate.

    Args:
      hits: of `positives` independent trials with the forgotten example.
      alarms: of `negatives` independent trials without it.
      delta: of the guarantee.
      confidence: that epsilon is not below; shared by the two rates' bounds.

    Returns: 0 or more.

    Raises:
      InputError: counts that do not fit, or a confidence or delta outside [0, 1).
    """
    if not (0 <= hits <= positives and 0 <= alarms <= negatives):
        raise InputError(
            f"counts do not fit: {hits} of {positives}, {alarms} of {negatives}"
        )
    if not positives or not negatives:
        raise InputError("a bound on epsilon needs trials of both kinds")
    if not (0 < confidence < 1 and 0 <= delta < 1):
        raise InputError(
            f"confidence and delta must lie in (0, 1) and [0, 1); they are "
            f"{confidence} and {delta}"
        )
    return float(_bounds(hits, positives, alarms, negatives, delta, confidence))


def _bounds(hits, positives, alarms, negatives, delta, confidence):
    """The bound of each pair of counts."""
    from scipy.stats import beta

    hits, alarms = np.asarray(hits), np.asarray(alarms)
    risk = (1 - confidence) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(hits, beta.ppf(risk, hits, positives - hits + 1), 0.0)
        miss = negatives - alarms
        high = np.where(miss, beta.ppf(1 - risk, alarms + 1, miss), 1.0)
        shown = np.array([(low - delta) / high, (1 - high - delta) / (1 - low)])
        return np.log(np.maximum(shown, 1.0)).max(axis=0)


def largest(
    positives: int, negatives: int, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Computes the bound of an attack that never errs: so many trials show no more."""
    options = {"delta": delta, "confidence": confidence}
    return epsilon_lower_bound(positives, positives, 0, negatives, **options)


def empirical_epsilon(
    scores: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> Bound:
    """Bounds epsilon by the scores of an attack on many models.

    Args:
      scores: float[S, N], higher for forgotten examples; NaN: none.
      positive, negative: bool[S, N], pairs with a forgotten, with a never-seen example.

    Every second model chooses: which examples are most exposed, and the threshold. The
    others count, each with one positive and one negative pair, of its most exposed
    examples: pairs of one model would not be independent. Scores must not be of an
    attack that was tuned on the models that count; leave-one-out attacks (`lira`) are
    nearly so.

    Raises:
      InputError: too few models, or see `epsilon_lower_bound`.
    """
    positive, negative = (
        np.asarray(group, bool) & np.isfinite(scores) for group in (positive, negative)
    )
    order = np.argsort(-_exposure(scores[::2], positive[::2], negative[::2]))
    choosing, counting = (
        [_first(scores[i::2], group[i::2], order) for group in (positive, negative)]
        for i in (0, 1)
    )
    if not all(len(group) for group in (*choosing, *counting)):
        raise InputError("a bound on epsilon needs more models: a kind has no pair")
    values = np.unique(np.concatenate(choosing))
    thresholds = np.append(0.5 * (values[:-1] + values[1:]), values[0])
    above = [np.sum(group >= thresholds[:, None], axis=1) for group in choosing]
    trials = (above[0], len(choosing[0]), above[1], len(choosing[1]))
    best = thresholds[np.argmax(_bounds(*trials, delta, confidence))]
    hits, alarms = (int(np.sum(group >= best)) for group in counting)
    found = hits, len(counting[0]), alarms, len(counting[1])
    bound = epsilon_lower_bound(*found, delta=delta, confidence=confidence)
    return Bound(bound, *found)


def _exposure(scores, positive, negative):
    """Mean score where positive less that where negative: float64[N]."""
    means = [
        np.sum(np.where(group, scores, 0.0), axis=0) / np.maximum(group.sum(axis=0), 1)
        for group in (positive, negative)
    ]
    both = positive.any(axis=0) & negative.any(axis=0)
    return np.where(both, means[0] - means[1], -np.inf)


def _first(scores, group, order):
    """The score of the first example in order that is in the group, of each model."""
    inside = group[:, order]
    rows = np.flatnonzero(inside.any(axis=1))
    return scores[rows, order[inside[rows].argmax(axis=1)]]
