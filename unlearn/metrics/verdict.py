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
    "conclusive",
    "judge",
    "together",
]

WITHIN, OUTSIDE, INCONCLUSIVE = "within", "outside", "inconclusive"


class Judged(NamedTuple):
    """A verdict, and how many models it would take where there is none."""

    verdict: str
    models_needed: int | None  # None: decided, or no number of models would


def judge(
    value: float,
    low: float,
    high: float,
    *,
    null: float,
    tolerance: float,
    models: int,
) -> Judged:
    """Judges a value by its 95 % interval `[low, high]`.

    Args:
      null: what a perfect method gives.
      tolerance: how far from `null` is as good as equal.
      models: how many the interval comes from. Where examples vary as well, its width
        shrinks with their root if the examples grow in proportion.
    """
    if not all(map(math.isfinite, (value, low, high))):
        return Judged(INCONCLUSIVE, None)
    if null - tolerance <= low and high <= null + tolerance:
        return Judged(WITHIN, None)
    if low > null + tolerance or high < null - tolerance:
        return Judged(OUTSIDE, None)
    room = abs(tolerance - abs(value - null))
    if room == 0:
        return Judged(INCONCLUSIVE, None)
    half = max(high - value, value - low)
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
    needed = [one.models_needed for one in open_ones if one.models_needed is not None]
    decidable = len(needed) == len(open_ones)
    return Judged(INCONCLUSIVE, max(needed, default=None) if decidable else None)


def conclusive(original: Judged, retrained: Judged) -> tuple[bool, str]:
    """Decides by its two controls whether a study can judge at all, and says why.

    The original model must be outside and the retrained one within: an audit that
    passes the first is blind, one that does not pass the second is wrong.
    """
    if original.verdict != OUTSIDE:
        return False, f"the audit cannot see the original model: {_says(original)}"
    if retrained.verdict != WITHIN:
        return False, f"retraining does not pass its own audit: {_says(retrained)}"
    return True, "the original model fails the audit and retraining passes it"


def _says(judged: Judged) -> str:
    if judged.models_needed is None:
        return judged.verdict
    return (
        f"{judged.verdict}; about {judged.models_needed} models, with as many times "
        "the examples, would settle it"
    )
