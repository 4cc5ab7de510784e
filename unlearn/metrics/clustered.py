"""Intervals of what is averaged over pairs of a model and an example.

Pairs are not independent: those of a model share its training, those of an example the
models that it is compared with. A statistic is written as its value and a sum of
*influences*, one a pair; its variance is then

    V = V_models + V_examples - V_pairs

of the influences summed over each model, over each example, and not at all: two-way
clustering (Cameron, Gelbach & Miller, J. Bus. Econ. Stat. 2011; the placements of the
Mann-Whitney statistic are those of DeLong et al., Biometrics 1988). Measured coverage
of 95 % intervals of the AUC is in `roc.evaluate`.
"""

from typing import NamedTuple

import numpy as np
import scipy

from unlearn.errors import InputError

__all__ = [
    "Estimate",
    "difference",
    "estimate",
    "quantile",
    "share",
    "variance",
    "without_common",
]

FEW = 24  # of fewer models or examples the variance itself is noise


class Estimate(NamedTuple):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


def variance(influences: np.ndarray, examples: int | None = None) -> float:
    """Returns the two-way clustered variance of a sum of influences.

    Args:
      influences: float[S, N], 0 for pairs that are not used.
      examples: how many examples were drawn; by default those with an influence.

    Each part is multiplied by G / (G - 1) for its G clusters. It is at least half the
    variance of independent pairs: the difference of noisy parts can be 0 or less, as of
    models that differ on a handful of examples. With fewer than 24 clusters on a side
    it is at least all of that variance.

    Returns: the variance, or NaN with fewer than two models.
    """
    influences = np.asarray(influences, np.float64)
    by_model = influences.sum(axis=1)
    by_example = influences.sum(axis=0)
    if len(by_model) < 2:
        return np.nan
    if examples is None:
        examples = _with_influence(influences)
    parts = [
        np.sum(sums**2) * count / max(count - 1, 1)
        for sums, count in ((by_model, len(by_model)), (by_example, examples))
    ]
    alone = np.sum(influences**2)
    few = min(len(by_model), examples) < FEW
    least = alone if few else alone / 2
    return float(max(sum(parts) - alone, least))


def _with_influence(influences):
    return int((influences != 0).any(axis=0).sum())


def without_common(
    influences: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> np.ndarray:
    """Takes from influences[S, N] what both groups have in common on an example.

    Such as that it is easy: it adds to the one group and takes from the other, so it
    cancels in the sum of the example, and must not be subtracted with the pairs. That
    sum stays as it is.

    Args:
      positive, negative: bool[S, N], the pairs of each group.
    """
    groups = positive, negative
    sums = [np.where(group, influences, 0).sum(axis=0) for group in groups]
    half = (sums[0] - sums[1]) / 2
    shares = [half / np.maximum(group.sum(axis=0), 1) for group in groups]
    both = positive.any(axis=0) & negative.any(axis=0)
    taken = np.where(positive, shares[0], 0) - np.where(negative, shares[1], 0)
    return influences - np.where(both, taken, 0)


def quantile(clusters: int, comparisons: int = 1) -> float:
    """Returns how many deviations a 95 % interval reaches, by Student's t.

    Args:
      clusters: the smaller of the numbers of models and of examples.
      comparisons: how many intervals are to hold together (Bonferroni).
    """
    return float(scipy.stats.t.ppf(1 - 0.025 / comparisons, max(clusters - 1, 1)))


def estimate(
    value: float,
    influences: np.ndarray,
    *,
    comparisons: int = 1,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    examples: int | None = None,
) -> Estimate:
    """Returns a value with its interval from the influences float[S, N] of the pairs.

    The interval is cut to `bounds`; its ends are NaN with fewer than two models.
    `examples`: see `variance`.
    """
    if examples is None:
        examples = _with_influence(influences)
    deviation = np.sqrt(variance(influences, examples))
    half = quantile(min(len(influences), max(examples, 2)), comparisons) * deviation
    low, high = np.clip([value - half, value + half], *bounds)
    return Estimate(float(value), float(low), float(high))


def unseen(clusters: int, comparisons: int = 1) -> float:
    """Returns how common what none of a few clusters has shown may still be, at 95 %.

    Of 24 or more 0: there a variance of 0 is taken as it is. For an AUC of 0 or 1.
    """
    if clusters >= FEW:
        return 0.0
    return float(1 - (0.025 / comparisons) ** (1 / max(clusters, 1)))


def share(
    hits: np.ndarray, used: np.ndarray | None = None, *, comparisons: int = 1
) -> Estimate:
    """Estimates the mean of hits[S, N] in [0, 1], such as an accuracy.

    Over other models and other examples; the interval is cut to [0, 1]. `used`: the
    pairs that count, bool[S, N], by default all.
    """
    hits = _table(hits)
    used = np.ones(hits.shape, bool) if used is None else used
    value = hits[used].mean()
    influences = np.where(used, hits - value, 0.0) / used.sum()
    return estimate(
        value,
        influences,
        comparisons=comparisons,
        bounds=(0.0, 1.0),
        examples=int(used.any(axis=0).sum()),
    )


def difference(
    hits: np.ndarray, others: np.ndarray, *, comparisons: int = 1
) -> Estimate:
    """Estimates mean(hits) - mean(others), of two groups of models on one set.

    Args:
      hits, others: float[S, N] and float[R, N], such as which of N test examples each
        model answers rightly; models of the two groups are independent.
      comparisons: see `quantile`.

    What the groups have in common on an example, such as that it is hard, cancels. An
    example that all models answer rightly counts as one that was drawn: of two hundred,
    two of them hard, there are two hundred.

    Raises:
      InputError: the groups are of other examples.
    """
    hits, others = _table(hits), _table(others)
    if hits.shape[1] != others.shape[1]:
        shapes = f"{hits.shape} and {others.shape}"
        raise InputError(f"two groups of models on one set are needed, not {shapes}")
    both = [(hits - hits.mean()) / hits.size, (others.mean() - others) / others.size]
    first = np.repeat([True, False], [len(hits), len(others)])[:, None]
    first = np.broadcast_to(first, (len(first), hits.shape[1]))
    influences = without_common(np.concatenate(both), first, ~first)
    value = hits.mean() - others.mean()
    return estimate(
        value,
        influences,
        comparisons=comparisons,
        bounds=(-1.0, 1.0),
        examples=hits.shape[1],
    )


def _table(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not values.size:
        raise InputError(
            f"values of models and examples are [S, N], not {values.shape}"
        )
    return values
