"""Tables of what both versions, epsilon and neighbours tell, on simulated models."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from simulated_study import cells_of, measurements

from unlearn.audit import added_attacks, studies
from unlearn.audit.controls import MATCHING
from unlearn.audit.shadow_models import Measured
from unlearn.metrics.lira import FORGET, OUT, RETAIN


@pytest.fixture(scope="module")
def mislabelled():
    return measurements("stress", roles=(OUT, RETAIN, FORGET))


def test_before_and_after(shadow, mislabelled):
    both = shadow._replace(models=shadow.models | {"no_op": shadow.models["original"]})
    cells = cells_of(added_attacks.before_after(both, mislabelled))
    assert not cells.keys() & {"original", "oracle", "collapsed"}
    for key in ("kept", "unseen"):
        assert cells["no_op"][key]["value"] == pytest.approx(0.5)
    # Perfect forgetting is seen, and more so than a method that leaks.
    assert cells["retrain"]["unseen"]["low"] > 0.9 > cells["leaky"]["unseen"]["value"]
    assert cells["retrain"]["mislabelled"]["low"] > 0.9
    states, asked = shadow.study.roles()
    before, after = (
        shadow.models[name].margins[:, : len(asked)].astype(float)
        for name in ("original", "clean")
    )
    falls = before - after
    groups = falls[(states == FORGET) & asked], falls[states == RETAIN]
    auc = stats.mannwhitneyu(*groups).statistic / np.prod([len(g) for g in groups])
    assert cells["clean"]["kept"]["value"] == pytest.approx(auc)


def test_a_study_that_was_not_made_has_no_column(shadow):
    columns = added_attacks.before_after(shadow, None)["columns"]
    assert [column["key"] for column in columns] == ["kept", "unseen"]


def test_others_in_place_of_few_requested_examples_are_named_so(shadow):
    few = shadow.study._replace(requested=np.arange(len(shadow.study.targets)) < 5)
    found = added_attacks.before_after(shadow._replace(study=few), None)
    assert found["columns"][0]["label"] == "Others than requested, from kept"
    assert "other forgotten examples, in place of those requested" in found["note"]
    plain = added_attacks.before_after(shadow, None)
    assert plain["columns"][0]["label"] == "Requested, from kept"
    assert "in place" not in plain["note"]


def test_what_trained_models_of_its_own_has_no_version_before(shadow):
    own = shadow._replace(models=shadow.models | {"sisa": shadow.models["leaky"]})
    assert "sisa" not in cells_of(added_attacks.before_after(own, None))


def test_bounds_on_epsilon(shadow):
    table = added_attacks.epsilon(shadow)
    cells = cells_of(table)
    assert [column["key"] for column in table["columns"]] == ["epsilon"]
    assert cells["original"]["epsilon"]["value"] > 0.5
    for name in ("retrain", "clean"):
        assert cells[name]["epsilon"]["value"] < 0.3
    claimed = added_attacks.epsilon(shadow, {"original": (1.0, 0.2)})
    assert cells_of(claimed)["original"]["certified"]["value"] == 1
    assert len(claimed["columns"]) == 2
    assert "delta 0 and 0.2 of original" in claimed["note"]
    bounds = [cells_of(t)["original"]["epsilon"]["value"] for t in (claimed, table)]
    assert bounds[0] < bounds[1]  # less is shown of an epsilon with a delta
    assert cells_of(claimed)["leaky"] == cells["leaky"]


def test_a_study_of_few_models_bounds_nothing(shadow):
    states = np.full_like(shadow.study.states, RETAIN)
    few = shadow._replace(study=shadow.study._replace(states=states))
    assert added_attacks.epsilon(few) is None


CLASSES, GONE, SEEDS = 4, 1, 3


def class_study(forget_classes=(GONE,), models=20):
    """Twenty examples of a class that retrained models take for class 2."""
    labels = np.repeat([GONE, 0], [20, 10])
    rng = np.random.default_rng(0)
    train, test = (
        {"labels": np.repeat(np.arange(CLASSES), n), "shift": shift}
        for n, shift in ((30, 0.0), (10, 0.0))
    )

    def evaluation(name, seed):
        assert name != MATCHING, "no model of a run"
        logits = {}
        for part, of in (("train", train), ("test", test)):
            values = rng.normal(size=(len(of["labels"]), CLASSES))
            if name == "leaky" and part == "train":
                values[of["labels"] == GONE, 2] += 4.0
            logits[f"{part}_logits"] = values
        return logits

    run = SimpleNamespace(
        sets=SimpleNamespace(train_labels=train["labels"], test_labels=test["labels"]),
        config=SimpleNamespace(seeds=SEEDS),
        evaluation=evaluation,
    )
    problem = SimpleNamespace(num_classes=CLASSES, forget_classes=forget_classes)
    study = studies.Study(
        "request",
        run=run,
        problem=problem,
        targets=np.arange(20),
        forget=np.zeros((models, 20)),
        retain=None,
        examples=None,
        labels=labels,
        sets={},
    )

    def answers(preference):
        predictions = rng.choice(CLASSES, (models, len(labels)), p=preference)
        return Measured(np.zeros(predictions.shape), predictions, 1.0)

    near = [0.1, 0.0, 0.8, 0.1]
    return study, {
        "original": answers([0, 1, 0, 0]),
        "retrain": answers(near),
        "oracle": answers(near),
        "leaky": answers([0.4, 0.0, 0.2, 0.4]),
    }


def test_neighbours_of_a_class():
    cells = cells_of(added_attacks.class_neighbours(*class_study()))
    for name in ("original", "leaky"):
        assert cells[name]["apart"]["value"] > 0.99
    floor = cells["retrain"]
    assert abs(floor["apart"]["value"] - 0.5) < 0.3 and floor["own"]["value"] == 0
    assert floor["nearest"]["value"] == pytest.approx(80, abs=4)
    assert floor["distance"]["value"] < 0.2 < cells["leaky"]["distance"]["value"]
    assert cells["original"]["own"]["value"] == 100
    assert cells["leaky"]["members"]["value"] > 0.9
    assert abs(floor["members"]["value"] - 0.5) < 0.2


def test_neighbours_of_what_was_taught_are_those_of_other_retrained_models():
    study, answers = class_study()
    answers[MATCHING] = answers["retrain"]
    cells = cells_of(added_attacks.class_neighbours(study, answers))
    taught, floor = (cells[name]["distance"]["value"] for name in (MATCHING, "retrain"))
    assert taught == pytest.approx(floor, rel=0.2) and floor > 0
    assert np.isnan(cells[MATCHING]["members"]["value"])


def test_without_a_class_or_with_few_models_there_are_no_neighbours():
    assert added_attacks.class_neighbours(*class_study(forget_classes=())) is None
    assert added_attacks.class_neighbours(*class_study(models=4)) is None
