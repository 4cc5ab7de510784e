"""Tuning: same trials for each method, on validation data, every trial kept."""

import math

import numpy as np
import pytest
from small_runs import small_config

from unlearn import methods, pipeline, training
from unlearn.errors import InputError
from unlearn.pipeline import trials, tune
from unlearn.report import csv_files


def config_of(**changes):
    few = dict(run=("gradient_ascent", "finetune"), tune__trials=5, tune__seeds=2)
    return small_config(**few | changes)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    best = tune.run(config_of(), folder)
    return folder, best, csv_files.read_csv(folder / "tuning" / "tuning.csv")


@pytest.mark.slow
def test_every_method_has_the_same_number_of_trials(tuned):
    _, best, rows = tuned
    counts = {name: sum(row["method"] == name for row in rows) for name in best}
    assert counts == {"gradient_ascent": 5, "finetune": 5}
    for name, constants in best.items():
        (row,) = [r for r in rows if r["method"] == name and r["chosen"]]
        assert {key: row[key] for key in constants} == constants


@pytest.mark.slow
def test_the_first_trial_is_what_the_experiment_has(tuned):
    _, _, rows = tuned
    config = config_of()
    first = {row["method"]: row for row in rows if row["trial"] == 0}
    assert first["finetune"]["learning_rate"] == config.methods.finetune.learning_rate
    rate = config.methods.gradient_ascent.learning_rate
    assert first["gradient_ascent"]["learning_rate"] == rate


@pytest.mark.parametrize("name", ["ssd", "salun", "finetune"])
def test_points_lie_in_the_ranges_and_repeat(name):
    search = methods.METHODS[name].search
    constants = pipeline.default_config().methods[name]
    points = tune.points(search, constants, 9)
    assert points == tune.points(search, constants, 9)
    assert len({tuple(t.values()) for t in points}) == 9
    for trial in points[1:]:
        for key, (low, high) in search.items():
            assert low * 0.99 <= trial[key] <= high * 1.01


@pytest.mark.slow
def test_a_trial_is_the_method_run_alone(tuned):
    """The gap in `tuning.csv` equals that of the pipeline's method, alone."""
    _, _, rows = tuned
    folder, trial = tuned[0], [r for r in rows if r["method"] == "gradient_ascent"][3]
    config = config_of(forget__seed=10_000)
    names = tuple(config.run)
    run = pipeline.prepare(config, folder / "tuning" / "draw_10000", names)
    sample, gaps = trials.Sample(run.problem, config.tune.examples), []
    for seed in (100, 101):
        constants = dict(config.methods.gradient_ascent)
        constants["learning_rate"] = trial["learning_rate"]
        seen = pipeline.withheld(run, methods.METHODS["gradient_ascent"].needs)
        after, _ = methods.METHODS["gradient_ascent"].fn(
            pipeline.key_of(seed, "gradient_ascent"),
            pipeline.original(run, seed),
            seen,
            **constants,
        )
        problem = run.problem
        mine = training.predict(
            problem.model, after, sample.examples, problem.preprocess
        )
        mine = sample.measure(config, np.asarray(mine))
        other = sample.measure(config, trials.predict(run, sample, "retrain", seed))
        names = ("forget_accuracy", "retain_accuracy", "test_accuracy")
        gaps.append(
            np.mean([abs(mine[k] - other[k]) for k in (*names, "mia_confidence")])
        )
    np.testing.assert_allclose(trial["avg_gap"], np.mean(gaps), atol=1e-6)


@pytest.mark.slow
def test_several_classes_are_a_mean_over_them(tuned):
    """Two classes tuned together: the mean of what each gives alone; one original."""
    folder, _, _ = tuned
    both, alone = folder / "both", []
    run = dict(run=("gradient_ascent",), tune__seeds=1, forget__kind="class")
    run["forget__classes"] = (1,)
    tune.run(config_of(**run, tune__classes=(0, 2)), both)
    for number in (0, 2):
        tune.run(config_of(**run, tune__classes=(number,)), folder / str(number))
        alone.append(csv_files.read_csv(folder / str(number) / "tuning" / "tuning.csv"))
    rows = csv_files.read_csv(both / "tuning" / "tuning.csv")
    assert {row["forget_sets"] for row in rows} == {"forget_0 forget_2"}
    for mine, first, second in zip(rows, *alone, strict=True):
        assert mine["learning_rate"] == first["learning_rate"]
        for key in ("tug_of_war", "test_accuracy"):
            mean = (first[key] + second[key]) / 2
            np.testing.assert_allclose(mine[key], mean, atol=1e-6)
    hashes = {
        (
            place / "checkpoints" / "original" / "100" / "final" / "checksum.json"
        ).read_text()
        for place in (both / "tuning" / "forget_0", both / "tuning" / "forget_2")
    }
    assert len(hashes) == 1


def test_classes_are_for_class_forgetting(tmp_path):
    with pytest.raises(InputError, match="tune.classes is for forget.kind=class"):
        tune.run(config_of(tune__classes=(0, 2)), tmp_path)


def row(gap, accuracy, feasible, score=0.5, misses=""):
    return {
        "misses": misses,
        "avg_gap": gap,
        "tug_of_war": score,
        "test_accuracy": accuracy,
        "feasible": feasible,
    }


