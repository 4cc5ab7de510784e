"""Likelihood-ratio membership inference (LiRA), and what all per-example attacks share.

A study has S models and N examples, and each example has a state in each model:

    OUT     never trained on
    RETAIN  trained on and kept
    FORGET  trained on, then unlearned; of a retrained model: left out again

`margins[s, n]`, the logit-scaled confidence of model s in the true class of example n,
is compared with the margins of the same example in *other* models. A score uses

- never the model's own margin: fitted in-sample, Gaussians separate groups that are
  alike, with an AUC of 0.68 for 8 models in each group;
- and of the other group, too, one model less: the k-th positive and the k-th negative
  row of an example are left out together. With only the row itself left out, a positive
  is compared with n - 1 positives and n negatives, a negative the other way round, and
  each looks more like the group that it is not in: where the groups were alike, the
  pooled AUC of U-LiRA with 4 / 8 / 16 / 32 models in each group was 0.444 / 0.488 /
  0.495 / 0.498. In pairs it is 0.5 (see also `balanced` of `roc.evaluate`).

So an example needs three models in each group that an attack fits. An AUC of *one
example* is no measure: its scores depend on each other's margins, and its mean where
the groups were alike was 0.36 to 0.44 with one row left out, 0.45 in pairs. Pooled,
that is one in N of the pairs that are compared: have a few dozen examples at least.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from unlearn.errors import InputError

__all__ = [
    "FORGET",
    "OUT",
    "RETAIN",
    "lira_offline",
    "lira_online",
    "margins",
    "u_lira",
]

OUT, RETAIN, FORGET = 0, 1, 2

# Standard deviations of margins are at least this: float32 logits around 100 are
# rounded by as much. So deterministic models, whose margins have no variance, get
# finite scores: equal ones if the groups agree, very different ones if not.
MIN_SD = 1e-5


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Computes `z_y - logsumexp(z of the other classes)`, float64[...].

    Args:
      logits: float[..., K].
      labels: int[...], or what broadcasts to it: int[N] for logits [S, N, K].

    It is the logit-scaled confidence, `log(p / (1 - p))` of the true class's
    probability p, which Carlini et al. (2022) found near to Gaussian over models; p is
    not formed, so none rounds to 1.

    Raises:
      InputError: fewer than two classes, or labels that do not fit.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    classes = logits.shape[-1] if logits.ndim else 0
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels must be whole numbers, not {labels.dtype}")
    if classes < 2 or np.any((labels < 0) | (labels >= classes)):
        raise InputError(f"labels must be classes below {classes}, of two or more")
    try:
        labels = np.broadcast_to(labels, logits.shape[:-1])[..., None]
    except ValueError:
        shapes = f"{labels.shape} do not fit logits {logits.shape}"
        raise InputError(f"labels {shapes}") from None
    others = logits.copy()
    np.put_along_axis(others, labels, -np.inf, axis=-1)
    own = np.take_along_axis(logits, labels, axis=-1)[..., 0]
    return own - logsumexp(others, axis=-1)


def lira_online(
    margins: np.ndarray,
    states: np.ndarray,
    *,
    positive: int = RETAIN,
    variance: str = "per_example",
) -> np.ndarray:
    """Scores pairs by online LiRA: the log of the likelihood ratio of two Gaussians.

    Args:
      margins: float[S, N].
      states: int[S, N].
      positive: the state against OUT: RETAIN (is it a training example?) or FORGET.
      variance: "per_example", or "global" for one variance a group, pooled within the
        examples: better with few models.

    Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022.
    Variances are unbiased, and at least `MIN_SD ** 2`. The released code's global
    variance is that of all margins together, including how examples differ; ours is
    not. The log has the order of the ratio, which rounds to 0, 1 or infinity.

    Returns: float64[S, N], above 0 if more like `positive`; NaN for pairs in neither
      state, and where fewer than two models remain in a group. The floor of the AUC is
      in `roc.evaluate`.

    Raises:
      InputError: shapes differ, a margin is not finite, a group is empty.
    """
    margins, members, non_members = check(margins, states, positive)
    density_in, density_out = (
        _log_gaussian(margins, moments(margins, *groups), variance)
        for groups in ((members, non_members), (non_members, members))
    )
    return np.where(members | non_members, density_in - density_out, np.nan)


def lira_offline(
    margins: np.ndarray,
    states: np.ndarray,
    *,
    positive: int = RETAIN,
    variance: str = "per_example",
) -> np.ndarray:
    """Scores pairs by offline LiRA: how many deviations above the OUT models.

    Args, raises and paper: as `lira_online`; only OUT models are fitted. The paper's
    score is the normal distribution function of this, which rounds to 1 above 8.

    Returns: float64[S, N]; NaN as `lira_online`, for want of OUT models only.
    """
    margins, members, non_members = check(margins, states, positive)
    fitted = moments(margins, non_members, members)
    scores = (margins - fitted.mean) / np.sqrt(_variance(fitted, variance))
    return np.where(members | non_members, scores, np.nan)


def u_lira(margins: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Scores pairs by U-LiRA: trained on and unlearned (FORGET), or never seen (OUT)?

    Args, returns and raises: as `lira_online`. The margins are those of models *after*
    unlearning, all by the same method.

    Hayes et al., "Inexact Unlearning Needs More Careful Evaluations to Avoid a False
    Sense of Privacy", SaTML 2025. Code in circulation fits the Gaussians to 0/1
    correctness and in-sample; neither is in the paper, the one gives NaN where all
    models are right, the other finds members where there are none.
    """
    return lira_online(margins, states, positive=FORGET)


