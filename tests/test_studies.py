"""Studies: who is trained on what, the same as one model alone, resumable."""

import dataclasses

import jax
import numpy as np
import pytest
from test_pipeline import small_config

from unlearn import methods, pipeline, studies, training
from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.problem import withhold
from unlearn.report.progress import Progress

TINY = dict(models=12, chunk=6, targets=30, canaries=9, examples=40)


def audit_config(**changes):
    config = small_config(run=("finetune", "gradient_ascent"))
    with config.unlocked():
        config.audit = studies.default_audit("test")
    config.audit.update(TINY | changes)
    config.audit.harder.update(models=0, count=8, requests=2, fraction=0.05)
    config.audit.layers.update(seeds=1, examples=20)
    config.audit.layers.relearning.update(steps=4, batch_size=8)
    return config


def prepared(folder, **changes):
    config = audit_config(**changes)
    return pipeline.prepare(config, folder, tuple(config.run), None, Progress())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def shadow(run):
    this, context = run
    return studies.shadow_study(this, context.test_labels)


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
    assert shadow.retain.shape[1] == len(run[0].problem.labels) - 20


def test_only_canaries_are_mislabelled(run, shadow):
    changed = np.flatnonzero(
        np.asarray(shadow.problem.labels) != np.asarray(run[0].problem.labels)
    )
    assert set(changed) == set(shadow.targets[shadow.canary])
    assert shadow.canary.sum() == 9


def test_part_of_the_background(tmp_path):
    this, context = prepared(tmp_path, background=0.5)
    study = studies.shadow_study(this, context.test_labels)
    others = np.setdiff1d(study.retain[0], study.targets)
    assert len(others) == round((len(this.problem.labels) - 30) / 2)
    assert set(others) != set(np.setdiff1d(study.retain[1], study.targets))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(targets=31), "multiple of 3"),
        (dict(targets=3000), "multiple of 3"),
        (dict(canaries=31), "canaries must lie in 0..30"),
        (dict(models=3), "at least 12"),
    ],
)
def test_bad_studies_are_refused(tmp_path, changes, words):
    this, context = prepared(tmp_path, **changes)
    with pytest.raises(InputError, match=words):
        studies.shadow_study(this, context.test_labels)


def trained(study, name, number):
    """The variables of one of the study's models from scratch."""
    models = studies.trained_variables(study, name, number + 1)
    return jax.tree.map(lambda leaf: leaf[[number]][0], models)


def test_variables_are_read_where_they_are_indexed(tmp_path):
    draw = np.random.default_rng(0).normal(size=(5, 2, 3))
    files = {tmp_path / "a.npz": range(3), tmp_path / "b.npz": range(3, 5)}
    for path, inside in files.items():
        np.savez(path, margins=np.zeros(9), **{"variables/w": draw[list(inside)]})
    kept = studies.Kept(files, "variables/w", 5)
    assert len(kept) == 5
    for numbers in ([0], [2, 3], [4, 4, 0], np.arange(5)):
        np.testing.assert_array_equal(kept[numbers], draw[numbers])
    (tmp_path / "b.npz").unlink()
    np.testing.assert_array_equal(kept[[1, 2]], draw[1:3])
    with pytest.raises(InputError, match="b.npz is damaged"):
        kept[[3]]


def alone(study, variables, problem):
    found = studies.measure(problem, variables, study.images, study.labels)
    return np.asarray(found["margins"])


def test_a_model_of_the_study_is_that_model_alone(shadow):
    """Original, retrained and unlearned models, trained by hand from the same keys."""
    recipe, number = training.Recipe(**shadow.run.config.train), 7
    forget, retain = shadow.forget[number], shadow.retain[number]
    problem = shadow.problem.replace(forget=forget, retain=retain)
    both = np.concatenate([forget, retain])
    made = {}
    for name, indices in (("original", both), ("retrain", retain)):
        key = studies._keys(shadow, name)[number]
        made[name], _ = training.train(key, problem, indices, recipe)
    name = "gradient_ascent"
    key = jax.random.split(studies._keys(shadow, name)[number], 1)[0]
    made[name], _ = methods.METHODS[name].fn(
        key,
        made["original"],
        withhold(problem, ("forget",)),
        **shadow.run.config.methods[name],
    )
    for name, variables in made.items():
        np.testing.assert_allclose(
            studies.measured(shadow, name).margins[number],
            alone(shadow, variables, problem),
            rtol=1e-3,
            atol=1e-4,
        )


def test_controls_do_what_they_say(shadow):
    names = ("original", "retrain", *studies.CONTROLS)
    models = {name: studies.measured(shadow, name) for name in names}
    original = models["original"]
    np.testing.assert_array_equal(models["no_op"].margins, original.margins)
    constant = models["constant_margin"]
    assert set(np.unique(np.abs(constant.margins))) == {5.0}
    np.testing.assert_array_equal(constant.predictions, original.predictions)
    right = original.predictions == np.asarray(shadow.labels)
    np.testing.assert_array_equal(constant.margins > 0, right)
    assert len(np.unique(models["collapsed"].margins)) == 1
    distance = {
        name: np.mean((models[name].margins - models["retrain"].margins) ** 2)
        for name in ("original", "head_distill")
    }
    assert distance["head_distill"] < distance["original"]


