"""KLoM: how far the margins of many unlearned models are from those of many retrained.

    margin of an example  = log p_y - log(1 - p_y) = z_y - logsumexp of the other logits
    KLoM of an example    = KL(histogram over unlearned models || over retrained models)

Georgiev et al., "Attribute-to-Delete: Machine Unlearning via Datamodel Matching",
https://arxiv.org/abs/2410.23232. From the losses of `accuracy.losses`, exactly:
`margin = -loss - np.log(-np.expm1(-loss))`.

KLoM of a perfect method is far from 0, because the histograms are of few models: the
floor. It depends strongly on how many (measured on identical Gaussians, 20 bins):

    models       10    20    50    80   100   200   512
    mean       5.63  3.06   .90   .47   .36   .15   .05
    95 %       7.98  5.01  1.71   .91   .68   .29   .09

With 100 models, means shifted by .25 / .5 / 1 / 2 standard deviations give .41 / .57 /
1.21 / 3.61, and one example varies by .17 around the floor: a quarter of a deviation
is seen only in the mean over many. So a value means something only beside a floor of
as many models, which `klom_summary` computes.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import rel_entr

from unlearn.errors import InputError

__all__ = ["klom", "klom_floor", "klom_summary"]


class KlomSummary(NamedTuple):
    """Summary of the examples' KLoM in nats; both parts against the same oracles."""

    mean: float
    p95: float
    floor_mean: float  # other oracles in the place of the unlearned models
    floor_p95: float
    models: int  # in each of the three groups


def klom(
    unlearned: np.ndarray,
    oracle: np.ndarray,
    *,
    bins: int = 20,
    clip: float = 100.0,
    floor: float = 1e-5,
) -> np.ndarray:
    """Computes the KL divergence of margins of each example, float64[N], in nats.

    Args:
      unlearned: float[M, N], margins of N examples under M unlearned models.
      oracle: float[L, N], the same under L models retrained without the forget set.
      bins: equal bins over the joint range of the example.
      clip: margins are cut to this absolute value first.
      floor: smallest share of a bin of `oracle` where `unlearned` has any.

    The largest margin is counted in the last bin; the released code of the benchmark
    drops it. The floor of this value: the table above, or `klom_floor`.

    Raises:
      InputError: not two arrays of N columns, no model, or NaN.
    """
    unlearned, oracle = margins(unlearned, oracle, clip)
    low = np.minimum(unlearned.min(axis=0), oracle.min(axis=0))
    high = np.maximum(unlearned.max(axis=0), oracle.max(axis=0))
    width = np.where(high > low, high - low, 1)
    first_bin = bins * np.arange(len(low))

    def histogram(values):
        cells = ((values - low) / width * bins).astype(int)
        cells = np.minimum(cells, bins - 1) + first_bin
        counts = np.bincount(cells.ravel(), minlength=bins * len(low))
        return counts.reshape(-1, bins) / len(values)

    p, q = histogram(unlearned), histogram(oracle)
    q = np.where(p > 0, np.maximum(q, floor), q)
    return rel_entr(p, q / q.sum(axis=1, keepdims=True)).sum(axis=1)


def klom_floor(
    oracle: np.ndarray, other: np.ndarray | None = None, **options: Any
) -> np.ndarray:
    """Computes KLoM of oracles against oracles, float64[N]: that of a perfect method.

    Args:
      oracle: float[L, N], margins under L retrained models.
      other: float[L', N], a second, independent group. Without one, the second half
        of `oracle` is compared with the first: a floor for L / 2 models, too high
        beside a KLoM of L.
      options: of `klom`.

    Raises:
      InputError: as `klom`, or fewer than two oracles and no other group.
    """
    _, oracle, other = comparable(oracle, oracle, other)
    return klom(other, oracle, **options)


def klom_summary(
    unlearned: np.ndarray,
    oracle: np.ndarray,
    other: np.ndarray | None = None,
    **options: Any,
) -> KlomSummary:
    """Summarises KLoM over examples: mean and 95th percentile, beside their floor.

    Args:
      unlearned: float[M, N], margins under M unlearned models.
      oracle: float[L, N], the same under L retrained models.
      other: float[L', N], a second, independent group of retrained models.
      options: of `klom`.

    Method and floor use as many models: the smallest of the groups, or, without
    `other`, at most half of the oracles.

    Raises:
      InputError: as `klom_floor`.
    """
    unlearned, oracle, other = comparable(unlearned, oracle, other)
    value = klom(unlearned, oracle, **options)
    perfect = klom(other, oracle, **options)
    return KlomSummary(
        float(value.mean()),
        float(np.percentile(value, 95)),
        float(perfect.mean()),
        float(np.percentile(perfect, 95)),
        len(oracle),
    )


def margins(
    unlearned: np.ndarray, oracle: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts both to `limit`, in float64, checked to be of the same N examples."""
    both = tuple(np.asarray(x, np.float64) for x in (unlearned, oracle))
    shapes = [x.shape for x in both]
    if any(x.ndim != 2 for x in both) or shapes[0][1] != shapes[1][1]:
        raise InputError(f"margins must be [models, N], same N: {shapes}")
    if not (len(both[0]) and len(both[1]) and shapes[0][1]):
        raise InputError(f"no model or no example to compare: {shapes}")
    if any(np.isnan(x).any() for x in both):
        raise InputError("a margin is NaN: a model has diverged; leave it out")
    return np.clip(both[0], -limit, limit), np.clip(both[1], -limit, limit)


def comparable(
    unlearned: np.ndarray, oracle: np.ndarray, other: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts three groups to as many models: unlearned, oracle, other oracles.

    Without `other`, the oracles are cut into halves.
    """
    if other is None:
        half = len(oracle) // 2
        oracle, other = oracle[:half], oracle[half:]
    size = min(len(unlearned), len(oracle), len(other))
    if not size:
        raise InputError("a floor needs two oracles and a model: retrain more")
    return unlearned[:size], oracle[:size], other[:size]
