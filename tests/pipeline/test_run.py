"""Runs from data to report on made-up data."""

import json

import numpy as np
import pytest
from small_runs import problem_of, results, run, small_config

from unlearn import pipeline, store
from unlearn.pipeline import stages

FIXED = "model seed forget_accuracy retain_accuracy test_accuracy mia_confidence "
FIXED += "mia_regression mia_auc mia_tpr_at_1fpr seconds compile_seconds"


def test_the_run_folder(finished):
    folder, result = finished
    rows, summary = results(folder), result.summary
    assert list(rows[0])[: len(FIXED.split())] == FIXED.split()
    assert {(r["model"], r["seed"]) for r in rows} == {
        (m, s) for m in ("original", "retrain", "finetune", "ssd") for s in ("0", "1")
    }
    assert [r["model"] for r in summary[:2]] == ["original", "retrain"]
    for name in ("config.json", "manifest.json", "summary.csv", "summary.md"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "figures").glob("*.png"))) >= 5
    log = [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]
    trained = [x for x in log if x["stage"] == "retrain"]
    places = [(x["seed"], x["epoch"]) for x in trained]
    assert places == [(0, 1), (0, 2), (1, 1), (1, 2)]
    fields = {"stage", "seed", "epoch", "loss", "accuracy", "seconds"}
    assert fields <= trained[0].keys()
    assert not list(folder.rglob("*.partial")) and not list(folder.rglob("epoch_*"))


def test_a_finished_run_goes_on_with_one_more_method(tmp_path, finished):
    """What was there is read, and all is as if it had been begun with both."""
    run(tmp_path / "run", seeds=1, run=("ssd",))
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*/ssd/0/final")}
    run(tmp_path / "run", seeds=1, run=("finetune", "ssd"))
    assert made == {path: path.stat().st_mtime_ns for path in made} and made
    accuracies = [
        {
            row["model"]: (row["forget_accuracy"], row["test_accuracy"])
            for row in results(folder)
            if row["seed"] == "0"
        }
        for folder in (tmp_path / "run", finished[0])
    ]
    assert accuracies[0] == accuracies[1] and "finetune" in accuracies[0]


def test_the_split_is_a_partition_and_its_hash_is_in_the_manifest(finished):
    folder, _ = finished
    parts = store.load_arrays(folder / "split.npz")
    union = np.concatenate([parts[k] for k in ("forget", "retain", "validation")])
    assert sorted(union) == list(range(200))
    manifest = json.loads((folder / "manifest.json").read_text())
    expected = store.array_hash(parts["forget"].astype(np.int64))
    assert manifest["forget"]["sha256"] == expected
    assert len(manifest["data"]["sha256"]) == 64


def test_measured_on_the_checkpoints_that_were_saved(finished):
    """Accuracy of the stored weights, computed anew, is what the table says."""
    folder, _ = finished
    config = small_config()
    problem = problem_of(config)
    like = pipeline.template(problem)
    for row in results(folder):
        path = folder / "checkpoints" / row["model"] / row["seed"] / "final"
        variables, _ = store.load_checkpoint(path, like)
        logits, _ = problem.model.apply(variables, problem.inputs(problem.forget))
        hits = np.argmax(logits, -1) == np.asarray(problem.labels[problem.forget])
        assert float(row["forget_accuracy"]) == pytest.approx(hits.mean())


@pytest.mark.slow
def test_a_diverged_method_is_reported_and_the_others_go_on(tmp_path):
    result = run(
        tmp_path / "x",
        seeds=1,
        methods__finetune__learning_rate=1e30,
        methods__finetune__epochs=6,
    )
    assert result.diverged == ("finetune",)
    assert "\n" not in pipeline.diverged_message(result.diverged)
    rows = {r["model"]: r for r in results(tmp_path / "x")}
    assert rows["finetune"]["status"] == "diverged"
    assert rows["ssd"]["status"] == "ok" and float(rows["ssd"]["test_accuracy"]) > 0
    assert (tmp_path / "x" / "summary.md").exists()


def test_what_to_lower_has_the_names_of_the_methods():
    line = pipeline.diverged_message(["finetune", "influence+scrub__long"])
    for name in ("finetune", "scrub__long"):
        assert f"methods.{name}.learning_rate" in line
    assert "constants in methods.influence," in line and "<" not in line


def test_a_diverged_training_stops_with_a_line(tmp_path):
    with pytest.raises(pipeline.Diverged, match="learning_rate"):
        run(tmp_path / "x", train__learning_rate=1e30)


@pytest.mark.slow
def test_what_was_finished_before_a_diverged_training_is_reported(
    tmp_path, monkeypatch
):
    train = stages.train

    def fail(run, name, seed):
        if (name, seed) == ("retrain", 1):
            raise pipeline.Diverged("retrain (seed 1) diverged")
        return train(run, name, seed)

    monkeypatch.setattr(stages, "train", fail)
    with pytest.raises(pipeline.Diverged, match="seed 1"):
        run(tmp_path / "x", run=("ssd",))
    summary = (tmp_path / "x" / "summary.md").read_text()
    assert "ssd" in summary and len(results(tmp_path / "x")) == 3


@pytest.mark.slow
def test_class_forgetting_and_one_seed(tmp_path):
    run(
        tmp_path / "x",
        seeds=1,
        forget__kind="class",
        forget__classes=(1,),
        train__epochs=8,
    )
    row = {r["model"]: r for r in results(tmp_path / "x")}["retrain"]
    assert float(row["forget_accuracy"]) == float(row["test_forget_accuracy"]) == 0
    assert float(row["test_accuracy"]) > 0.5


@pytest.mark.slow
def test_methods_are_run_once_and_retrain_is_always_there(tmp_path):
    run(tmp_path / "x", seeds=1, run=("ssd", "retrain", "ssd"))
    models = [r["model"] for r in results(tmp_path / "x")]
    assert models == ["original", "retrain", "ssd"]
