"""Trials judged by attacks: what models see, what is measured, and the scale of it."""

import jax
import numpy as np
import pytest
from scipy import special, stats
from small_runs import Silent, small_config

from unlearn import methods, pipeline, store, training
from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, OUT
from unlearn.pipeline import leak_trials, tune
from unlearn.report import csv_files

FEW = dict(tune__objective="audit", tune__models=12, tune__trials=2)


def config_of(**changes):
    many = dict(train__epochs=30, train__learning_rate=0.2, forget__count=24)
    config = small_config(**many | FEW | changes)
    config.data.validation = 0.2
    return config


def prepared(folder, **changes):
    config = config_of(**changes)
    return pipeline.prepare(config, folder, tuple(config.run), progress=Silent())


@pytest.fixture(scope="module")
def shadows(tmp_path_factory):
    run = prepared(tmp_path_factory.mktemp("run"), run=("finetune", "rewind"))
    return leak_trials.shadows_of(run)


def test_a_forgotten_example_was_seen_by_half_of_the_models(shadows):
    problem, states, planted = shadows.problem, shadows.states, shadows.planted
    assert states.shape == (12, 28)
    assert planted.sum() == 4
    assert ((states == FORGET).sum(axis=0) == 6).all()
    assert ((states == OUT).sum(axis=0) == 6).all()
    asked = np.asarray(shadows.run.problem.forget)
    changed = np.asarray(problem.labels) != np.asarray(shadows.run.problem.labels)
    assert changed.sum() == 4
    for row, forget, retain in zip(states, shadows.forget, shadows.retain, strict=True):
        seen = np.concatenate([forget, retain])
        assert len(set(seen)) == len(seen) == 160 - 14  # half of the targets are out
        assert (row == FORGET).sum() == len(forget) == 14
        assert changed[forget].sum() == 2
        assert not changed[retain].any()
        assert np.isin(asked, retain).sum() == 0


@pytest.mark.parametrize("count, planted", [(100, 20), (145, 4)])
def test_the_whole_request_is_forgotten_and_some_of_it_measured(
    tmp_path, count, planted
):
    small = dict(forget__count=count, tune__examples=24, train__batch_size=8)
    run = prepared(tmp_path, **small)
    shadows = leak_trials.shadows_of(run)
    assert shadows.forget.shape == (12, count // 2 + planted // 2)
    assert shadows.retain.shape == (12, 160 - count - planted)
    assert shadows.planted.sum() == planted
    assert shadows.states.shape == (12, 24 + planted)
    assert len(shadows.labels) == 24 + planted + len(run.problem.validation.labels)


def test_trials_are_the_method_on_each_model(shadows):
    info = methods.METHODS["finetune"]
    points = [{"learning_rate": 0.01}, {"learning_rate": 0.1}]
    found = leak_trials.trials(shadows, "finetune", points)
    originals = leak_trials.trained(shadows, "original")["variables"]
    for number in (0, 11):
        problem = shadows.problem.replace(
            forget=shadows.forget[number], retain=shadows.retain[number]
        )
        variables = jax.tree.map(lambda leaf, n=number: leaf[n], originals)
        key = shadows.keys("finetune")[number]
        constants = {**shadows.run.config.methods.finetune, **points[1]}
        del constants["retain_examples"]
        after, _ = info.fn(key, variables, problem, **constants)
        logits = training.predict(
            problem.model, after, shadows.examples, problem.preprocess
        )
        logits = np.asarray(logits, np.float64)
        own = np.asarray(shadows.labels)[:, None] == np.arange(logits.shape[1])
        others = np.where(own, -np.inf, logits)
        margins = logits[own] - special.logsumexp(others, axis=1)
        np.testing.assert_allclose(found["margins"][number, 1], margins, atol=1e-3)
        assert not np.allclose(found["margins"][number, 0], margins, atol=1e-3)


@pytest.mark.slow
def test_a_method_that_rewinds_gets_the_early_weights_of_each_model(shadows):
    early = leak_trials.trained(shadows, "original@1")["variables"]
    recipe = training.Recipe(**shadows.run.config.train)
    indices = np.concatenate([shadows.forget[3], shadows.retain[3]])
    key = shadows.keys("original")[3]
    alone, _ = training.train(key, shadows.problem, indices, recipe, 1)
    for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(early), strict=True):
        np.testing.assert_allclose(one, many[3], atol=1e-6)
    found = leak_trials.trials(shadows, "rewind", [{"learning_rate": 0.05}])
    assert np.isfinite(found["margins"]).all()