class Moments(NamedTuple):
    """Moments of a group of models without those left out; NaN if under two."""

    count: np.ndarray  # float64[S, N]
    mean: np.ndarray
    squares: np.ndarray  # sum of squared deviations from the mean


def moments(margins: np.ndarray, group: np.ndarray, other: np.ndarray) -> Moments:
    """Computes the moments of `group` as every row sees them, see `left_out`."""
    centre = np.sort(np.where(group, margins, np.inf), axis=0)
    centre = np.take_along_axis(centre, group.sum(axis=0, keepdims=True) // 2, axis=0)
    deviations = np.where(group, margins - np.where(group.any(axis=0), centre, 0), 0)
    without = left_out(group, other)
    count, total, squares = (
        np.take_along_axis(leave_one_out(values), without, axis=0)
        for values in (group.astype(float), deviations, deviations**2)
    )
    count = np.where(count < 2, np.nan, count)
    mean = total / count
    return Moments(count, centre + mean, np.maximum(squares - count * mean**2, 0))


def left_out(group: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Picks the row of `group` that is not used for the score of each row, int[S, N].

    A row of the group is left out itself; for the k-th row of `other` it is the k-th of
    the group, counted in a circle.
    """
    size = np.maximum(group.sum(axis=0), 1)
    rows = np.argsort(~group, axis=0, kind="stable")
    rank = np.cumsum(other, axis=0) - 1
    partner = np.take_along_axis(rows, rank % size, axis=0)
    return np.where(group, np.arange(len(group))[:, None], partner)


def leave_one_out(values: np.ndarray, ufunc: np.ufunc = np.add) -> np.ndarray:
    """Applies `ufunc` over all other rows, float64[S, N], subtracting nothing."""
    empty = np.full_like(values[:1], ufunc.identity)
    before = ufunc.accumulate(np.concatenate([empty, values[:-1]]))
    after = ufunc.accumulate(np.concatenate([empty, values[:0:-1]]))[::-1]
    return ufunc(before, after)


def check(
    margins: np.ndarray, states: np.ndarray, positive: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns margins in float64, and where pairs are positive and OUT, bool[S, N]."""
    margins, states = np.asarray(margins, np.float64), np.asarray(states)
    if margins.ndim != 2 or margins.shape != states.shape:
        shapes = f"{margins.shape} and {states.shape}"
        raise InputError(f"margins and states must be [S, N] alike, not {shapes}")
    if positive not in (RETAIN, FORGET):
        raise InputError(f"positive is RETAIN (1) or FORGET (2), not {positive!r}")
    if not np.isin(states, (OUT, RETAIN, FORGET)).all():
        raise InputError("a state is none of OUT (0), RETAIN (1), FORGET (2)")
    check_finite(margins)
    for state in (positive, OUT):
        if not np.any(states == state):
            raise InputError(f"no model has an example in state {state}")
    return margins, states == positive, states == OUT


def check_finite(margins: np.ndarray) -> None:
    """Refuses margins that are not finite."""
    wrong = np.argwhere(~np.isfinite(margins))
    if len(wrong):
        raise InputError(f"the margin of model and example {wrong[0]} is not finite")


def _variance(fitted, variance):
    if variance == "per_example":
        squared = fitted.squares / (fitted.count - 1)
    elif variance == "global":
        freedom = np.nansum(fitted.count - 1, axis=1, keepdims=True)
        squared = np.nansum(fitted.squares, axis=1, keepdims=True)
        squared = squared / np.maximum(freedom, 1)
    else:
        raise InputError(f"variance is per_example or global, not {variance!r}")
    return np.maximum(squared, MIN_SD**2)


def _log_gaussian(x, fitted, variance):
    """Log density but for a constant."""
    squared = _variance(fitted, variance)
    return -0.5 * (np.log(squared) + (x - fitted.mean) ** 2 / squared)
