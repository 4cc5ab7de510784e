"""A lower bound on the epsilon of a training, from one model that it made.

Canaries, examples that nobody needs, are each put into the training set by a coin of
its own. Of m canaries the attack names those that it is surest of, half as in and half
as out: r guesses, of which v are right. If the training is (epsilon, delta)-private of
each example, then for every v

    P(right >= v) <= P(B >= v) + 2 m delta max_i (P(B >= v - i) - P(B >= v)) / i

with B binomial, r guesses that are right with probability e^epsilon / (1 + e^epsilon).
The bound is the smallest epsilon that what was seen does not refute.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023,
https://arxiv.org/abs/2305.08846. A bound above a certified epsilon refutes the
certificate; one below proves nothing. It is limited by the number of canaries:
`largest`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unlearn.errors import InputError

__all__ = ["epsilon_lower_bound", "largest", "one_run_epsilon", "p_value"]

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the canaries that are guessed; each is tried, and pays for the others."""


class Bound(NamedTuple):
    """A lower bound on epsilon, and the guesses that it is from."""

    epsilon: float  # 0 where nothing is shown
    right: int  # of the guesses
    guesses: int
    canaries: int


def p_value(
    epsilon: float, right: int, guesses: int, canaries: int, delta: float = 0.0
) -> float:
    """Bounds the chance of so many right guesses under (epsilon, delta)."""
    from scipy.stats import binom

    chance = 1 / (1 + np.exp(-epsilon))
    beyond = float(binom.sf(right - 1, guesses, chance))
    if delta and right:
        steps = np.arange(1, right + 1)
        masses = np.cumsum(binom.pmf(right - steps, guesses, chance))
        beyond += 2 * canaries * delta * float(np.max(masses / steps))
    return min(1.0, beyond)


def epsilon_lower_bound(
    right: int,
    guesses: int,
    canaries: int,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Bounds epsilon from below by the guesses about one model.

    Args:
      right: of `guesses`, made without knowing how many are right.
      canaries: m, each in by a fair coin of its own.
      delta: of the guarantee.
      confidence: that epsilon is not below.

    Returns: 0 or more.

    Raises:
      InputError: counts that do not fit, or a confidence or delta outside [0, 1).
    """
    from scipy.optimize import brentq

    if not 0 <= right <= guesses <= canaries or not guesses:
        raise InputError(
            f"counts do not fit: {right} right of {guesses}, of {canaries} canaries"
        )
    if not (0 < confidence < 1 and 0 <= delta < 1):
        raise InputError(
            f"confidence and delta must lie in (0, 1) and [0, 1); they are "
            f"{confidence} and {delta}"
        )

    def excess(epsilon):
        return p_value(epsilon, right, guesses, canaries, delta) - (1 - confidence)

    most = 50.0
    if excess(0.0) >= 0:
        return 0.0
    return float(brentq(excess, 0.0, most)) if excess(most) > 0 else most


def largest(canaries: int, *, delta: float = 0.0, confidence: float = 0.95) -> float:
    """Computes the bound of an attack that never errs: no more can be shown."""
    inside = np.arange(canaries) % 2 == 0
    scores = inside.astype(float)
    bound = one_run_epsilon(scores, inside, delta=delta, confidence=confidence)
    return bound.epsilon


def one_run_epsilon(
    scores: np.ndarray,
    included: np.ndarray,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    shares: Sequence[float] = SHARES,
) -> Bound:
    """Bounds epsilon by the scores of one model's canaries.

    Args:
      scores: float[m], higher for canaries that were trained on.
      included: bool[m], the coins.
      shares: of the canaries that are guessed: the highest half of them as in, the
        lowest as out. The best counts, at a confidence that is shared among them.

    Raises:
      InputError: see `epsilon_lower_bound`, or scores that are not finite.
    """
    scores, included = np.asarray(scores, float), np.asarray(included, bool)
    if scores.shape != included.shape or not np.isfinite(scores).all():
        raise InputError("scores must be finite, one a canary")
    if len(scores) < 2:
        raise InputError("a bound on epsilon needs two canaries or more")
    ranks = np.lexsort((~included, scores))  # of equal scores, as if guessed wrong
    order, size = included[ranks], len(scores)
    halves = {min(size // 2, max(1, round(share * size / 2))) for share in shares}
    strict = 1 - (1 - confidence) / len(halves)
    best = None
    for half in sorted(halves):
        right = int(order[size - half :].sum() + (~order[:half]).sum())
        counts = right, 2 * half, size
        value = epsilon_lower_bound(*counts, delta=delta, confidence=strict)
        found = Bound(value, *counts)
        if best is None or found.epsilon > best.epsilon:
            best = found
    assert best is not None
    return best
