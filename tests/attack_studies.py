"""Simulated studies, and the per-example attacks on them."""

import numpy as np
import pytest

from unlearn.metrics.bavaria import bavaria
from unlearn.metrics.lira import (
    FORGET,
    OUT,
    lira_offline,
    lira_online,
    u_lira,
)
from unlearn.metrics.rmia import rmia
from unlearn.metrics.roc import evaluate
from unlearn.metrics.ruli import ruli_privacy

CASES = 1000  # scored pairs of each attack, or ROC curves, at least


ATTACKS = {
    "lira_online": lambda x, s: lira_online(x, s, positive=FORGET),
    "lira_global": lambda x, s: lira_online(x, s, positive=FORGET, variance="global"),
    "lira_offline": lambda x, s: lira_offline(x, s, positive=FORGET),
    "u_lira": u_lira,
    "rmia": lambda x, s: rmia(x, s, positive=FORGET),
    "rmia_offline": lambda x, s: rmia(x, s, positive=FORGET, offline=True),
    "bavaria": lambda x, s: bavaria(x, s, positive=FORGET),
    "ruli": ruli_privacy,
}


every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def study(rng, size, count, shift=0.0, *, balanced=True, spread=(0.3, 2.0)):
    """Margins in which a third of the pairs are FORGET and `shift` sd higher."""
    if balanced:
        states = np.argsort(rng.random((size, count)), axis=0) % 3
    else:
        states = rng.integers(0, 3, (size, count))
    noise = rng.normal(size=(size, count)) + shift * (states == FORGET)
    return noise * rng.uniform(*spread, count) + rng.normal(0, 3, count), states


def audit(attack, x, states, positive=FORGET, **options):
    return evaluate(attack(x, states), states == positive, states == OUT, **options)


def used(states, row, group, other):
    """Rows of `group` for the score of `row`: without itself, or without its partner.

    `states` are of one example. The partner of the k-th row of `other` is the k-th of
    the group, in a circle.
    """
    rows, rivals = (np.flatnonzero(states == s) for s in (group, other))
    place = np.searchsorted(rivals, row, side="right") - 1
    if row in rows or not len(rows):
        return rows[rows != row]
    return rows[rows != rows[place % len(rows)]]


def others(x, states, row, column, state, positive):
    """Margins of one example in other models: without the row and its partner."""
    other = OUT if state == positive else positive
    return x[used(states[:, column], row, state, other), column]


def by_loops(x, states, positive, score, *, offline=False):
    """`score(margin, positives, outs)` of every pair that can have one."""
    needed = (OUT,) if offline else (positive, OUT)
    result = np.full(x.shape, np.nan)
    for row, column in np.argwhere((states == positive) | (states == OUT)):
        if all(np.sum(states[:, column] == s) >= 3 for s in needed):
            sides = [
                others(x, states, row, column, s, positive) for s in (positive, OUT)
            ]
            result[row, column] = score(x[row, column], *sides)
    return result


def random_studies(number, *, size=(7, 14), count=5, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        yield rng, *study(rng, rng.integers(*size), count, 1.0, balanced=False)
