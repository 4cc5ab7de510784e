"""An attacker who sees the model before and after unlearning.

    fall(x) = margin of the original model on x - margin of the unlearned model on x

What was forgotten falls, what was kept or never seen does not. TC-UMIA,
https://arxiv.org/abs/2605.01129; with both versions at hand, examples can even be
reconstructed: Bertran et al., "Reconstruction Attacks on Machine Unlearning", NeurIPS
2024, https://arxiv.org/abs/2405.20272.

No method is at fault here: a request that changes the answers tells who made it, and
retraining changes them most. A model in which nothing was done gives nothing away to
this attack. So it is a risk of *publishing both versions*, to be named beside a verdict
and never to be part of one; the value to compare with is that of retraining. Measured
on the digits, 128 models: retraining is seen through with an AUC of .999 on mislabelled
and .557 on clean examples, against kept ones.
"""

import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.metrics import roc
from unlearn.metrics.lira import FORGET, OUT, RETAIN

__all__ = ["before_after", "margin_falls"]


def margin_falls(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Computes how much less sure each model is of each example: float64[S, N].

    Args:
      before, after: float[S, N], margins (`lira.margins`) of S original models and of
        what was made of each of them. They may come from files of float32.

    Raises:
      InputError: other shapes.
    """
    before, after = (np.asarray(x, np.float64) for x in (before, after))
    if before.ndim != 2 or before.shape != after.shape:
        raise InputError(
            f"margins before and after must be [S, N] alike, not {before.shape} and "
            f"{after.shape}"
        )
    return before - after


def before_after(
    before: ArrayLike,
    after: ArrayLike,
    states: np.ndarray,
    *,
    against: int = RETAIN,
    mask: ArrayLike = True,
    balanced: bool = True,
) -> roc.Audit:
    """Attacks by the fall of the margin: forgotten, or kept (never seen)?

    Args:
      before, after: see `margin_falls`.
      states: int[S, N], `lira.OUT`, `RETAIN` or `FORGET`.
      against: RETAIN or OUT, what forgotten examples are to be told from.
      mask: bool[S, N] or [N], the pairs that count.
      balanced: see `roc.evaluate`; False where forgotten examples are told from others.

    Returns: the AUC and its interval, and rates at few false alarms; 0.5 where nothing
      was changed.

    Raises:
      InputError: `against` is neither, or see `margin_falls` and `roc.evaluate`.
    """
    if against not in (OUT, RETAIN):
        raise InputError(f"against must be OUT or RETAIN; it is {against}")
    falls, chosen = margin_falls(before, after), np.broadcast_to(mask, states.shape)
    groups = ((states == state) & chosen for state in (FORGET, against))
    return roc.evaluate(falls, *groups, balanced=balanced)
