"""RULI's attack: kernel densities of margins, not Gaussians.

The paper plays two games with it, unlearned or never seen? (privacy) and unlearned or
retrained? (efficacy: retrained models in state OUT). They are different hypotheses: a
method may pass one and fail the other. "Rectifying Privacy
and Efficacy Measurements in Machine Unlearning", USENIX Security 2025,
https://arxiv.org/abs/2506.13009.
"""

import numpy as np

from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, check, left_out

__all__ = ["ruli_privacy"]

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
