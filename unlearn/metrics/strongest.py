"""The strongest of several attacks: what the worst-off of an audit's examples face.

Where effects are strong U-LiRA finds most; where they are weak it loses what fitting
two Gaussians costs, and LiRA offline and RMIA find more: of margins shifted so that the
best possible AUC is .55 / .57 / .60, 126 models gave U-LiRA .524 / .544 / .579 and LiRA
offline .548 / .568 / .598. So all are tried, and their intervals hold together
(Bonferroni).
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from unlearn.metrics import lira, rmia, roc, ruli
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.lira import FORGET, OUT

__all__ = ["EFFICACY", "MEMBERSHIP", "attack_all", "largest", "strongest"]

Attack = Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]


def gaussians(
    margins: np.ndarray, states: np.ndarray, population: np.ndarray | None = None
) -> np.ndarray:
    """Scores by U-LiRA: the likelihood ratio of two Gaussians."""
    del population
    return lira.u_lira(margins, states)


def kernels(
    margins: np.ndarray, states: np.ndarray, population: np.ndarray | None = None
) -> np.ndarray:
    """Scores by RULI: the ratio of two kernel densities."""
    del population
    return ruli.ruli_privacy(margins, states)


def offline(
    margins: np.ndarray, states: np.ndarray, population: np.ndarray | None = None
) -> np.ndarray:
    """Scores by LiRA offline: how far above the models that never saw the example."""
    del population
    return lira.lira_offline(margins, states, positive=FORGET)


def ratios(
    margins: np.ndarray, states: np.ndarray, population: np.ndarray | None = None
) -> np.ndarray:
    """Scores by RMIA: how often more probable than an example of the population."""
    return rmia.rmia(margins, states, positive=FORGET, population=population)


MEMBERSHIP: dict[str, Attack] = {
    "U-LiRA": gaussians,
    "LiRA offline": offline,
    "RMIA": ratios,
}
"""Forgotten, or never seen?"""
EFFICACY: dict[str, Attack] = {"Gaussian ratio": gaussians, "kernel ratio": kernels}
"""Unlearned, or retrained? (RULI's efficacy game)"""
ONE_SIDED = offline, ratios


def attack_all(
    margins: np.ndarray,
    states: np.ndarray,
    population: np.ndarray | None = None,
    attacks: Mapping[str, Attack] = MEMBERSHIP,
) -> dict[str, roc.Audit]:
    """Evaluates each attack; the 95 % intervals hold for all of them together.

    Args:
      margins: float[S, N], after unlearning.
      states: int[S, N], FORGET against OUT.
      population: float[S, Z], margins of examples that no model has seen, such as the
        test set; without, RMIA has no true positive rates at 1 % (see `rmia`).
      attacks: `MEMBERSHIP` or `EFFICACY`.

    LiRA offline and RMIA score high what is too confident. Where unlearned models are
    too unsure of what they forgot, an attacker reads them backwards. Both is done: the
    AUC is that of the better direction, at least 0.5, and each rate the `largest` of
    the two, which may be that of the other direction. Intervals of the rates hold for
    all attacks in all their directions; of an AUC the two directions are mirror images
    and one comparison. A likelihood ratio finds both.

    Raises:
      InputError: see the attacks and `roc.evaluate`.
    """
    positive, negative = states == FORGET, states == OUT
    signs = {name: (1, -1) if a in ONE_SIDED else (1,) for name, a in attacks.items()}
    directions = sum(map(len, signs.values()))
    audits = {}
    for name, attack in attacks.items():
        scores = attack(margins, states, population)
        areas, rates = (
            [
                roc.evaluate(sign * scores, positive, negative, comparisons=comparisons)
                for sign in signs[name]
            ]
            for comparisons in (len(attacks), directions)
        )
        best = max(areas, key=lambda one: one.auc)
        one, tenth = (
            largest(Estimate(value, *ends) for value, ends in found)
            for found in (
                [(each.tpr_at_1fpr, each.tpr_at_1fpr_interval) for each in rates],
                [(each.tpr_at_01fpr, each.tpr_at_01fpr_interval) for each in rates],
            )
        )
        audits[name] = best._replace(
            tpr_at_1fpr=one.value,
            tpr_at_1fpr_interval=one[1:],
            tpr_at_01fpr=tenth.value,
            tpr_at_01fpr_interval=tenth[1:],
        )
    return audits


def largest(estimates: Iterable[Estimate]) -> Estimate:
    """Estimates the largest of several values whose intervals hold together.

    From the largest lower end to the largest upper end: each value is in its interval,
    so their maximum is in this one. NaN where one of them is.
    """
    return Estimate(*(float(np.max(ends)) for ends in zip(*estimates, strict=True)))


def strongest(audits: Mapping[str, roc.Audit]) -> str:
    """Names the attack with the largest AUC."""
    return max(audits, key=lambda name: audits[name].auc)
