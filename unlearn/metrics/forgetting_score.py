"""The score of the NeurIPS 2023 unlearning challenge.

For each forgotten example an attacker guesses from the margin (see `klom`) of a model
whether that model was unlearned or retrained. From the attacker's error rates follows
an epsilon, as in differential privacy, for each rule of guessing; the best counts:

    eps(FPR, FNR)   = max(ln(1-d-FPR) - ln FNR, ln(1-d-FNR) - ln FPR, 0),  d = 1e-5
    points(eps)     = 2**-k for eps in [k/2, (k+1)/2), 0 from ceil(ln(models - 1)) on
    score           = mean of the points over the forget set
    final score     = score * (RA_u / RA_r) * (TA_u / TA_r)

Triantafillou et al., https://arxiv.org/abs/2406.09073. The rules of guessing:

single  the group of the larger median is where margin >= t; t on a grid of 100 a unit
        from the least to the largest margin of both groups;
double  the group of the smaller range is where l <= margin <= r; r on a grid of 100 a
        unit within 2 of that group's largest margin, l likewise within 2 of r minus
        the range.

A threshold that makes errors of one kind only is discarded (too few models);
one that makes none gives infinity. If one range is below 1 % of the other, eps is 50,
which is also its cap.

The score of a *perfect* method is about .19, not 1: the largest of many noisy epsilons
is not small. It does not rise with the number of models (measured on identical standard
Gaussians: .19, .19, .19, .19, .18 for 64, 128, ..., 1,024; with the single rule only,
.35 to .39). With 512 models, a mean shifted by .25 / .5 / 1 / 2 standard deviations
gives .136 / .073 / .016 / .0016, and half the standard deviation .003: unlearned models
that vary less than retrained ones score badly as well. The grid has a unit, the logit,
so even the perfect score depends on how much margins vary (.09 for a standard deviation
of .3, .18 for 3). Hence `relative_forgetting_score`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unlearn.errors import InputError
from unlearn.metrics.klom import comparable, margins

__all__ = [
    "epsilons",
    "final_score",
    "forgetting_score",
    "points",
    "relative_forgetting_score",
]

CAP = 50.0
LIMIT = float(-np.log(1e-45))  # the challenge adds 1e-45 to probabilities
BUFFER = 2.0
PER_UNIT = 100
STEPS = int(2 * BUFFER * PER_UNIT)


class ForgettingScore(NamedTuple):
    """A forgetting score beside its floor."""

    score: float
    floor: float  # other retrained models in the place of the unlearned ones
    relative: float  # score / floor: 1 is as good as retraining, up to noise
    models: int  # in each of the three groups


def epsilons(
    unlearned: np.ndarray,
    retrained: np.ndarray,
    *,
    delta: float = 1e-5,
    rules: Sequence[str] = ("single", "double"),
) -> np.ndarray:
    """Computes the attacker's best epsilon for each example, float64[N], in [0, 50].

    Args:
      unlearned: float[M, N], margins of N forgotten examples under M unlearned models.
      retrained: float[L, N], the same under L retrained models.
      delta: of the (epsilon, delta) guarantee that is tested.
      rules: of guessing: single, double or both.

    An epsilon depends only on how many models of each group are guessed wrong, so all
    are computed once, and each example needs but counts. Where every threshold of the
    grid is discarded (the released code stops there), all margins are tried as single
    thresholds; if these are discarded too, epsilon is 50, or 0 if all margins agree.

    Raises:
      InputError: margins as in `klom`, or an unknown rule.
    """
    unknown = set(rules) - set(RULES)
    if unknown or not rules:
        raise InputError(f"rules are {', '.join(RULES)}, not {rules!r}")
    unlearned, retrained = margins(unlearned, retrained, LIMIT)
    table = epsilon_table(len(unlearned), len(retrained), delta)
    examples = zip(np.sort(unlearned.T), np.sort(retrained.T), strict=True)
    return np.array([best_epsilon(u, r, table, rules) for u, r in examples])


def points(epsilon: np.ndarray, models: int) -> np.ndarray:
    """Awards 2**-k for an epsilon in the k-th bin of width 0.5, 0 past the last bin.

    Args:
      models: in a group; the last bin ends at `ceil(ln(models - 1))`.

    Raises:
      InputError: fewer than three models, which leave no bin.
    """
    if models < 3:
        raise InputError(f"the forgetting score needs 3 models, not {models}")
    bins = 2 * np.ceil(np.log(models - 1))
    number = np.floor(np.asarray(epsilon, np.float64) / 0.5)
    return np.where(number < bins, 2.0**-number, 0.0)


def forgetting_score(
    unlearned: np.ndarray, retrained: np.ndarray, **options: Any
) -> float:
    """Computes the mean of the points, in [0, 1]; a perfect method has about .19.

    Args: as `epsilons`. Raises: as `epsilons` and `points`.
    """
    models = min(len(unlearned), len(retrained))
    return float(points(epsilons(unlearned, retrained, **options), models).mean())


def relative_forgetting_score(
    unlearned: np.ndarray,
    retrained: np.ndarray,
    other: np.ndarray | None = None,
    **options: Any,
) -> ForgettingScore:
    """Computes the score, that of retrained models, and their ratio.

    Args:
      unlearned: float[M, N], margins under M unlearned models.
      retrained: float[L, N], the same under L retrained models.
      other: float[L', N], a second, independent group of retrained models; without
        one, `retrained` is cut into halves, so that at most L / 2 are used.
      options: of `epsilons`.

    Raises:
      InputError: as `epsilons` and `points`, or too few models for a floor.
    """
    unlearned, retrained, other = comparable(unlearned, retrained, other)
    score = forgetting_score(unlearned, retrained, **options)
    floor = forgetting_score(other, retrained, **options)
    ratio = score / floor if floor else float("nan")
    return ForgettingScore(score, floor, ratio, len(retrained))


def final_score(score: float, retain_ratio: float, test_ratio: float) -> float:
    """Weights the score by utility.

    Args:
      score: a forgetting score.
      retain_ratio, test_ratio: mean accuracy on the retain and test set of unlearned
        models over that of retrained ones.
    """
    return float(score * retain_ratio * test_ratio)


def epsilon_table(rows: int, columns: int, delta: float) -> np.ndarray:
    """Tabulates epsilon by the wrong guesses in two groups, float64[R+1, C+1].

    -inf where the threshold is discarded.
    """
    fnr = np.arange(rows + 1)[:, None] / rows
    fpr = np.arange(columns + 1)[None] / columns
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.log(1 - delta - fpr) - np.log(fnr)
        two = np.log(1 - delta - fnr) - np.log(fpr)
    table = np.maximum(np.fmax(one, two), 0)  # fmax: the log of a negative is no bound
    table[np.isnan(table)] = -np.inf
    table[0], table[:, 0] = -np.inf, -np.inf
    table[0, 0] = np.inf
    return table


def best_epsilon(
    unlearned: np.ndarray,
    retrained: np.ndarray,
    table: np.ndarray,
    rules: Sequence[str],
) -> float:
    """Finds the epsilon of one example, from sorted float[M] and float[L]."""
    ranges = [x[-1] - x[0] for x in (unlearned, retrained)]
    if not max(ranges):
        return CAP if unlearned[0] != retrained[0] else 0.0
    if min(ranges) < 0.01 * max(ranges):
        return CAP
    larger = np.median(retrained) > np.median(unlearned)
    positive, negative = (retrained, unlearned) if larger else (unlearned, retrained)
    table = table.T if larger else table
    best = max(RULES[rule](positive, negative, table) for rule in rules)
    if best == -np.inf:
        every = np.concatenate([positive, negative])
        best = single(positive, negative, table, every)
    return CAP if best == -np.inf else min(float(best), CAP)


def single(
    positive: np.ndarray,
    negative: np.ndarray,
    table: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> float:
    """Guesses the group of the larger median where the margin is at least t."""
    if thresholds is None:
        low, high = min(positive[0], negative[0]), max(positive[-1], negative[-1])
        thresholds = np.linspace(low, high, int(np.ceil((high - low) * PER_UNIT)))
    missed = np.searchsorted(positive, thresholds)
    false = len(negative) - np.searchsorted(negative, thresholds)
    return table[missed, false].max(initial=-np.inf)


def double(positive: np.ndarray, negative: np.ndarray, table: np.ndarray) -> float:
    """Guesses the group of the smaller range where the margin is in [l, r].

    With s the grid of `STEPS` points in [-BUFFER, BUFFER], r_j = max + s_j and
    l_jk = r_j - range + s_k = min + s_j + s_k, which has but 2 STEPS - 1 values. One
    is min itself; in the released code, rounding decides on which side of it l falls.
    """
    if positive[-1] - positive[0] >= negative[-1] - negative[0]:
        positive, negative, table = negative, positive, table.T
    right = positive[-1] + np.linspace(-BUFFER, BUFFER, STEPS)
    left = positive[0] + np.linspace(-2 * BUFFER, 2 * BUFFER, 2 * STEPS - 1)

    def inside(group):
        up_to = np.searchsorted(group, right, "right")
        before = sliding_window_view(np.searchsorted(group, left), STEPS)
        return np.maximum(up_to[:, None] - before, 0)

    return table[len(positive) - inside(positive), inside(negative)].max()


RULES = {"single": single, "double": double}
