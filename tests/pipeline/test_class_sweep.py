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
    """By one method, then by two, of classes 5 and 4, which are in places 2 and 1.

    The folder, the second outcome, and for each of both what was asked of the data and
    the rows of `classes.csv`.
    """
    folder, asked, tables = tmp_path_factory.mktemp("swept"), [], []
    name = numbered(folder)

    def counted(word, fn):
        def call(*args, **options):
            asked[-1].append(word)
            return fn(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for word in ("load", "fingerprint"):
            patch.setattr(data, word, counted(word, getattr(data, word)))
        for run in (("gradient_ascent",), ("gradient_ascent", "finetune")):
            asked.append([])
            config = small_config(
                data__name=name,
                forget__kind="class",
                forget__classes=("5",),
                run=run,
                seeds=1,
                class_sweep__classes=(5, 4),
                class_sweep__best=1,
            )
            worst = class_sweep.run(config, folder / "runs").worst
            tables.append(csv_files.read_csv(folder / "runs" / "classes.csv"))
    return folder / "runs", worst, asked, tables


def numbered(folder):
    """An npz file of made-up classes that are called 3, 4 and 5."""
    made = data.load("synthetic:6x6x1,classes=3,train=200,test=90")
    np.savez(
        folder / "a.npz",
        train_images=made.train_images,
        train_labels=made.train_labels,
        test_images=made.test_images,
        test_labels=made.test_labels,
        class_names=["3", "4", "5"],
    )
    return f"npz:{folder / 'a.npz'}"


@pytest.mark.slow
def test_each_class_is_a_run_with_the_best_methods(swept):
    folder, worst, _, (_, rows) = swept
    assert {row["class"] for row in rows} == {4, 5}
    assert len(rows) == 4 and len(worst) == 2
    for number in (4, 5):
        models = {r["model"] for r in rows if r["class"] == number}
        assert len(models) == 2 and "retrain" in models
    assert (folder / "worst_class.md").read_text().count("\n| ") >= 4
    assert (folder / "figures" / "worst_class.png").stat().st_size > 10_000


@pytest.mark.slow
def test_classes_are_found_by_name(swept):
    """Where numbers are names and not places."""
    folder, _, _, _ = swept
    labels = data.load(f"npz:{folder.parent / 'a.npz'}").train_labels
    for name, number in (("4", 1), ("5", 2)):
        with np.load(folder / f"forget_{name}" / "split.npz") as sets:
            assert set(labels[sets["forget"]]) == {number}


@pytest.mark.slow
def test_the_original_is_trained_once(swept):
    folder, _, _, _ = swept
    logits = [
        np.load(folder / f"forget_{c}" / "evaluations" / "original" / "0.npz")
        for c in (5, 4)
    ]
    for other in logits[1:]:
        np.testing.assert_array_equal(other["test_logits"], logits[0]["test_logits"])
    log = (folder / "forget_4" / "log.jsonl").read_text()
    assert '"retrain"' in log and '"original"' not in log


@pytest.mark.slow
def test_a_sweep_goes_on_with_more_methods(swept):
    """Although another one becomes the best."""
    _, _, _, tables = swept
    for rows in tables:
        assert {row["class"] for row in rows} == {4, 5} and len(rows) == 4
    first, second = ({row["model"] for row in rows} - {"retrain"} for rows in tables)
    assert first == {"gradient_ascent"} and second == {"finetune"}


@pytest.mark.slow
def test_the_data_is_loaded_and_hashed_once(swept):
    for asked in swept[2]:
        assert sorted(asked) == ["fingerprint", "load"]


@pytest.mark.slow
def test_the_worst_class_is_the_largest_value(swept):
    _, worst, _, (_, rows) = swept
    for row in worst:
        own = {r["class"]: r["avg_gap"] for r in rows if r["model"] == row["model"]}
        assert row["avg_gap"] == max(own.values()) == own[int(row["avg_gap_class"])]


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
