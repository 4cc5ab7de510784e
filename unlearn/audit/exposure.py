"""The most exposed of the requested examples, one by one.

Of one example an attack's score is no measure (see `lira`), the margin itself is: how
often a model that was made to forget the example is surer of its label (or less sure)
than one that never saw it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

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
        deviations.append(2 * np.sqrt(max(placed, by_chance / 4)))
    return np.array(values), np.array(deviations)


def most_exposed(games: Mapping[str, Game], most: int = MOST) -> list[Exposed]:
    """Lists the examples that a method leaves most exposed, the first the most.

    Each once, with the method of which that is true. The 95 % intervals hold for all
    examples of a method together (Bonferroni): the largest of many is large by chance.
    """
    found: dict[int, Exposed] = {}
    for name, game in games.items():
        values, deviations = advantages(game)
        reach = stats.norm.isf(0.025 / len(values))
        for position in np.argsort(-values, kind="stable")[:most]:
            value, half = values[position], reach * deviations[position]
            ends = np.clip([value - half, value + half], 0, 1)
            one = Exposed(
                int(position), name, Estimate(float(value), *map(float, ends))
            )
            before = found.get(one.position)
            if before is None or before.advantage.value < value:
                found[one.position] = one
    ordered = sorted(found.values(), key=lambda one: -one.advantage.value)
    return ordered[:most]
