"""Studies: which model is trained on what, and requested to forget what."""

import dataclasses

import numpy as np
import pytest
from small_audits import prepared

from unlearn.audit import studies
from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, OUT, RETAIN


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def shadow(run):
    return studies.shadow_study(run)


def test_states_are_balanced_in_models_and_in_targets():
    states = studies.balanced_states(np.random.default_rng(0), 12, 30)
    for state in (OUT, RETAIN, FORGET):
        assert np.all((states == state).sum(0) == 4)
        assert np.all((states == state).sum(1) == 10)


def test_states_and_sets_say_the_same(run, shadow):
    for row, forget, retain in zip(
        shadow.states, shadow.forget, shadow.retain, strict=True
    ):
        assert set(forget) == set(shadow.targets[row == FORGET])
        assert set(shadow.targets[row == RETAIN]) <= set(retain)
        assert not set(shadow.targets[row != RETAIN]) & set(retain)
    assert shadow.retain.shape[1] == len(run.problem.labels) - 20


def test_only_canaries_are_mislabelled(run, shadow):
    changed = np.flatnonzero(
        np.asarray(shadow.problem.labels) != np.asarray(run.problem.labels)
    )
    assert set(changed) == set(shadow.targets[shadow.canary])
    assert shadow.canary.sum() == 9


def test_part_of_the_background(tmp_path):
    run = prepared(tmp_path, background=0.5)
    study = studies.shadow_study(run)
    others = np.setdiff1d(study.retain[0], study.targets)
    assert len(others) == round((len(run.problem.labels) - 30) / 2)
    assert set(others) != set(np.setdiff1d(study.retain[1], study.targets))


def test_requested_examples_are_attacked_first(run, shadow):
    asked = set(np.asarray(run.problem.forget))
    assert set(shadow.targets[shadow.requested]) <= asked
    assert not np.any(shadow.requested & shadow.canary)
    clean = shadow.targets[~shadow.canary]
    assert shadow.requested.sum() == min(len(asked), len(clean))
    assert not set(shadow.targets[shadow.canary]) & asked
    assert len(set(shadow.targets)) == len(shadow.targets)


def test_classes_of_the_request_are_not_those_of_other_forget_sets(tmp_path):
    run = prepared(tmp_path)
    asked = run.problem.replace(forget_classes=np.array([1], np.int32))
    run = dataclasses.replace(run, problem=asked)
    shadow = studies.shadow_study(run)
    others = studies.fixed_study("others", run, np.arange(4), 12)
    assert not len(shadow.problem.forget_classes) and not shadow.requested.any()
    assert not len(others.problem.forget_classes)
    assert len(studies.request_study(run).problem.forget_classes) == 1


def test_models_of_other_sets_are_refused(tmp_path):
    run = prepared(tmp_path)
    studies.fixed_study("others", run, np.arange(4), 12)
    studies.fixed_study("others", run, np.arange(4), 12)
    with pytest.raises(InputError, match="holds models of other sets"):
        studies.fixed_study("others", run, np.arange(5), 12)


def test_other_examples_of_a_fixed_study_are_never_forgotten_ones(tmp_path):
    """Where more is forgotten than is measured, the rest is of the retain set."""
    run = prepared(tmp_path, examples=5)
    forget = np.arange(20)
    study = studies.fixed_study("fixed", run, forget, 12)
    images = np.asarray(study.examples[study.sets["rest"]])
    retained = np.asarray(run.problem.examples)[study.retain[0]]
    assert len(study.targets) == 5 and set(study.targets) < set(forget)
    kept = {image.tobytes() for image in retained}
    assert len(images) == 5 and all(image.tobytes() in kept for image in images)


def test_more_targets_than_examples_are_refused(tmp_path):
    with pytest.raises(InputError, match="less than the training set"):
        studies.shadow_study(prepared(tmp_path, targets=3000))