def test_the_utility_limit_comes_before_the_gap():
    rows = [row(0.1, 0.2, False), row(0.3, 0.9, True), row(0.4, 0.95, True)]
    assert tune.choose(rows) is rows[1]
    hopeless = [
        row(0.1, 0.2, False),
        row(0.3, 0.6, False),
        row(math.nan, math.nan, False),
    ]
    assert tune.choose(hopeless) is hopeless[1]


def test_what_is_there_stays_unless_it_is_beaten_by_the_margin():
    rows = [row(0.3, 0.9, True), row(0.2985, 0.9, True), row(0.4, 0.9, True)]
    assert tune.choose(rows) is rows[0]
    rows[1]["avg_gap"] = 0.2975
    assert tune.choose(rows) is rows[1]
    rows[0]["feasible"], rows[1]["avg_gap"] = False, 0.2985
    assert tune.choose(rows) is rows[1]


def test_either_objective_can_choose(tmp_path):
    rows = [row(0.1, 0.9, True, score=0.2), row(0.3, 0.9, True, score=0.8)]
    assert tune.choose(rows, "avg_gap") is rows[0]
    assert tune.choose(rows, "tug_of_war") is rows[1]
    # l1_sparse on the digits: keeping everything is not better than forgetting for a
    # few points of accuracy, whatever the limit on these.
    rows = [row(0.3, 0.93, False, score=0.90), row(0.4, 0.99, True, score=0.16)]
    assert tune.choose(rows, "tug_of_war") is rows[0]
    assert tune.choose(rows, "avg_gap") is rows[1]
    rows[0]["misses"], rows[1]["misses"] = "loses accuracy", "forgets too little"
    assert tune.choose(rows, "tug_of_war") is rows[0]
    rows.append(row(0.5, 0.96, True, score=0.85))  # the only one to do what it is for
    assert tune.choose(rows, "tug_of_war") is rows[2]
    failures = [row(0.5, 0.99, True, score=0.0), row(0.5, 0.5, False, score=0.02)]
    for failure in failures:
        failure["misses"] = "forgets too little"
    assert tune.choose(failures, "tug_of_war") is failures[0]
    failures[1]["tug_of_war"] = 0.2
    assert tune.choose(failures, "tug_of_war") is failures[1]
    gone = [row(math.nan, math.nan, False, score=math.nan), rows[0]]
    assert tune.choose(gone, "tug_of_war") is rows[0]
    with pytest.raises(InputError, match="unknown tune.objective 'gap'"):
        tune.run(config_of(tune__objective="gap"), tmp_path)


@pytest.mark.slow
def test_a_second_run_computes_nothing_anew(tuned, monkeypatch):
    folder, best, _ = tuned
    monkeypatch.setattr(trials, "many_trials", None)
    assert tune.run(config_of(), folder) == best


@pytest.mark.slow
def test_tuning_goes_on_with_one_more_method(tuned, tmp_path, monkeypatch):
    _, best, rows = tuned
    first = tune.run(config_of(run=("finetune",)), tmp_path)
    judge, judged = trials.many_trials, []
    monkeypatch.setattr(
        trials, "many_trials", lambda *a: judged.append(a[3]) or judge(*a)
    )
    assert tune.run(config_of(), tmp_path) == best
    assert first == {"finetune": best["finetune"]}
    assert judged and set(judged) == {"gradient_ascent"}
    assert len(csv_files.read_csv(tmp_path / "tuning" / "tuning.csv")) == len(rows)


def test_without_validation_it_says_so(tmp_path):
    with pytest.raises(InputError, match="validation"):
        tune.run(config_of(data__validation=0.0), tmp_path)


@pytest.mark.slow
def test_methods_without_a_search_are_left_out(tuned, monkeypatch, tmp_path, capsys):
    bare = methods.METHODS["finetune"]._replace(name="bare", search={})
    monkeypatch.setitem(methods.METHODS, "bare", bare)
    both = ("bare", "gradient_ascent")
    best = tune.run(config_of(run=both, tune__trials=2, tune__seeds=1), tmp_path / "a")
    assert list(best) == ["gradient_ascent"]
    assert "Nothing to tune in bare" in capsys.readouterr().out
    with pytest.raises(InputError, match="no method to tune"):
        tune.run(config_of(run=("bare",)), tmp_path / "b")


@pytest.mark.slow
def test_other_settings_of_tuning_in_the_same_folder_are_refused(tuned):
    folder, _, rows = tuned
    with pytest.raises(InputError, match="tune.trials: 5 there, 6 now"):
        tune.run(config_of(tune__trials=6), folder)
    assert csv_files.read_csv(folder / "tuning" / "tuning.csv") == rows


def test_a_changed_table_of_trials_is_written_anew(tuned):
    folder, best, rows = tuned
    path = folder / "tuning" / "tuning.csv"
    path.write_text(path.read_text().replace("True", "False"))
    assert tune.run(config_of(), folder) == best
    assert csv_files.read_csv(path) == rows


def test_a_constant_near_the_limit_of_its_range_is_named():
    low, high = methods.METHODS["finetune"].search["learning_rate"]
    middle = {"learning_rate": (low * high) ** 0.5}
    assert tune.near_a_limit("finetune", middle) == []
    for rate in (low, 1.1 * low, 0.95 * high, 2 * high):
        found = tune.near_a_limit("finetune", {"learning_rate": rate})
        assert found == ["learning_rate"]
