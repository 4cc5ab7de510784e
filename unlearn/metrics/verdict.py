"""Within, outside or inconclusive: what an interval says about an equivalence.

To fail to find a difference is not to show that there is none. A value is *within* if
its whole interval lies within a tolerance of what retraining gives (an equivalence
test; Schuirmann 1987), *outside* if none of it does, and otherwise *inconclusive*: then
`models_needed` is how many models, with as many times the examples, would decide it,
were the value the true one.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "INCONCLUSIVE",
    "OUTSIDE",
    "WITHIN",
    "Judged",
    "judge",
    "together",
]

WITHIN, OUTSIDE, INCONCLUSIVE = "within", "outside", "inconclusive"


MOST = 100  # times as many models: more are not counted


class Judged(NamedTuple):
    """A verdict, and how many models it would take where there is none."""

    verdict: str
    models_needed: int | None  # None: decided, or no number of models would
    capped: bool = False  # more than `models_needed`


def judge(
    value: float,
    low: float,
    high: float,
    *,
    null: float,
    tolerance: float,
    models: int,
    upper: bool = False,
) -> Judged:
    """Judges a value by its 95 % interval `[low, high]`.

    Args:
      null: what a perfect method gives.
      tolerance: how far from `null` is as good as equal.
      models: how many the interval comes from. Where examples vary as well, its width
        shrinks with their root if the examples grow in proportion.
      upper: only more than `null` counts against a method, such as what an attack
        finds.

    Of more than 100 times as many models only that is said (`capped`).
    """
    if not all(map(math.isfinite, (value, low, high))):
        return Judged(INCONCLUSIVE, None)
    half, value = max(high - value, value - low), value - null
    low, high = low - null, high - null
    rounding = 1e-12 * max(abs(null), abs(tolerance), 1.0)
    limit = tolerance + rounding
    if high <= limit and (upper or low >= -limit):
        return Judged(WITHIN, None)
    if low > limit or (high < -limit and not upper):
        return Judged(OUTSIDE, None)
    room = abs(tolerance - (value if upper else abs(value)))
    if room <= rounding:
        return Judged(INCONCLUSIVE, None)
    if half >= room * math.sqrt(MOST):
        return Judged(INCONCLUSIVE, MOST * models, capped=True)
    return Judged(INCONCLUSIVE, math.ceil(models * (half / room) ** 2))


def together(judged: Iterable[Judged]) -> Judged:
    """Joins verdicts: outside if any is, within if all are."""
    judged = list(judged)
    verdicts = {one.verdict for one in judged}
    if OUTSIDE in verdicts:
        return Judged(OUTSIDE, None)
    if INCONCLUSIVE not in verdicts and judged:
        return Judged(WITHIN, None)
    open_ones = [one for one in judged if one.verdict == INCONCLUSIVE]
    if any(one.models_needed is None for one in open_ones) or not open_ones:
        return Judged(INCONCLUSIVE, None)
    most = max(open_ones, key=lambda one: one.models_needed or 0)
    return Judged(INCONCLUSIVE, most.models_needed, most.capped)
