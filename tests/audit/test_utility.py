"""Accuracy against retraining, where the truth is known."""

import numpy as np
import pytest
from simulated_study import CLASSES, MODELS, UNSEEN, measurements

from unlearn.audit.utility import utility
from unlearn.metrics.clustered import difference


def test_what_is_lost_is_the_difference_of_accuracies(request_study):
    study, models = request_study
    found = utility(study, models["collapsed"], models["retrain"], CLASSES)
    labels, test = np.asarray(study.labels), study.sets["test"]
    ours, theirs = (
        (models[n].predictions == labels)[:, test].mean()
        for n in ("collapsed", "retrain")
    )
    assert found.accuracy.value == pytest.approx(ours)
    assert found.lost.value == pytest.approx(ours - theirs)
    assert found.lost.high < -0.7
    same = utility(study, models["clean"], models["retrain"], CLASSES)
    assert same.lost.low < 0 < same.lost.high
    assert same.lost.high - same.lost.low < 0.03


def test_one_class_that_is_lost_is_named(request_study):
    study, models = request_study
    labels, test = np.asarray(study.labels), study.sets["test"]
    wrong = models["clean"].predictions.copy()
    wrong[:, labels == 2] = 0
    found = utility(
        study, models["clean"]._replace(predictions=wrong), models["retrain"], CLASSES
    )
    name, lost = found.worst_class
    assert name == "owl" and lost.value == pytest.approx(-0.9, abs=0.03)
    assert found.lost.value == pytest.approx(-0.3, abs=0.03)
    assert np.sum(labels[test] == 2) == UNSEEN // 3


def test_the_worst_class_is_the_lowest_of_all_ends():
    """A class of few examples is wide, and reaches lower than the lowest one."""
    study, models = measurements("request")
    test, labels = study.sets["test"], np.array(study.labels)
    labels[test] = np.repeat([0, 1, 2], [6, 27, 27])
    hits = [np.tile(labels, (MODELS, 1)) for _ in range(2)]
    first = test.start
    hits[0][::2, first : first + 2] = 1  # of class 0, in every second model
    hits[1][1::2, first + 2 : first + 4] = 1
    hits[0][:, first + 33] = 0  # of class 2, in all models
    ours, theirs = (models["clean"]._replace(predictions=one) for one in hits)
    name, lost = utility(
        study._replace(labels=labels), ours, theirs, CLASSES
    ).worst_class
    assert name == "owl" and lost.value == pytest.approx(-1 / 27)
    each = [
        difference(
            *(one[:, test][:, labels[test] == c] == c for one in hits), comparisons=3
        )
        for c in range(3)
    ]
    assert lost.low == min(one.low for one in each) == each[0].low < each[2].low
    assert lost.high == min(one.high for one in each)


def test_a_class_of_four_examples_is_left_out():
    study, models = measurements("request")
    labels = np.array(study.labels)
    labels[study.sets["test"]] = np.repeat([0, 1, 2], [4, 28, 28])
    wrong = np.where(labels == 0, 1, np.tile(labels, (MODELS, 1)))
    ours = models["clean"]._replace(predictions=wrong)
    theirs = models["clean"]._replace(predictions=np.tile(labels, (MODELS, 1)))
    found = utility(study._replace(labels=labels), ours, theirs, CLASSES)
    assert found.worst_class[0] != "cat" and found.worst_class[1].value == 0


def test_a_small_class_on_which_no_two_models_differ_is_left_out():
    """It has no interval, and must not be the worst; where it is lost it is."""
    study, models = measurements("request")
    test, labels = study.sets["test"], np.array(study.labels)
    labels[test] = np.repeat([0, 1, 2], [23, 13, 24])
    right = np.tile(labels, (MODELS, 1))
    worse, lost = right.copy(), right.copy()
    worse[::2, test.start + 24] = 0  # of class 1
    worse[::2, test.start + 40] = 0  # of class 2
    lost[:, labels == 0] = 1
    study = study._replace(labels=labels)

    def worst(*predictions):
        pair = [models["clean"]._replace(predictions=one) for one in predictions]
        return utility(study, *pair, CLASSES).worst_class

    assert worst(right, worse)[0] != "cat" and worst(right, worse)[1].value > 0
    assert worst(lost, right)[0] == "cat" and worst(lost, right)[1].value == -1
    assert worst(right, right)[0] == "owl" and worst(right, right)[1] == (0, 0, 0)


def test_forgotten_classes_do_not_count():
    study, models = measurements("request", of_class=(2,))
    labels = np.asarray(study.labels)
    wrong = np.where(labels == 2, 0, models["clean"].predictions)
    found = utility(
        study, models["clean"]._replace(predictions=wrong), models["retrain"], CLASSES
    )
    assert found.worst_class[0] in ("cat", "dog")
    assert found.lost.low < 0 < found.lost.high
    assert len(wrong) == MODELS
