"""What the page is told: contents, order, and what cannot be concluded."""

from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict
from simulated_study import ASKED, CLASSES, MODELS, Config, measurements

from unlearn.audit import judged
from unlearn.metrics.strongest import MEMBERSHIP
from unlearn.metrics.verdict import Judged

IDS = np.array([f"image-{i}" for i in range(200)], object)


def section():
    names = [name for name in dir(Config) if not name.startswith("_")]
    return ConfigDict(
        {
            "audit": {name: getattr(Config, name) for name in names},
            "methods": {"finetune": {"epochs": 3}},
        }
    )


def facts(judgement, stress=None):
    """Facts in which `finetune` is the leaky model and controls are models too."""
    as_method = {"leaky": "finetune", "clean": "no_op"}

    def named(of):
        found = {as_method.get(name, name): value for name, value in of.items()}
        extra = {"head_distill": "retrain", "constant_margin": "retrain"}
        return found | {new: of[old] for new, old in extra.items()}

    renamed = judgement._replace(
        played=named(judgement.played),
        leaks=named(judgement.leaks),
        kept=named(judgement.kept),
        findings=named(judgement.findings),
    )
    if stress:
        stress = judged.Stress(*(named(part) for part in stress))
    by_model = {"finetune": {"seconds": 2.0, "speedup": 3.0}}
    return judged.facts_of(renamed, stress, section(), by_model, IDS)


def test_models_are_in_order_and_have_their_numbers(judgement, stress):
    found = facts(judgement, stress)
    assert [m["name"] for m in found["models"]] == [
        "original",
        "retrain",
        "no_op",
        "head_distill",
        "constant_margin",
        "collapsed",
        "finetune",
    ]
    kinds = [m["kind"] for m in found["models"]]
    assert kinds == ["reference"] * 2 + ["control"] * 4 + ["method"]
    model = found["models"][-1]
    assert (model["verdict"], model["speedup"], model["seconds"]) == ("outside", 3, 2)
    assert model["leak"] == judgement.leaks["leaky"].leak._asdict()
    assert model["constants"] == {"epochs": 3} and "differs" in model
    assert model["stress"]["verdict"] == "outside" and model["stress"]["because"]
    assert found["models"][0]["expected"] == "fail"
    assert found["models"][1]["expected"] == "pass"
    assert found["models"][2]["speedup"] is None


def test_what_is_judged_and_on_what(judgement, stress):
    found = facts(judgement, stress)["judged"]
    assert found["where"] == "shadow" and found["enough"]
    assert found["examples"] == found["requested"] == ASKED
    assert found["models"] == found["stress_models"] == MODELS
    assert found["tolerances"]["leak"] == 0.05  # less than a quarter of a plain leak
    assert found["tolerances"]["worst_class"] == Config.class_tolerance
    doses = facts(judgement)["doses"]
    assert [d["expected"] for d in doses] == ["within", None, *["outside"] * 3]


def test_what_a_retrained_model_taught_is_compared_with_others(shadow, request_study):
    pupil = {"head_distill": request_study.models["retrain"]}
    asked = request_study._replace(models=request_study.models | pupil)
    found = judged.judge_all(shadow, asked, CLASSES, Config).kept
    assert found["head_distill"].lost == found["retrain"].lost
    assert found["head_distill"].lost.value != 0


def test_too_few_models_of_a_method_are_inconclusive(shadow, request_study):
    """However perfect: 24 models, as there are of those that train their own."""
    few = {
        n: m._replace(margins=m.margins[:24], predictions=m.predictions[:24])
        for n, m in shadow.models.items()
        if n == "clean"
    }
    models = shadow.models | {"sisa": few["clean"]}
    asked = request_study._replace(
        models=request_study.models | {"sisa": request_study.models["clean"]}
    )
    where = judged.Measurements(shadow.study, models)
    found = judged.judge_all(where, asked, CLASSES, Config)
    forgetting = found.findings["sisa"].forgetting
    assert forgetting.verdict == "inconclusive" and forgetting.models_needed > 24
    text = judged.note(found, section())
    assert "too few models to pass" in text
    assert "set audit.trained_models to 312" in text  # 144 x 129 of 60 examples


def test_exposed_examples_have_the_ids_of_the_user(judgement):
    exposed = facts(judgement)["exposed"]
    assert len(exposed) == 10
    assert {one["model"] for one in exposed} == {"finetune"}
    assert {one["id"] for one in exposed} <= set(IDS[:ASKED])
    values = [one["advantage"]["value"] for one in exposed]
    assert values == sorted(values, reverse=True)


