"""Tables and verdicts, on simulated models of which the truth is known."""

import numpy as np
import pytest

from unlearn import evidence, studies
from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, OUT

MODELS, TARGETS, CANARIES, UNSEEN = 48, 60, 20, 50


class Config:
    auc_tolerance, utility_tolerance = 0.06, 0.02


def simulated(seed=0, unseen_accuracy=0.9):
    """A study with a third of each state; true labels are class 1."""
    draw = np.random.default_rng(seed)
    states = studies.balanced_states(draw, MODELS, TARGETS)
    sets = {"targets": slice(0, TARGETS), "rest": slice(0, TARGETS)}
    sets["test"] = slice(TARGETS, TARGETS + UNSEEN)
    study = studies.Study(
        "simulated",
        run=None,
        problem=None,
        targets=np.arange(TARGETS),
        forget=np.zeros((MODELS, 1)),
        retain=None,
        images=None,
        labels=np.ones(TARGETS + UNSEEN, int),
        sets=sets,
        states=states,
        canary=np.arange(TARGETS) < CANARIES,
        requested=np.arange(TARGETS) >= TARGETS - CANARIES,
    )

    def model(leak, accuracy=unseen_accuracy):
        """`leak`: what a forgotten canary's margin has more than a never seen one's."""
        margins = draw.normal(0, 1, (MODELS, TARGETS + UNSEEN))
        margins[:, :CANARIES] += leak * (states[:, :CANARIES] == FORGET)
        margins[:, :TARGETS] += 3.0 * (states == 1)
        predictions = (draw.random((MODELS, TARGETS + UNSEEN)) < accuracy).astype(int)
        return studies.Measured(margins.astype(np.float32), predictions, 1.0)

    return study, model


@pytest.fixture(scope="module")
def audited():
    study, model = simulated()
    models = {
        "original": model(4.0),
        "retrain": model(0.0),
        "oracle": model(0.0),
        "collapsed": model(0.0, accuracy=0.1),
        "leaky": model(2.0),
        "clean": model(0.0),
    }
    table, rates, kept, curves = evidence.per_example(study, models, rounds=40)
    assert {row["model"] for row in rates["rows"]} == curves.keys()
    return study, models, table, curves, rates, kept


def cells_of(table):
    return {row["model"]: row["cells"] for row in table["rows"]}


def test_attacks_find_the_leak_where_it_is(audited):
    cells = cells_of(audited[2])
    assert cells["original"]["u_lira_canary"]["value"] > 0.98
    assert 0.85 < cells["leaky"]["u_lira_canary"]["value"] < 0.98
    for name in ("retrain", "clean", "collapsed"):
        for key in ("u_lira", "u_lira_canary", "bavaria", "rmia", "ruli"):
            one = cells[name][key]
            assert one["low"] < 0.5 < one["high"], (name, key)
    for name in ("original", "leaky", "clean"):
        for key in ("u_lira_not_memorised", "u_lira_memorised"):
            assert cells[name][key]["low"] < 0.5 < cells[name][key]["high"]
        for key in ("lira", "lira_offline", "rmia", "bavaria"):
            assert cells_of(audited[5])[name][key]["value"] > 0.9
    assert cells["clean"]["efficacy"]["low"] < 0.5 < cells["clean"]["efficacy"]["high"]
    assert cells["leaky"]["efficacy"]["low"] > 0.5


def test_the_population_attack_leaves_mislabelled_ones_out(audited):
    cells = cells_of(audited[2])
    assert abs(cells["original"]["population"]["value"] - 0.5) < 0.05


def test_verdicts(audited):
    study, models, table, *_ = audited
    findings = evidence.decide(study, models, table, Config)
    verdicts = {name: found.judged.verdict for name, found in findings.items()}
    assert verdicts["original"] == verdicts["leaky"] == "outside"
    assert verdicts["collapsed"] == "outside"  # for its accuracy alone
    assert "outside" not in (verdicts["retrain"], verdicts["clean"])
    assert "points" in findings["collapsed"].because[-1]
    outcomes = {c["name"]: c["outcome"] for c in evidence.controls_of(findings)}
    assert outcomes["original"] == outcomes["collapsed"] == "fail"
    assert "leaky" not in outcomes


def test_a_study_that_cannot_see_the_original_says_so(audited):
    study, models, *_ = audited
    blind = models | {"original": models["clean"]}
    table, *_ = evidence.per_example(study, blind, rounds=30)
    findings = evidence.decide(study, blind, table, Config)
    able, why = evidence.can_judge(findings)
    assert not able and "cannot see the original" in why