@pytest.mark.slow
def test_the_scale_goes_from_retraining_to_doing_nothing(shadows):
    run = shadows.run
    measured = leak_trials.judge([run])
    original, retrain = (
        leak_trials.trained(shadows, name) for name in ("original", "retrain")
    )
    worst, best = (
        leak_trials.attacked(shadows, found["margins"], None)
        for found in (original, retrain)
    )
    ends = {key: (worst[key].value, best[key].value) for key in worst}
    nothing = leak_trials.score(shadows, original, retrain, ends)
    anew = leak_trials.score(shadows, retrain, retrain, ends)
    assert nothing["leak"] == pytest.approx(1)
    assert nothing["planted"] > 0.95
    assert anew["leak"] == pytest.approx(0)
    assert anew["lost"] == 0
    (still,) = measured("finetune", [{"learning_rate": 0.0}])
    (early,) = measured("rewind", [{"learning_rate": 0.05}])
    assert still["leak"] == pytest.approx(1, abs=1e-4)
    assert early["leak"] < 0.5
    assert early["planted"] < nothing["planted"]


@pytest.mark.parametrize("distance", [0.0, 0.3, 1.0, 2.0])
def test_what_is_left_is_a_share_of_the_distance(distance):
    """AUCs of two unit Gaussians so far apart, of which 0.1 is chance and 2 all."""
    auc = {d: stats.norm.cdf(d / np.sqrt(2)) for d in (0.1, 2.0, distance)}
    share = leak_trials.left(auc[distance], auc[2.0], auc[0.1])
    assert share == pytest.approx(max(0, (distance - 0.1) / 1.9))


@pytest.mark.slow
def test_a_class_is_told_from_retraining(tmp_path):
    one = dict(forget__kind="class", forget__classes=(1,), forget__count=0)
    run = prepared(tmp_path, run=("random_labels",), **one)
    shadows = leak_trials.shadows_of(run)
    points = [{"learning_rate": rate} for rate in (0.0, 0.005, 0.02)]
    still, some, more = leak_trials.judge([run])("random_labels", points)
    assert not shadows.planted.any()
    assert still["single"] > 0.99
    assert still["leak"] == pytest.approx(1, abs=0.01)
    assert more["single"] > 0.99  # to the attacks all three are the same
    assert more["leak"] < some["leak"] - 0.05 < still["leak"] - 0.08
    original, retrain = (
        leak_trials.trained(shadows, name)["margins"][:, : len(shadows.planted)]
        for name in ("original", "retrain")
    )
    apart = np.abs(original.mean(0) - retrain.mean(0)).mean()
    assert still["distance"] == pytest.approx(apart, rel=1e-3)
    labels = np.asarray(run.problem.validation.labels)
    own = leak_trials.trained(shadows, "original")["predictions"][:, -len(labels) :]
    right = [(row == labels)[labels != 1].mean() for row in own]
    assert still["test_accuracy"] == pytest.approx(np.mean(right), abs=1e-6)


@pytest.mark.slow
def test_tuning_by_attacks_goes_on_where_it_stopped(tmp_path, monkeypatch):
    config = config_of(run=("finetune",))
    best = tune.run(config, tmp_path)
    path = tmp_path / "tuning" / "tuning.csv"
    rows = csv_files.read_csv(path)
    assert [row["trial"] for row in rows] == [0, 1]
    (chosen,) = [row for row in rows if row["chosen"]]
    assert best["finetune"]["learning_rate"] == chosen["learning_rate"]
    (tmp_path / "tuning" / "trials" / "finetune.json").unlink()
    monkeypatch.setattr(store, "save_kept", None)  # no shadow model is made again
    assert tune.run(config, tmp_path) == best
    assert csv_files.read_csv(path) == rows


def row(leak, lost, accuracy=0.9):
    feasible = lost <= 0.02
    return dict(leak=leak, test_accuracy=accuracy, feasible=feasible, misses="")


def test_least_leak_within_the_utility_limit():
    rows = [row(0.9, 0.0), row(0.1, 0.05), row(0.3, 0.01), row(np.nan, 0, np.nan)]
    assert tune.choose(rows, "audit") is rows[2]
    rows[2]["leak"] = 0.82  # not told from what is there
    assert tune.choose(rows, "audit") is rows[0]


@pytest.mark.parametrize(
    "changes, line",
    [
        (dict(forget__count=19), "of fewer than 20 an attack cannot be told"),
        (dict(train__learning_rate=0.0), "no attack sees through the originals"),
        (dict(tune__models=13), "tune.models must be even and at least 12; it is 13"),
        (dict(tune__models=10), "tune.models must be even and at least 12; it is 10"),
        (dict(tune__examples=19), "needs tune.examples of 20 or more; it is 19"),
        (dict(model__weights="w.npz"), "trains originals of its own"),
    ],
)
def test_what_cannot_be_judged_is_refused(tmp_path, changes, line):
    with pytest.raises(InputError, match=line):
        tune.run(config_of(**changes), tmp_path)
