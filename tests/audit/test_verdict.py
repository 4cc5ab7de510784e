"""Verdicts, on simulated models of which the truth is known."""

from simulated_study import Config

from unlearn.audit import per_example, verdict


def test_verdicts(audited):
    study, models, table, *_ = audited
    findings = verdict.decide(study, models, table, Config)
    verdicts = {name: found.judged.verdict for name, found in findings.items()}
    assert verdicts["original"] == verdicts["leaky"] == "outside"
    assert verdicts["collapsed"] == "outside"  # for its accuracy alone
    assert "outside" not in (verdicts["retrain"], verdicts["clean"])
    assert "points" in findings["collapsed"].because[-1]
    outcomes = {c["name"]: c["outcome"] for c in verdict.controls_of(findings)}
    assert outcomes["original"] == outcomes["collapsed"] == "fail"
    assert "leaky" not in outcomes


def test_a_study_that_cannot_see_the_original_says_so(audited):
    study, models, *_ = audited
    blind = models | {"original": models["clean"]}
    table, *_ = per_example.per_example(study, blind, rounds=30)
    findings = verdict.decide(study, blind, table, Config)
    able, why = verdict.can_judge(findings)
    assert not able and "cannot see the original" in why


def test_an_original_that_is_only_less_accurate_is_not_seen(audited):
    study, models, *_ = audited
    blind = models | {"original": models["collapsed"]}
    table, *_ = per_example.per_example(study, blind, rounds=30)
    findings = verdict.decide(study, blind, table, Config)
    assert findings["original"].judged.verdict == "outside"
    assert not verdict.can_judge(findings)[0]