def test_an_original_that_is_only_less_accurate_is_not_seen(audited):
    study, models, *_ = audited
    blind = models | {"original": models["collapsed"]}
    table, *_ = evidence.per_example(study, blind, rounds=30)
    findings = evidence.decide(study, blind, table, Config)
    assert findings["original"].judged.verdict == "outside"
    assert not evidence.can_judge(findings)[0]


def test_memorised_examples_are_found_by_the_other_half():
    """The groups of even models do not change with the margins of even models."""
    study, model = simulated()
    before = model(0.0).margins[:, :TARGETS].astype(float)
    masks = evidence.memorized(before, study.states, study.canary)
    changed = before.copy()
    changed[::2] = -changed[::2]
    other = evidence.memorized(changed, study.states, study.canary)
    for key in masks:
        np.testing.assert_array_equal(masks[key][::2], other[key][::2])
        assert not masks[key][:, study.canary].any()
    assert not np.array_equal(
        masks["u_lira_memorised"][1::2], other["u_lira_memorised"][1::2]
    )


def test_distributions(audited):
    study, models, *_ = audited
    cells = cells_of(evidence.distributional(study, models))
    assert cells["retrain"]["klom_forget_ratio"]["value"] == pytest.approx(1)
    assert cells["retrain"]["epsilon_ratio"]["value"] == pytest.approx(1)
    assert (
        cells["leaky"]["klom_forget"]["value"] > cells["clean"]["klom_forget"]["value"]
    )
    assert cells["collapsed"]["final"]["value"] < cells["clean"]["final"]["value"] / 2


def test_the_roc_curves_have_the_auc_of_the_table(audited):
    _, _, table, curves, *_ = audited
    for name, cells in cells_of(table).items():
        if name == evidence.NULL:
            continue
        fpr, tpr = curves[name]["mislabelled"]
        area = np.trapezoid(tpr, fpr)
        assert area == pytest.approx(cells["u_lira_canary"]["value"], abs=1e-6)


def test_states_that_the_attacks_use(audited):
    study = audited[0]
    assert (study.states == OUT).sum() == (study.states == FORGET).sum()
    with pytest.raises(InputError):
        evidence.lira.u_lira(np.zeros((2, 2)), np.ones((2, 2), int))


def test_gaps_pair_each_retrained_model_once():
    study, _ = simulated()
    labels = np.asarray(study.labels)
    wrong = {"retrain": (0, 1, 2, 5), "other": (3, 3, 0, 0)}
    models = {}
    for name, counts in wrong.items():
        predictions = np.tile(labels, (4, 1))
        for row, count in zip(predictions, counts, strict=True):
            row[:count] += 1
        models[name] = studies.Measured(np.zeros((4, 1)), predictions, 0.0)
    broken = np.array([[0.0], [np.nan], [0.0], [0.0]])
    models["diverged"] = models["other"]._replace(margins=broken)
    found = evidence.gaps(study, models, "targets")
    share = 100 / TARGETS
    assert found["other"]["value"] == pytest.approx(share * np.mean([3, 2, 2, 5]))
    assert found["retrain"]["value"] == pytest.approx(share * np.mean([1, 3]))
    assert np.isnan(found["diverged"]["value"])


def test_names_of_columns_leave_room_for_those_of_intervals():
    for columns in (evidence.PER_EXAMPLE, evidence.OUTPUTS, evidence.LAYERS):
        keys = [key for key, *_ in columns]
        ends = {f"{key}_{end}" for key in keys for end in ("low", "high")}
        assert not ends & set(keys) and len(set(keys)) == len(keys)


def test_the_null_row_is_what_retraining_shows(audited):
    cells = cells_of(audited[2])
    (row,) = [row for row in audited[2]["rows"] if row["model"] == evidence.NULL]
    assert row["kind"] == "floor"
    for key in ("u_lira", "u_lira_canary", "u_lira_requested"):
        null, own = row["cells"][key], cells["retrain"][key]
        assert null["low"] < 0.5 < null["high"] and null["high"] - null["low"] < 0.2
        assert null["low"] < own["value"] < null["high"]
        wide = 2 * (null["high"] - null["low"])
        assert cells["original"]["u_lira_canary"]["value"] > 0.5 + wide


def test_rates_rise_with_the_leak(audited):
    rates = cells_of(audited[4])
    found = [rates[name]["u_lira_canary_1"]["value"] for name in ("clean", "leaky")]
    assert found[0] < 10 < found[1]
