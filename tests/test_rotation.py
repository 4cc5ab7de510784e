"""Every class forgotten in turn, and the worst of them."""

import numpy as np
import pytest
from test_pipeline import small_config

from unlearn import rotation
from unlearn.report import classes, tables


@pytest.fixture(scope="module")
def rotated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rotated")
    config = small_config(
        forget__kind="class",
        forget__classes=(1,),
        run=("finetune", "gradient_ascent"),
        seeds=1,
        rotate__classes=(0, 1),
        rotate__best=1,
    )
    return folder, config, rotation.run(config, folder)


def test_each_class_is_a_run_with_the_best_methods(rotated):
    folder, _, worst = rotated
    rows = tables.read_csv(folder / "classes.csv")
    assert {row["class"] for row in rows} == {0, 1}
    assert len(rows) == 4 and len(worst) == 2
    for number in (0, 1):
        models = {r["model"] for r in rows if r["class"] == number}
        assert len(models) == 2 and "retrain" in models
    assert (folder / "worst_class.md").read_text().count("\n| ") >= 4
    assert (folder / "figures" / "worst_class.png").stat().st_size > 10_000


def test_the_original_is_trained_once(rotated):
    folder, _, _ = rotated
    logits = [
        np.load(folder / f"forget_{c}" / "evaluations" / "original" / "0.npz")
        for c in (0, 1)
    ]
    for other in logits[1:]:
        np.testing.assert_array_equal(other["test_logits"], logits[0]["test_logits"])
    log = (folder / "forget_0" / "log.jsonl").read_text()
    assert '"retrain"' in log and '"original"' not in log


def test_the_worst_class_is_the_largest_value(rotated):
    folder, _, worst = rotated
    rows = tables.read_csv(folder / "classes.csv")
    for row in worst:
        own = {r["class"]: r["avg_gap"] for r in rows if r["model"] == row["model"]}
        assert row["avg_gap"] == max(own.values()) == own[row["avg_gap_class"]]


def test_the_worst_class_by_hand():
    def row(model, accuracy, gap):
        zeros = dict.fromkeys(("forget_accuracy", "test_forget_accuracy"), 0.0)
        row = dict(model=model, seeds=1, test_accuracy=accuracy, avg_gap=gap, seconds=1)
        return row | zeros

    summaries = {
        number: [row("retrain", 0.9, 0.0), row("ssd", accuracy, gap)]
        for number, accuracy, gap in ((0, 0.88, 0.3), (1, 0.15, 0.1), (2, 0.91, 0.2))
    }
    rows = rotation.class_rows(summaries, ("ssd",))
    (worst,) = rotation.worst_class(rows)
    assert worst["test_accuracy_lost_class"] == 1 and worst["avg_gap_class"] == 0
    assert worst["test_accuracy_lost"] == pytest.approx(0.75)
    assert worst["cost"] == 1


def summary_row(model, score, speedup, status="ok"):
    return {"model": model, "tug_of_war": score, "speedup": speedup, "status": status}


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
    assert rotation.best(summary, 2, 10) == ("ssd", "scrub")
    assert rotation.best(summary, 4, 10) == ("ssd", "scrub", "emmn", "finetune")
    assert rotation.best(summary, 2, 1) == ("finetune", "ssd")


def test_no_two_methods_look_alike():
    models = [f"method {i}" for i in range(11)]
    quantities = "test_forget_accuracy", "test_accuracy_lost", "cost"
    rows = [{"class": 0, "model": m} | dict.fromkeys(quantities, 0.1) for m in models]
    panel = classes.figure(rows).axes[0]
    looks = set()
    for dots in panel.collections:
        (path,) = dots.get_paths()
        looks.add((tuple(dots.get_facecolor()[0]), len(path.vertices)))
    assert len(looks) == len(models)
