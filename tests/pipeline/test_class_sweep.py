"""Every class forgotten in turn, and the worst of them."""

import numpy as np
import pytest
from small_runs import small_config

from unlearn import data
from unlearn.errors import InputError
from unlearn.metrics import columns
from unlearn.pipeline import class_sweep
from unlearn.report import class_sweep as report
from unlearn.report import csv_files


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    config = small_config(
        forget__kind="class",
        forget__classes=(1,),
        run=("finetune", "gradient_ascent"),
        seeds=1,
        class_sweep__classes=(0, 1),
        class_sweep__best=1,
    )
    return folder, config, class_sweep.run(config, folder).worst


@pytest.mark.slow
def test_each_class_is_a_run_with_the_best_methods(swept):
    folder, _, worst = swept
    rows = csv_files.read_csv(folder / "classes.csv")
    assert {row["class"] for row in rows} == {0, 1}
    assert len(rows) == 4 and len(worst) == 2
    for number in (0, 1):
        models = {r["model"] for r in rows if r["class"] == number}
        assert len(models) == 2 and "retrain" in models
    assert (folder / "worst_class.md").read_text().count("\n| ") >= 4
    assert (folder / "figures" / "worst_class.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_original_is_trained_once(swept):
    folder, _, _ = swept
    logits = [
        np.load(folder / f"forget_{c}" / "evaluations" / "original" / "0.npz")
        for c in (0, 1)
    ]
    for other in logits[1:]:
        np.testing.assert_array_equal(other["test_logits"], logits[0]["test_logits"])
    log = (folder / "forget_0" / "log.jsonl").read_text()
    assert '"retrain"' in log and '"original"' not in log


@pytest.mark.slow
def test_a_sweep_goes_on_with_more_methods(tmp_path):
    """Although another one becomes the best."""
    changes = dict(forget__kind="class", forget__classes=(1,), seeds=1)
    changes |= dict(class_sweep__classes=(0, 1), class_sweep__best=1)
    for run in (("gradient_ascent",), ("gradient_ascent", "finetune", "ssd")):
        class_sweep.run(small_config(run=run, **changes), tmp_path)
        rows = csv_files.read_csv(tmp_path / "classes.csv")
        assert {row["class"] for row in rows} == {0, 1} and len(rows) == 4
    (best,) = {row["model"] for row in rows} - {"retrain"}
    assert best != "gradient_ascent"


@pytest.mark.slow
def test_the_worst_class_is_the_largest_value(swept):
    folder, _, worst = swept
    rows = csv_files.read_csv(folder / "classes.csv")
    for row in worst:
        own = {r["class"]: r["avg_gap"] for r in rows if r["model"] == row["model"]}
        assert row["avg_gap"] == max(own.values()) == own[row["avg_gap_class"]]


def test_the_worst_class_by_hand():
    def row(model, accuracy, gap):
        zeros = dict.fromkeys(("forget_accuracy", "test_forget_accuracy"), 0.0)
        row = dict(model=model, seeds=1, test_accuracy=accuracy, avg_gap=gap, seconds=1)
        misses = "loses accuracy" if accuracy < 0.5 else ""
        verdict = "reference" if model == "retrain" else "too few seeds"
        return row | zeros | {"misses": misses, "verdict": verdict}

    summaries = {
        number: [row("retrain", 0.9, 0.0), row("ssd", accuracy, gap)]
        for number, accuracy, gap in ((0, 0.88, 0.3), (1, 0.15, 0.1), (2, 0.91, 0.2))
    }
    rows = class_sweep.class_rows(summaries, ("ssd",))
    (worst,) = class_sweep.worst_class(rows)
    assert worst["test_accuracy_lost_class"] == 1 and worst["avg_gap_class"] == 0
    assert worst["test_accuracy_lost"] == pytest.approx(0.75)
    assert worst["cost"] == 1
    assert (worst["reached"], worst["judged"], worst["classes"]) == (2, 3, 3)


@pytest.mark.parametrize(
    "verdict, misses, counts",
    [
        ("within", "", (1, 1)),
        ("outside", "", (1, 1)),
        ("too few seeds", "loses accuracy", (0, 1)),
        ("diverged", "diverged", (0, 1)),
        ("diverged", "", (0, 1)),
        ("weak reference", "", (0, 0)),
        ("no reference", "", (0, 0)),
        ("reference", "", (0, 0)),
        ("", "", (0, 0)),
    ],
)
def test_nothing_is_reached_where_nothing_was_judged(verdict, misses, counts):
    quantities = dict.fromkeys(columns.CLASS_SWEEP, 0.1)
    quantities |= dict(test_accuracy=0.9, seconds=1.0, seeds=1)
    summary = [
        {"model": model, "verdict": verdict, "misses": misses} | quantities
        for model in ("retrain", "ssd")
    ]
    rows = class_sweep.class_rows({0: summary}, ("ssd",))
    worst = class_sweep.worst_class(rows)
    assert (worst[0]["reached"], worst[0]["judged"]) == counts
    cell = f"{counts[0]} of 1" if counts[1] else "–"
    assert f" | {cell} |\n" in report.markdown(worst)


def summary_row(model, score, speedup, status="ok"):
    return {"model": model, "tug_of_war": score, "speedup": speedup, "status": status}


def rows_of(summary, seeds=2, test=0.5):
    """Rows whose Tug-of-War on validation data is that of the summary."""
    rows = []
    for row in summary:
        for seed in range(seeds):
            perfect = dict(forget_accuracy=0.0, retain_accuracy=1.0, status="ok")
            perfect |= dict(model=row["model"], seed=seed, test_accuracy=test)
            rows.append(perfect | {"validation_accuracy": row["tug_of_war"]})
    return rows


def test_the_best_are_fast_first_then_close():
    summary = [
        summary_row("original", 0.1, 1.0),
        summary_row("retrain", 1.0, 1.0),
        summary_row("scrub", 0.97, 12.0),
        summary_row("finetune", 0.99, 2.0),
        summary_row("ssd", 0.98, 30.0),
        summary_row("emmn", 0.97, 99.0),
        summary_row("sisa", 1.0, 99.0),
    ]
    rows = rows_of(summary)
    assert class_sweep.best(rows, summary, 2, 10) == ("ssd", "scrub")
    four = ("ssd", "scrub", "emmn", "finetune")
    assert class_sweep.best(rows, summary, 4, 10) == four
    assert class_sweep.best(rows, summary, 2, 1) == ("finetune", "ssd")


def test_the_best_are_chosen_without_a_look_at_test_data():
    """Whatever the test accuracies, in rows and summary; by validation they change."""
    summary = [summary_row("retrain", 1.0, 1.0)]
    summary += [summary_row("ssd", 0.98, 30.0), summary_row("scrub", 0.97, 12.0)]
    rows = rows_of(summary)
    poisoned = [row | {"tug_of_war": 0.5 - row["tug_of_war"] / 9} for row in summary]
    liars = [row | {"test_accuracy": len(row["model"]) / 9} for row in rows]
    for first, second in ((rows, summary), (liars, poisoned)):
        assert class_sweep.best(first, second, 2, 10) == ("ssd", "scrub")
    for row in rows:
        if row["model"] == "ssd":
            row["validation_accuracy"] = 0.5
    assert class_sweep.best(rows, summary, 2, 10) == ("scrub", "ssd")


def test_without_validation_data_there_is_nothing_to_choose_by(tmp_path):
    config = small_config(
        data__validation=0.0,
        forget__kind="class",
        forget__classes=(1,),
        class_sweep__classes=(0, 1),
    )
    with pytest.raises(InputError, match=r"validation data: set data\.validation"):
        class_sweep.run(config, tmp_path)


@pytest.mark.slow
def test_the_data_is_loaded_and_hashed_once(tmp_path, monkeypatch):
    calls, load, fingerprint = [], data.load, data.fingerprint

    def counted(name, fn):
        def call(*args, **options):
            calls.append(name)
            return fn(*args, **options)

        return call

    monkeypatch.setattr(data, "load", counted("load", load))
    monkeypatch.setattr(data, "fingerprint", counted("hash", fingerprint))
    config = small_config(
        forget__kind="class",
        forget__classes=(1,),
        run=("ssd",),
        seeds=1,
        class_sweep__classes=(0, 1),
    )
    class_sweep.run(config, tmp_path)
    assert sorted(calls) == ["hash", "load"]


@pytest.mark.slow
def test_classes_by_name(tmp_path):
    """Of folders 3, 4 and 5, where numbers are names and not places."""
    config = small_config(
        data__name=numbered(tmp_path),
        forget__kind="class",
        forget__classes=("5",),
        run=("finetune",),
        seeds=1,
        train__epochs=1,
        class_sweep__classes=(5, 4),
        class_sweep__best=1,
    )
    class_sweep.run(config, tmp_path / "swept")
    rows = csv_files.read_csv(tmp_path / "swept" / "classes.csv")
    assert {row["class"] for row in rows} == {4, 5}
    dataset = data.load(config.data.name)
    for name, number in (("4", 1), ("5", 2)):
        with np.load(tmp_path / "swept" / f"forget_{name}" / "split.npz") as sets:
            assert set(dataset.train_labels[sets["forget"]]) == {number}


def numbered(folder):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (120, 6, 6, 1), np.uint8), np.arange(120) % 3
    test = {"test_images": images[:30] ^ 1, "test_labels": labels[:30]}
    np.savez(
        folder / "a.npz",
        train_images=images,
        train_labels=labels,
        class_names=["3", "4", "5"],
        **test,
    )
    return f"npz:{folder / 'a.npz'}"
