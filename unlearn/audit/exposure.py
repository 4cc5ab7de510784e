"""The most exposed of the requested examples, one by one.

Of one example an attack's score is no measure (see `lira`), the margin itself is: how
often a model that was made to forget the example is surer of its label (or less sure)
than one that never saw it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy

from unlearn.audit.games import Game
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.lira import FORGET, OUT

MOST = 10


class Exposed(NamedTuple):
    """An example, and how much better than guessing one attack tells it."""

    position: int  # among those of the game
    model: str
    advantage: Estimate  # 0: guessing, 1: certain


def advantages(game: Game) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64[N] twice: |2 AUC - 1| of each example's margins, and its SD.

    By the placements of DeLong et al. (1988); at least the SD of a guess, so that where
    a few models happen to be in order nothing is certain.
    """
    values, deviations = [], []
    for margins, states in zip(game.margins.T, game.states.T, strict=True):
        ours, others = margins[states == FORGET], margins[states == OUT]
        wins = (ours[:, None] > others) + 0.5 * (ours[:, None] == others)
        n, m = wins.shape
        placed = wins.mean(1).var(ddof=1) / n + wins.mean(0).var(ddof=1) / m
        by_chance = (n + m + 1) / (12 * n * m)
        values.append(abs(2 * wins.mean() - 1))
        deviations.append(2 * np.sqrt(max(placed, by_chance)))
    return np.array(values), np.array(deviations)


def most_exposed(games: Mapping[str, Game], most: int = MOST) -> list[Exposed]:
    """Lists the examples that a method leaves most exposed, the first the most.

    Each once, with the method of which that is true: by the lower ends of the
    intervals, and where these are equal by the values, since of few models the largest
    values are chance. The 95 % intervals hold for all examples of all methods together
    (Bonferroni).
    """
    found: dict[int, Exposed] = {}
    for name, game in games.items():
        values, deviations = advantages(game)
        halves = scipy.stats.norm.isf(0.025 / (len(values) * len(games))) * deviations
        lows, highs = (np.clip(values + sign * halves, 0, 1) for sign in (-1, 1))
        for position, ends in enumerate(zip(values, lows, highs, strict=True)):
            one = Exposed(position, name, Estimate(*map(float, ends)))
            if position not in found or rank(found[position]) < rank(one):
                found[position] = one
    return sorted(found.values(), key=rank, reverse=True)[:most]


def rank(one: Exposed) -> tuple[float, float]:
    """Returns what examples are ordered by: the larger, the more exposed."""
    return one.advantage.low, one.advantage.value
