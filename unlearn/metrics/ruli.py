"""RULI's two games: kernel densities of margins, not Gaussians.

    privacy   unlearned, or never seen?     both in models after unlearning
    efficacy  unlearned, or retrained?      the same example in two models

They are different hypotheses: a method may pass one and fail the other. "Rectifying
Privacy and Efficacy Measurements in Machine Unlearning", USENIX Security 2025,
https://arxiv.org/abs/2506.13009.
"""

import numpy as np

from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, check, check_finite, left_out

__all__ = ["ruli_efficacy", "ruli_privacy"]

CHUNK = 2**20  # kernel values at once


def ruli_privacy(
    margins: np.ndarray, states: np.ndarray, *, bandwidth: float = 1.0
) -> np.ndarray:
    """Plays the privacy game: log density of FORGET models over that of OUT models.

    Args:
      margins: float[S, N], after unlearning.
      states: int[S, N].
      bandwidth: of the Gaussian kernel, in units of the margin; 1 is scikit-learn's
        default, which the released code uses.

    The paper's score `L_unlearned / (L_unlearned + L_out)` is the logistic function of
    this: 1/2 at 0, and the same order. It is 0 / 0 far from all models, and ties near 0
    and 1; the log does neither. Models are left out in pairs as for LiRA (see `lira`).

    Returns: float64[S, N]; NaN for pairs in neither state, and where fewer than two
      models of a state remain. The floor of the AUC is in `roc.evaluate`.

    Raises:
      InputError: shapes differ, a margin is not finite, a group is empty.
    """
    margins, unlearned, out = check(margins, states, FORGET)
    with_x, without_x = (
        _log_density(margins, margins, group, left_out(group, other), bandwidth)
        for group, other in ((unlearned, out), (out, unlearned))
    )
    return np.where(unlearned | out, with_x - without_x, np.nan)


def ruli_efficacy(
    margins: np.ndarray,
    retrained: np.ndarray,
    states: np.ndarray,
    *,
    bandwidth: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Plays the efficacy game: log density of unlearned over retrained models.

    Args:
      margins: float[S, N], of the unlearned models.
      retrained: float[S, N], of the models retrained without each row's forget set.
      states: int[S, N]; only FORGET pairs play.
      bandwidth: as `ruli_privacy`.

    Row s of both is left out for row s: they have a split in common. So it is with a
    `retrained` of other seeds.

    Returns: two float64[S, N], the scores of the unlearned models (positive) and of the
      retrained ones (negative); NaN where the state is not FORGET or fewer than two
      other models are. To evaluate both:

          evaluate(
              np.concatenate([unlearned_scores, retrained_scores]),
              np.concatenate([forget, no]),    # forget = states == FORGET
              np.concatenate([no, forget]),    # no = zeros
              models=np.tile(np.arange(S), 2),
          )

    Raises:
      InputError: shapes differ, a margin is not finite, no pair is FORGET.
    """
    margins, retrained = (np.asarray(x, np.float64) for x in (margins, retrained))
    forget = np.asarray(states) == FORGET
    if margins.ndim != 2 or not margins.shape == retrained.shape == forget.shape:
        shapes = f"{margins.shape}, {retrained.shape} and {forget.shape}"
        raise InputError(f"margins and states must be [S, N] alike, not {shapes}")
    if not forget.any():
        raise InputError("no model has an example in state FORGET (2)")
    check_finite(margins)
    check_finite(retrained)
    own = np.broadcast_to(np.arange(len(margins))[:, None], margins.shape)
    ours, theirs = (
        _log_density(points, margins, forget, own, bandwidth)
        - _log_density(points, retrained, forget, own, bandwidth)
        for points in (margins, retrained)
    )
    return np.where(forget, ours, np.nan), np.where(forget, theirs, np.nan)


def _log_density(points, data, group, without, bandwidth):
    """Log density, but for a constant, of the group's other models at each point."""
    if not bandwidth > 0:
        raise InputError(f"bandwidth must be above 0, not {bandwidth}")
    size, count = points.shape
    rows = np.arange(size)[:, None]
    result = np.empty(points.shape)
    step = max(CHUNK // size**2, 1)
    for start in range(0, count, step):
        part = slice(start, start + step)
        used = group[:, part] & (rows != without[:, None, part])  # [S, S, step]
        kernel = -0.5 * ((points[:, None, part] - data[:, part]) / bandwidth) ** 2
        kernel = np.where(used, kernel, -np.inf)
        models = used.sum(axis=1)
        top = np.where(models > 0, kernel.max(axis=1), 0)
        total = np.exp(kernel - top[:, None]).sum(axis=1)
        models = np.where(models < 2, np.nan, models)
        result[:, part] = top + np.log(np.where(total > 0, total, np.nan) / models)
    return result
