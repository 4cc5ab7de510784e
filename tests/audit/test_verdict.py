"""Verdicts, on numbers and on simulated models of which the truth is known."""

import numpy as np
import pytest
from simulated_study import Config

from unlearn.audit import games, verdict
from unlearn.audit.games import Leak
from unlearn.audit.utility import Utility
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.verdict import Judged


def leak(auc, found, whole, half=0.01):
    values = (Estimate(v, v - half, v + half) for v in (auc, found, whole))
    auc, found, whole = values
    return Leak(auc, "RMIA", found, whole, {})


ORIGINAL = leak(0.7, 0.21, 0.97)


def test_tolerances_are_a_share_of_what_the_original_leaks():
    found = verdict.tolerances(ORIGINAL, Config)
    assert found.leak == pytest.approx(0.05)
    assert found.found == pytest.approx(0.05)
    assert found[3:] == (0.02, 0.1)
    apart = np.sqrt(2) * 1.8807936  # the 97 % point of a Gaussian
    draw = np.random.default_rng(0).normal(size=(2, 4000))
    area = np.mean(draw[0] + 0.25 * apart > draw[1])
    assert found.whole == pytest.approx(area - 0.5, abs=0.02)
    small = verdict.tolerances(leak(0.52, 0.011, 0.5), Config)
    assert small.leak == 0.025 and small.found == 0.01
    assert small.whole == pytest.approx(0)
    plain = verdict.tolerances(leak(1.0, 1.0, 1.0), Config)
    assert plain[:3] == (0.05, 0.05, 0.2)  # of everything, no quarter
    unknown = verdict.tolerances(leak(0.7, np.nan, 0.9), Config)
    assert unknown.found == 0.01


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (leak(0.51, 0.02, 0.55), "within"),
        (leak(0.60, 0.02, 0.55), "outside"),  # each of the three decides
        (leak(0.51, 0.09, 0.55), "outside"),
        (leak(0.51, 0.02, 0.80), "outside"),
        (leak(0.55, 0.02, 0.55), "inconclusive"),
        (leak(0.40, 0.00, 0.20), "within"),  # less than guessing is not a leak
    ],
)
def test_each_of_the_three_numbers_decides(one, expected):
    allowed = verdict.tolerances(ORIGINAL, Config)
    judged, because = verdict.judge_leak(one, allowed, 72)
    assert judged.verdict == expected and len(because) == 3
    assert "RMIA" in because[0] and "up to 0.550 counts as none" in because[0]


def test_a_rate_that_could_not_be_measured_is_inconclusive():
    allowed = verdict.tolerances(ORIGINAL, Config)
    judged, because = verdict.judge_leak(leak(0.51, np.nan, 0.55), allowed, 72)
    assert judged == Judged("inconclusive", None) and "too few pairs" in because[1]
    no_set = leak(0.51, 0.02, np.nan)  # not attacked, as in the stress study
    judged, because = verdict.judge_leak(no_set, allowed, 72)
    assert judged.verdict == "within" and len(because) == 2


@pytest.mark.parametrize(
    ("lost", "worst", "expected"),
    [
        ((0.0, -0.01, 0.01), (-0.02, -0.05, 0.01), "within"),
        ((0.1, 0.05, 0.15), None, "within"),
        ((-0.05, -0.06, -0.04), (-0.02, -0.05, 0.01), "outside"),
        ((0.0, -0.01, 0.01), (-0.4, -0.5, -0.3), "outside"),
        ((0.0, -0.01, 0.01), (-0.1, -0.2, 0.01), "inconclusive"),
    ],
)
def test_utility_is_lost_overall_or_in_one_class(lost, worst, expected):
    one = Utility(
        Estimate(0.9, 0.89, 0.91),
        Estimate(*lost),
        ("owl", Estimate(*worst)) if worst else None,
    )
    allowed = verdict.tolerances(ORIGINAL, Config)
    judged, because = verdict.judge_utility(one, allowed, 72)
    assert judged.verdict == expected
    assert ("owl" in because[-1]) == bool(worst)


def test_what_was_not_asked_for_is_not_concluded():
    fine = Utility(Estimate(0.9, 0.89, 0.91), Estimate(0.0, -0.01, 0.01), None)
    gone = fine._replace(lost=Estimate(-0.5, -0.6, -0.4))
    allowed = verdict.tolerances(ORIGINAL, Config)
    options = dict(models=(72, 72), refused="one example was requested")
    found = verdict.decide(ORIGINAL, fine, allowed, **options)
    assert found.judged.verdict == found.forgetting.verdict == "not concluded"
    assert found.because[0] == "Forgetting: one example was requested."
    assert verdict.decide(None, gone, allowed, **options).judged.verdict == "outside"


def test_the_verdicts_on_simulated_models(judgement):
    verdicts = {name: one.judged.verdict for name, one in judgement.findings.items()}
    assert verdicts["original"] == verdicts["leaky"] == "outside"
    assert verdicts["retrain"] == verdicts["clean"] == "within"
    collapsed = judgement.findings["collapsed"]
    assert collapsed.forgetting.verdict == "within"
    assert collapsed.utility.verdict == verdicts["collapsed"] == "outside"
    assert judgement.conclusive, judgement.why


def test_a_study_that_cannot_see_says_so(judgement):
    findings, within = judgement.findings, Judged("within", None)
    doses = {name: judged for name, (_, judged) in judgement.doses.items()}
    assert verdict.can_judge(findings, doses, 0.99)[0]
    blind = findings | {"original": findings["clean"]}
    able, why = verdict.can_judge(blind, doses, 0.99)
    assert not able and "cannot see the original" in why
    useless = findings | {"original": findings["collapsed"]}
    assert not verdict.can_judge(useless, doses, 0.99)[
        0
    ]  # only its accuracy is outside
    wrong = findings | {"retrain": findings["leaky"]}
    assert "own audit" in verdict.can_judge(wrong, doses, 0.99)[1]
    for name in doses:
        if games.expected(name) == "outside":
            able, why = verdict.can_judge(findings, doses | {name: within}, 0.8)
            assert not able and name in why
    some = {"10 % left": Judged("inconclusive", 99)}
    assert verdict.can_judge(findings, doses | some, 0.99)[0]
    some = doses | {"10 % left": within}
    assert verdict.can_judge(findings, some, 0.89)[0]  # too little to see
    able, why = verdict.can_judge(findings, some, 0.99)
    assert not able and "10 % left should not be within" in why


def test_how_many_models_it_takes_is_said():
    assert verdict.said(Judged("inconclusive", 1200)).startswith(
        "inconclusive, about 1,200 models"
    )
    assert "more than 9,600 models" in verdict.said(Judged("inconclusive", 9600, True))
    assert verdict.said(Judged("within", None)) == "within"
