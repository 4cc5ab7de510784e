"""The HAM10000 experiment: its table, its losses, its costs."""

import math

import numpy as np
import pytest
from small_runs import blank

from experiments import _ham_report as ham
from experiments import ham10000_zero_shot as experiment
from unlearn.audit import probes
from unlearn.data.splits import Sets
from unlearn.pipeline import stages
from unlearn.report import plotting
from unlearn.report.csv_files import read_csv


def line(text, start):
    """The cells of the table's line that starts so."""
    (found,) = [row for row in text.splitlines() if row.startswith(f"| {start} |")]
    return [cell.strip() for cell in found.split("|")[2:-1]]


def test_losses_leave_out_the_forgotten_class_of_the_test_set():
    sets = Sets(
        train_labels=np.array([0, 0, 1, 1]),
        test_labels=np.array([0, 0, 1]),
        forget=np.array([2, 3]),
        retain=np.array([0, 1]),
        class_names=("a", "b"),
        forget_classes=(1,),
        title="",
    )

    def logits(*losses):
        """Logits of label 0, then 1, and so on, whose cross-entropies are these."""
        right = -np.asarray(losses, float)
        wrong = np.log(-np.expm1(right))
        return np.stack([right, wrong], -1)

    train, test = logits(9, 9, 2, 4), logits(1, 2, 9)
    train[2:], test[2:] = train[2:, ::-1], test[2:, ::-1]
    row = ham.losses_row({"train_logits": train, "test_logits": test}, sets)
    expected = dict(
        test_loss=1.5, test_loss_std=0.5, forget_loss=3.0, forget_loss_std=1.0
    )
    assert row == pytest.approx(expected)


def test_losses_of_the_first_epoch_and_of_the_one_that_is_kept():
    lines = [
        {"stage": stage, "seed": seed, "epoch": e, "loss": 10 * seed + e}
        for stage in ("finetune", "retrain")
        for seed in (0, 1)
        for e in (1, 2, 3)
    ]
    losses = ham.trained_losses(lines, "finetune", 1)
    assert losses == {"initial_loss": 11, "final_loss": 13}
    losses = ham.trained_losses(lines, "finetune", 1, last=2)
    assert losses == {"initial_loss": 11, "final_loss": 12}
    losses = ham.trained_losses(lines, "sisa", 0)
    assert all(math.isnan(loss) for loss in losses.values())


def test_table():
    rows = [
        {"model": "emmn", "seed": seed, "test_loss": 1.0 + seed, "test_loss_std": 0.5}
        | {"anamnesis_index": index, "forget_accuracy": 0.25}
        | {"test_accuracy": 0.75, "balanced_accuracy": 0.5 + 0.1 * seed}
        for seed, index in ((0, 1.0), (1, math.inf))
    ]
    text = ham.markdown(rows)
    cells = line(text, "emmn")
    assert cells[2] == "1.500 ± 0.500" and cells[4:7] == ["25.0", "75.0", "55.0"]
    assert cells[8] == "∞" and cells[0] == cells[9] == "–"
    assert line(text, "published, retrained")[:4] == [
        "0.50",
        "0.935 → 0.706",
        "0.735 ± 0.230",
        "0.712 ± 0.150",
    ]
    assert line(text, "published, fine-tuned")[:4] == [
        "0.50",
        "0.779 → 0.693",
        "0.738 ± 0.275",
        "0.719 ± 0.180",
    ]
    widths = {row.count("|") for row in text.splitlines() if row.startswith("|")}
    assert len(widths) == 1


def test_names_do_not_end_a_cell():
    text = ham.markdown([{"model": "a|b\nc", "seed": 0}])
    assert r"| a\|b c | – | – |" in text


def test_costs_of_sisa():
    """One request costs e (N / S) (2/3 + 1/(3 R)), the equation in the paper."""
    settings = dict(shards=5, slices=4, epochs=10, vote="majority")
    rows = ham.sisa_costs(2000, (1, 2000), settings)
    share = rows[0]["retrained_examples"] / rows[0]["full_examples"]
    assert share == pytest.approx((2 / 3 + 1 / 12) / 5, rel=0.01)
    assert rows[1]["retrained_examples"] == rows[1]["full_examples"] == 0
    cells = line(ham.sisa_markdown(rows[:1]), "1")
    assert cells[1:] == ["19990", "15.0"]


@pytest.mark.slow
def test_experiment(tmp_path, monkeypatch):
    config = experiment.get_config("smoke")
    config.run = ("finetune", "sisa")
    config.seeds = 2
    monkeypatch.setitem(experiment.RELEARN, "steps", 15)
    monkeypatch.setattr(plotting, "save", blank)
    experiment.run(config, tmp_path)
    rows = read_csv(tmp_path / "ham.csv")
    models = ["original", "retrain", "finetune", "sisa", "untrained"]
    assert [row["model"] for row in rows] == [m for m in models for _ in range(2)]
    by_model = {m: [row for row in rows if row["model"] == m] for m in models}
    for known, anew in zip(by_model["original"], by_model["retrain"], strict=True):
        assert known["relearn_steps"] == 0
        # Retraining that needs no step either, as such small nets may: nothing to tell.
        assert known["anamnesis_index"] == (anew["relearn_steps"] == 0)
    assert all(row["forget_accuracy"] == 0 for row in by_model["sisa"])
    assert len(read_csv(tmp_path / "sisa.csv")) == 3
    # Again: nothing is computed anew.
    before = (tmp_path / "ham.md").read_text()
    monkeypatch.setattr(probes, "_relearn", lambda *args: pytest.fail("relearnt again"))
    monkeypatch.setattr(stages, "train", lambda *args: pytest.fail("trained again"))
    experiment.run(config, tmp_path)
    assert (tmp_path / "ham.md").read_text() == before
