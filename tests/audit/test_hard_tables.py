"""Gaps to retraining."""

import numpy as np
import pytest
from simulated_study import simulated_study

from unlearn.audit import hard_tables
from unlearn.audit.shadow_models import Measured
from unlearn.metrics.accuracy import confusions
from unlearn.metrics.composite import interclass_confusion


def test_gaps_pair_each_retrained_model_once():
    study = simulated_study()
    labels = np.asarray(study.labels)
    wrong = {"retrain": (0, 1, 2, 5), "other": (3, 3, 0, 0)}
    models = {}
    for name, counts in wrong.items():
        predictions = np.tile(labels, (4, 1))
        for row, count in zip(predictions, counts, strict=True):
            row[:count] += 1
        models[name] = Measured(np.zeros((4, 1)), predictions, 0.0)
    broken = np.array([[0.0], [np.nan], [0.0], [0.0]])
    models["diverged"] = models["other"]._replace(margins=broken)
    found = hard_tables.gaps(study, models, "targets")
    share = 100 / len(study.targets)
    assert found["other"]["value"] == pytest.approx(share * np.mean([3, 2, 2, 5]))
    assert found["retrain"]["value"] == pytest.approx(share * np.mean([1, 3]))
    assert np.isnan(found["diverged"]["value"])
    pupils = {"head_distill": models["retrain"]}  # each is compared with another
    found = hard_tables.gaps(study, models | pupils, "targets")
    apart = np.abs(np.diff([5, *wrong["retrain"]]))
    assert found["head_distill"]["value"] == pytest.approx(share * apart.mean())


def test_confusion_of_a_pair_is_that_of_the_whole_matrix():
    study = simulated_study()
    rng, test = np.random.default_rng(0), study.sets["test"]
    labels = np.asarray(study.labels)
    classes = int(labels.max()) + 1
    predictions = rng.integers(0, classes, (4, len(labels)))
    one = Measured(np.zeros((4, 1)), predictions, 0.0)
    found = hard_tables.confusion(study, one, np.array([classes - 1, 0]))
    whole = [confusions(row[test], labels[test], classes) for row in predictions]
    errors = [interclass_confusion(c, [(0, classes - 1)]).error for c in whole]
    assert found["value"] == pytest.approx(100 * np.mean(errors))


def test_models_that_forgot_one_set_are_told_from_retrained_ones_by_what_is_left():
    study, rng = simulated_study(), np.random.default_rng(0)
    targets = study.sets["targets"]

    def drawn(left=0.0, models=24):
        margins = rng.normal(2, 1, (models, len(study.labels)))
        margins[:, targets] += left
        return Measured(margins, np.zeros((models, 1)), 0.0)

    models = {
        "retrain": drawn(),
        "oracle": drawn(),
        "clean": drawn(),
        "traces": drawn(0.5),
        "original": drawn(4.0),
        "few": drawn(models=hard_tables.FEWEST - 1),
    }
    broken = models["clean"].margins.copy()
    broken[3, 0] = np.nan
    models["diverged"] = models["clean"]._replace(margins=broken)
    found = {name: hard_tables.attacked(study, models, name) for name in models}
    for name in ("retrain", "clean"):
        assert all(abs(cell["value"] - 0.5) < 0.2 for cell in found[name].values())
        assert found[name]["whole"]["low"] < 0.5 < found[name]["whole"]["high"]
    assert 0.6 < found["traces"]["single"]["value"] < 0.75
    assert found["traces"]["whole"]["low"] > 0.7  # many weak traces add up
    assert found["original"]["single"]["value"] > 0.99
    for name in ("few", "diverged"):
        assert all(np.isnan(cell["value"]) for cell in found[name].values())