def test_head_distill_changes_the_head_only(shadow):
    from unlearn import controls, structure

    first, other = (trained(shadow, name, 0) for name in ("original", "retrain"))
    problem = shadow.problem.replace(forget=shadow.forget[0], retain=shadow.retain[0])
    after = controls.head_distill(first, problem, other, iterations=1)
    head = structure.head(problem, first)
    for path in structure.weighted_layers(problem, first):
        before, now = (structure.at(v["params"], path) for v in (first, after))
        same = all(
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(now), strict=True)
        )
        assert same == (path != head)


def test_it_goes_on_with_the_chunk_that_is_missing(shadow, monkeypatch):
    before = studies.measured(shadow, "oracle")
    files = sorted((shadow.folder / "oracle").glob("*.npz"))
    assert [path.name for path in files] == ["00000_6.npz", "00006_6.npz"]
    stamp = files[0].stat().st_mtime_ns
    files[1].unlink()
    again = studies.measured(shadow, "oracle")
    np.testing.assert_array_equal(before.margins, again.margins)
    assert files[0].stat().st_mtime_ns == stamp and files[1].exists()
    monkeypatch.setattr(studies.devices, "compiled", None)
    studies.measured(shadow, "oracle")  # all is there: nothing is compiled


@pytest.mark.parametrize("name", ["gradient_ascent", "finetune"])
def test_requests_in_turn_are_the_method_twice(run, name):
    """What is asked for later is retained until then."""
    this, context = run
    forget = np.arange(10)
    study = studies.fixed_study(
        "turns", this, context.test_labels, forget, 12, requests=2
    )
    found = studies.measured(study, name).margins[3]
    variables = trained(study, "original", 3)
    keys = jax.random.split(studies._keys(study, name)[3], 2)
    retain, info = study.retain[3], methods.METHODS[name]
    for key, part, more in zip(
        keys, (forget[:5], forget[5:]), (forget[5:], retain[:5]), strict=True
    ):
        stays = np.concatenate([retain, more])
        problem = this.problem.replace(forget=part, retain=stays)
        variables, _ = pipeline.run_method(
            name,
            key,
            variables,
            withhold(problem, info.needs),
            **this.config.methods[name],
        )
    expected = alone(study, variables, this.problem)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_another_study_may_ask_the_same_originals(run):
    this, context = run
    request = studies.request_study(this, context.test_labels)
    forget, labels = np.arange(5, 10), context.test_labels
    study = studies.fixed_study("others", this, labels, forget, 12, asked=request)
    own = studies.fixed_study("alone", this, labels, forget, 12)
    for name in ("original", "gradient_ascent"):
        shared, fresh = (studies.measured(one, name) for one in (study, own))
        assert shared.margins.shape == fresh.margins.shape
        assert not np.allclose(shared.margins, fresh.margins, atol=1e-3)
    found = studies.measured(study, "original").margins[3]
    variables = trained(request, "original", 3)
    expected = alone(study, variables, this.problem)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not (study.folder / "original").exists()


def test_harder_sets_have_one_size_and_fit_their_names(run, shadow):
    this, _ = run
    sets = studies.harder_sets(this, shadow)
    labels = np.asarray(this.problem.labels)
    clean = set(shadow.targets[~shadow.canary])
    assert {len(forget) for forget, _ in sets.values()} == {8}
    for name in ("memorised", "not memorised", "worst case", "influence"):
        assert set(sets[name][0]) <= clean and sets[name][1] is None
    assert not set(sets["memorised"][0]) & set(sets["not memorised"][0])
    for name in ("confused pair", "mislabelled"):
        forget, changed = sets[name]
        assert np.all(changed[forget] != labels[forget])
    assert np.sum(sets["confused pair"][1] != labels) == 8


def test_what_the_run_is_asked_to_forget_is_attacked_first(run, shadow):
    this, _ = run
    asked = set(np.asarray(this.problem.forget))
    assert set(shadow.targets[shadow.requested]) <= asked
    assert not np.any(shadow.requested & shadow.canary)
    clean = shadow.targets[~shadow.canary]
    assert shadow.requested.sum() == min(len(asked), len(clean))
    assert not set(shadow.targets[shadow.canary]) & asked
    assert len(set(shadow.targets)) == len(shadow.targets)


def test_classes_of_the_request_are_not_those_of_other_forget_sets(tmp_path):
    this, context = prepared(tmp_path)
    asked = this.problem.replace(forget_classes=np.array([1], np.int32))
    this = dataclasses.replace(this, problem=asked)
    labels = context.test_labels
    shadow = studies.shadow_study(this, labels)
    others = studies.fixed_study("others", this, labels, np.arange(4), 12)
    assert not len(shadow.problem.forget_classes) and not shadow.requested.any()
    assert not len(others.problem.forget_classes)
    assert len(studies.request_study(this, labels).problem.forget_classes) == 1


def test_models_of_other_sets_are_refused(tmp_path):
    this, context = prepared(tmp_path)
    labels = context.test_labels
    studies.fixed_study("others", this, labels, np.arange(4), 12)
    studies.fixed_study("others", this, labels, np.arange(4), 12)
    with pytest.raises(InputError, match="holds models of other sets"):
        studies.fixed_study("others", this, labels, np.arange(5), 12)