def test_rates_are_the_upper_end_of_what_is_found(judgement):
    rates = {one["model"]: one["at_most"] for one in facts(judgement)["rates"]}
    found = judgement.leaks["original"].found
    assert rates["original"] == f"{min(100, np.ceil(100 * found.high)):.0f} in 100"
    assert np.ceil(100 * found.high) > np.ceil(100 * found.value) > 34


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "none"),
        (np.nan, "unknown"),
        (0.01, "one in 100"),
        (0.015, "one in 66"),
        (0.1, "one in 10"),
        (1 / 3, "one in 3"),
        (0.34, "34 in 100"),
        (0.55, "55 in 100"),
        (0.672, "68 in 100"),
        (1.0, "100 in 100"),
    ],
)
def test_a_rate_is_never_written_as_less_than_it_is(share, words):
    assert judged.rate(share) == words


def test_of_a_released_model_its_own_exposed_examples_are_listed(judgement):
    both = judgement._replace(
        played=judgement.played | {"ssd": judgement.played["clean"]}
    )
    every = judged.exposed_facts(both, np.arange(ASKED), IDS)
    assert {one["model"] for one in every} == {"leaky"} and len(every) == 10
    for release in ("ssd/0", "retrain/1"):
        own = judged.exposed_facts(both, np.arange(ASKED), IDS, release)
        assert {one["model"] for one in own} == {release[:-2]} and len(own) == 10
    lost = judged.exposed_facts(both, np.arange(ASKED), IDS, "diverged/0")
    assert lost == every


def test_more_than_so_many_models_is_not_about_so_many(judgement):
    name = "leaky"
    finding = judgement.findings[name]._replace(
        forgetting=Judged("inconclusive", 7200, capped=True),
        utility=Judged("within", None),
    )
    capped = judgement._replace(findings=judgement.findings | {name: finding})
    model = facts(capped)["models"][-1]
    assert (model["models_needed"], model["capped"]) == (7200, True)
    assert not facts(judgement)["models"][-1]["capped"]


def test_a_request_of_a_class_is_judged_on_its_examples(of_a_class):
    assert of_a_class.conclusive, of_a_class.why
    verdicts = {n: f.forgetting.verdict for n, f in of_a_class.findings.items()}
    assert verdicts["leaky"] == "outside" and verdicts["clean"] == "within"
    found = facts(of_a_class)
    assert found["judged"]["where"] == "request"
    assert found["judged"]["stress_models"] == 0
    assert found["models"][-1]["stress"] is None


@pytest.mark.parametrize(("count", "words"), [(1, "one example"), (5, "5 examples")])
def test_few_requested_examples_are_not_concluded(shadow, request_study, count, words):
    few = asked_for(shadow, count, count)
    found = judged.judge_all(few, request_study, CLASSES, Config)
    assert not found.conclusive and words in found.why
    assert found.findings["leaky"].judged.verdict == "not concluded"
    assert found.findings["collapsed"].judged.verdict == "outside"
    assert found.played["leaky"].margins.shape[1] == ASKED  # others in their place
    page = facts(found)
    assert not page["judged"]["enough"] and words in page["judged"]["note"].lower()
    assert page["exposed"] == [] and page["models"][0]["expected"] is None


def asked_for(shadow, count, every):
    """The study where `count` of `every` requested examples are attacked."""
    study = shadow.study
    requested = np.arange(len(study.targets)) < count
    run = SimpleNamespace(problem=SimpleNamespace(forget=np.arange(every)))
    study = study._replace(requested=requested, run=run)
    return judged.Measurements(study, shadow.models)


def test_the_number_that_was_requested_is_not_that_of_the_attacked(shadow):
    _, why = judged.few(asked_for(shadow, 10, 1000).study)
    assert "only 10 of the 1000 requested examples could be attacked" in why
    assert why.endswith("raise audit.targets")
    _, why = judged.few(asked_for(shadow, 10, 10).study)
    assert why.startswith("10 examples were requested, and of fewer than 20")
    assert judged.few(asked_for(shadow, 30, 1000).study)[1] == ""


def test_a_study_that_cannot_see_calls_no_method_forgotten(request_study):
    leaks = {"original": 0.1, "retrain": 0.0, "leaky": 0.0, "clean": 0.0}
    blind = measurements("shadow", leaks=leaks | {"collapsed": 0.0})
    found = judged.judge_all(blind, request_study, CLASSES, Config)
    assert not found.conclusive
    method = facts(found)["models"][-1]
    assert method["verdict"] == method["forgetting"] == "not concluded"


def test_the_stress_test_has_a_verdict_of_its_own(judgement, stress):
    verdicts = {name: one.verdict for name, (one, _) in stress.verdicts.items()}
    assert verdicts["original"] == verdicts["leaky"] == "outside"
    assert verdicts["retrain"] == verdicts["clean"] == "within"
    before = judgement.findings["clean"]
    with_stress = facts(judgement, stress)["models"][2]
    assert with_stress["verdict"] == before.judged.verdict
    assert all(np.isnan(leak.whole.value) for leak in stress.leaks.values())
    assert set(stress.leaks["leaky"].audits) == set(MEMBERSHIP)
