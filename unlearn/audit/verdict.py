"""The verdict on every model, and whether the audit can give one.

Forgetting is judged on the requested examples, by three numbers: the AUC of the
strongest attack, the rate that is found at 1 % false alarms, and the AUC of the attack
on the whole forgotten set. Each may have a share of what the *original* leaks on the
same examples. Utility is the test accuracy against retraining, overall and of the class
that loses most. The mislabelled examples of the stress study have a verdict of their
own, which does not enter.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from unlearn.audit.games import RATE, Leak, expected
from unlearn.audit.utility import Utility
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.set_level import separation
from unlearn.metrics.verdict import (
    INCONCLUSIVE,
    OUTSIDE,
    WITHIN,
    Judged,
    judge,
    together,
)

if TYPE_CHECKING:
    from ml_collections import ConfigDict

NOT_CONCLUDED = "not concluded"
LEAST_LEAK = 0.025
LEAST_FOUND = 0.01
"""An AUC of .525 and a rate of 2 % always count as none: of less, 144 models of 129
examples cannot tell that there is nothing. The whole set has no such limit."""
MOST_LEAK = 0.05
MOST_FOUND = 0.05
MOST_WHOLE = 0.2
"""And no more than an AUC of .55, a rate of 6 %, and an AUC of .70 of a whole set:
where the original leaks everything, a share of it is much in itself. Of 66 models that
forgot a whole class perfectly .70 was shown in 85 % of studies, .68 in 78 %."""
PLAIN = 0.9  # an original's AUC, from which a tenth of the examples must be seen
PART = "10 % left"


class Tolerances(NamedTuple):
    """How much above guessing, or below retraining, is as good as equal; shares."""

    leak: float  # AUC above 0.5
    found: float  # true positive rate above 1 %
    whole: float  # AUC above 0.5
    utility: float
    worst_class: float


class Finding(NamedTuple):
    """The verdicts on one model, and the sentences with the numbers that decide."""

    forgetting: Judged
    utility: Judged
    because: list[str]

    @property
    def judged(self) -> Judged:
        """Both together: not concluded where forgetting is, if utility is kept."""
        if self.forgetting.verdict == NOT_CONCLUDED:
            lost = self.utility.verdict == OUTSIDE
            return self.utility if lost else self.forgetting
        return together([self.forgetting, self.utility])


def tolerances(original: Leak, config: "ConfigDict") -> Tolerances:
    """Takes the share `audit.tolerance` of what the original leaks.

    Of the attack on a whole set, whose AUC is near 1, it is the share of the separation
    (`set_level.separation`); of the others at least `LEAST_LEAK` and `LEAST_FOUND`. All
    are at most `MOST_LEAK`, `MOST_FOUND` and `MOST_WHOLE`.
    """
    part = config.tolerance
    of_leak = part * (original.leak.value - 0.5)
    of_found = part * (np.nan_to_num(original.found.value) - RATE)
    whole = scipy.stats.norm.cdf(part * separation(original.whole.value) / 2**0.5) - 0.5
    return Tolerances(
        leak=float(np.clip(of_leak, LEAST_LEAK, MOST_LEAK)),
        found=float(np.clip(of_found, LEAST_FOUND, MOST_FOUND)),
        whole=float(np.clip(whole, 0.0, MOST_WHOLE)),
        utility=config.utility_tolerance,
        worst_class=config.class_tolerance,
    )


def judge_leak(leak: Leak, allowed: Tolerances, models: int) -> tuple[Judged, list]:
    """Judges what attacks find: the joint verdict, and a sentence for each number.

    The whole set is not attacked in every study, and is then left out. A number that
    could not be measured is inconclusive.
    """
    parts = [
        (f"AUC of {leak.attack}", leak.leak, 0.5, allowed.leak, number),
        ("Found at 1 % false alarms", leak.found, RATE, allowed.found, percent),
    ]
    if not math.isnan(leak.whole.value):
        whole = "AUC on a whole forgotten set"
        parts.append((whole, leak.whole, 0.5, allowed.whole, number))
    judged, because = [], []
    for what, one, null, tolerance, text in parts:
        found = judge(*one, null=null, tolerance=tolerance, models=models, upper=True)
        judged.append(found)
        if math.isnan(one.value):
            because.append(
                f"{what}: too few pairs of a model and an example to measure it: "
                f"{said(found)}."
            )
            continue
        because.append(
            f"{what}: {spell(one, text)}; up to {text(null + tolerance)} counts as "
            f"none: {said(found)}."
        )
    return together(judged), because


def judge_utility(
    kept: Utility, allowed: Tolerances, models: int
) -> tuple[Judged, list[str]]:
    """Judges test accuracy against retraining, overall and of the worst class."""
    parts = [("Test accuracy", kept.lost, allowed.utility)]
    if kept.worst_class:
        name, lost = kept.worst_class
        parts.append((f"Test accuracy of class {name}", lost, allowed.worst_class))
    judged, because = [], []
    for what, lost, tolerance in parts:
        less = -lost.value, -lost.high, -lost.low
        found = judge(*less, null=0, tolerance=tolerance, models=models, upper=True)
        judged.append(found)
        because.append(
            f"{what} against retraining: {spell(lost, points)} points; a loss of "
            f"{100 * tolerance:g} is allowed: {said(found)}."
        )
    return together(judged), because


def decide(
    leak: Leak | None,
    kept: Utility,
    allowed: Tolerances,
    *,
    models: tuple[int, int],
    refused: str = "",
) -> Finding:
    """Judges one model.

    Args:
      leak: on the requested examples; None: they were not attacked.
      models: how many the attacks and the accuracies come from.
      refused: why forgetting cannot be judged; empty if it can.
    """
    utility, of_utility = judge_utility(kept, allowed, models[1])
    if refused or leak is None:
        why = refused or "the requested examples were not attacked"
        forgetting, of_leak = Judged(NOT_CONCLUDED, None), [f"Forgetting: {why}."]
    else:
        forgetting, of_leak = judge_leak(leak, allowed, models[0])
    return Finding(forgetting, utility, [*of_leak, *of_utility])


def can_judge(
    findings: Mapping[str, Finding], doses: Mapping[str, Judged], leak: float
) -> tuple[bool, str]:
    """Says whether the study tells the original from retraining, and sees the doses.

    `leak`: the original's AUC; above .9 even a tenth of it must not be within.
    """
    original, retrained = findings["original"], findings["retrain"]
    if original.forgetting.verdict == NOT_CONCLUDED:
        return False, original.because[0].removeprefix("Forgetting: ").rstrip(".")
    if original.forgetting.verdict != OUTSIDE:
        said_so = said(original.forgetting)
        return False, f"the audit cannot see the original model: {said_so}"
    if retrained.judged.verdict != WITHIN:
        said_so = said(retrained.judged)
        return False, f"retraining does not pass its own audit: {said_so}"
    for name, judged in doses.items():
        wanted = expected(name)
        if wanted and judged.verdict != wanted:
            return False, (
                f"retrained models with {name} should be {wanted}: {said(judged)}"
            )
    if leak > PLAIN and PART in doses and doses[PART].verdict == WITHIN:
        return False, (
            f"the original's AUC is {number(leak)}, and retrained models with {PART} "
            "should not be within"
        )
    return True, (
        "the original model and retrained ones with 30 % or the most memorised of the "
        "examples left as they were are outside, and retraining is within"
    )


# Words


def said(judged: Judged) -> str:
    """Writes a verdict and how many models it would take, if there is none."""
    if judged.verdict != INCONCLUSIVE or judged.models_needed is None:
        return judged.verdict
    about = "more than" if judged.capped else "about"
    return (
        f"{judged.verdict}, {about} {judged.models_needed:,} models with as many times "
        "the examples would settle it"
    )


def spell(one: Estimate, text: Callable[[float], str]) -> str:
    """Writes a value with its interval."""
    return f"{text(one.value)} ({text(one.low)} to {text(one.high)})"


def number(value: float) -> str:
    """Writes an AUC."""
    return f"{value:.3f}"


def percent(share: float) -> str:
    """Writes a share in percent."""
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """Writes a difference of shares in points, with its sign."""
    return f"{100 * share:+.2f}".replace("-", "−")
