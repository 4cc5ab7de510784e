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


@pytest.mark.parametrize("roles", [(OUT, RETAIN, FORGET), (OUT, FORGET)])
def test_states_are_balanced_in_models_and_in_targets(roles):
    states = studies.balanced_states(np.random.default_rng(0), 12, 30, roles)
    for state in roles:
        assert np.all((states == state).sum(0) == 12 // len(roles))
        assert np.all((states == state).sum(1) == 30 // len(roles))


@pytest.mark.parametrize("make", [studies.shadow_study, studies.stress_study])
def test_states_and_sets_say_the_same(run, make):
    study = make(run)
    for row, forget, retain in zip(
        study.states, study.forget, study.retain, strict=True
    ):
        assert set(forget) == set(study.targets[row == FORGET])
        assert set(study.targets[row == RETAIN]) <= set(retain)
        assert not set(study.targets[row != RETAIN]) & set(retain)
        everything = {*forget, *retain, *study.targets[row == OUT]}
        assert everything == set(range(len(run.problem.labels)))
    assert len(set(study.targets)) == len(study.targets)


def test_requested_examples_are_forgotten_or_never_seen(run, shadow):
    asked = set(np.asarray(run.problem.forget))
    states = shadow.states
    assert set(shadow.targets[shadow.requested]) == asked
    assert set(np.unique(states[:, shadow.requested])) == {OUT, FORGET}
    kept = ~(states == FORGET).any(axis=0)
    assert kept.sum() == 6 and not np.any(kept & shadow.requested)
    assert set(np.unique(states[:, kept])) == {OUT, RETAIN}
    np.testing.assert_array_equal(shadow.problem.labels, run.problem.labels)


def test_of_many_requested_examples_a_sample_is_judged(tmp_path):
    study = studies.shadow_study(prepared(tmp_path, targets=12))
    assert study.requested.sum() == 12 and len(study.targets) == 18
    odd = studies.shadow_study(prepared(tmp_path / "odd", targets=13))
    assert odd.requested.sum() == 13
    assert odd.forget.shape == (12, 7)


def test_few_requested_examples_have_others_beside_them(tmp_path):
    study = studies.shadow_study(prepared(tmp_path, count=3))
    assert study.requested.sum() == 3 and len(study.targets) == 36
    assert study.forget.shape == (12, 15)


def test_requests_one_after_another_divide_the_forget_sets(tmp_path):
    run = prepared(tmp_path, targets=24)
    run.config.audit.harder.update(membership=True, requests=5)
    study = studies.shadow_study(run)
    assert study.requested.sum() == 20 and study.forget.shape == (12, 10)
    run.config.audit.harder.requests = 13
    with pytest.raises(InputError, match="13 requests .* need 26 examples"):
        studies.shadow_study(run)


def test_stress_examples_are_mislabelled_and_not_requested(run):
    stress = studies.stress_study(run)
    before, after = (np.asarray(p.labels) for p in (run.problem, stress.problem))
    assert set(np.flatnonzero(before != after)) == set(stress.targets)
    assert len(stress.targets) == 9
    assert not set(stress.targets) & set(np.asarray(run.problem.forget))


def test_part_of_the_background(tmp_path):
    run = prepared(tmp_path, background=0.5)
    study = studies.shadow_study(run)
    others = np.setdiff1d(study.retain[0], study.targets)
    left = len(run.problem.labels) - len(study.targets)
    assert len(others) == round(left / 2)
    assert set(others) != set(np.setdiff1d(study.retain[1], study.targets))


def test_classes_of_the_request_are_not_those_of_other_forget_sets(tmp_path):
    run = prepared(tmp_path)
    asked = run.problem.replace(forget_classes=np.array([1], np.int32))
    run = dataclasses.replace(run, problem=asked)
    others = studies.fixed_study("others", run, np.arange(4), 12)
    assert not others.of_classes and not studies.stress_study(run).of_classes
    assert studies.request_study(run).of_classes


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


def test_a_small_set_has_fewer_others(tmp_path):
    """Rooms for the fillers of one requested example, the kept and the canaries."""
    run = prepared(tmp_path, count=1, kept=300, canaries=300, targets=300)
    total = len(run.problem.labels)
    assert total < 300
    study = studies.shadow_study(run)
    kept = (study.states == RETAIN).any(axis=0).sum()
    assert kept % 2 == 0 and (total - 1) / 3 - 2 < kept <= (total - 1) / 3
    filled = len(study.targets) - kept
    assert filled % 2 == 0 and total - kept - filled in (1, 2)
    assert study.requested.sum() == 1
    canaries = len(studies.stress_study(run).targets)
    assert canaries % 3 == 0 and (total - 1) / 3 - 3 < canaries <= (total - 1) / 3


def test_no_others_are_refused(tmp_path):
    run = prepared(tmp_path)
    few = run.problem.replace(retain=run.problem.retain[:5])
    run = dataclasses.replace(run, problem=few)
    with pytest.raises(InputError, match="needs 6 training examples .* there are 5"):
        studies.shadow_study(run)
    with pytest.raises(InputError, match=r"audit\.canaries to 0"):
        studies.stress_study(run)


def test_a_study_that_is_too_small_to_pass_says_what_it_takes(shadow):
    assert studies.models_needed(129) == 144
    assert studies.models_needed(40) == 468 and studies.models_needed(300) == 66
    assert not studies.too_few(144, 120) and studies.too_few(144, 60)
    note = studies.small(shadow)
    assert "12 models of 24 requested" in note and "about 774 would" in note
    some = shadow._replace(requested=np.arange(len(shadow.targets)) < 19)
    assert studies.small(some) == ""  # nothing is judged
