"""Audits of a run's models, and the HAM10000 experiment: its table and its losses."""

import importlib
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import plain_model, tiny_data
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from unlearn import audits, controls, make_problem, pipeline
from unlearn.metrics import divergence, idi
from unlearn.report import ham
from unlearn.report.figures import Context
from unlearn.report.tables import read_csv
from unlearn.training import Recipe, train


def line(text, start):
    """The cells of the table's line that starts so."""
    (found,) = [row for row in text.splitlines() if row.startswith(f"| {start} |")]
    return [cell.strip() for cell in found.split("|")[2:-1]]


def test_a_new_head_on_the_original_body_is_seen():
    """It answers as a retrained model does, and its layers know what they knew."""
    images, labels = tiny_data(150, balanced=True)
    problem = make_problem(
        images,
        labels,
        np.flatnonzero(labels == 1),
        plain_model(hidden=4),
        num_classes=3,
        forget_classes=[1],
        validation=tiny_data(15, seed=1),
    )
    recipe = Recipe(epochs=8, batch_size=16, learning_rate=0.1)
    fit = jax.jit(lambda key, indices: train(key, problem, indices, recipe)[0])
    original = fit(jax.random.key(0), np.arange(150))
    retrained, other = (fit(jax.random.key(s), problem.retain) for s in (1, 2))
    distilled = controls.head_distill(original, problem, retrained)
    models = distilled, original, retrained, other
    layers = audits.Layers(SimpleNamespace(problem=problem), 500)
    logits = [
        np.asarray(problem.model.apply(v, problem.inputs(layers.indices))[0])
        for v in models
    ]
    forgotten = [values[layers.forgotten] for values in logits]
    distance = [divergence.activation_distance(f, forgotten[2]) for f in forgotten]
    assert np.mean(forgotten[1].argmax(axis=1) == 1) > 0.9
    assert np.mean(forgotten[0].argmax(axis=1) == 1) < 0.1
    assert distance[0] < distance[1] / 3

    known = [layers.of(variables) for variables in models]
    assert [x.shape for x in known[0]] == [(100, 4)]  # neither image nor logits
    assert layers.information(*known[:3]) == pytest.approx(1, abs=1e-3)
    assert abs(layers.information(known[3], *known[1:3])) < 0.3
    outputs = [[values] for values in logits[:3]]
    index = idi.information_difference(*outputs, layers.forgotten).index
    assert index < 0.95  # what comes out alone tells less
    assert layers.probe(known[0]) == layers.probe(known[1]) > 0.9


def test_output_distances_are_each_of_the_right_pair():
    rng = np.random.default_rng(0)
    ours, retrained, untrained = 2 * rng.normal(size=(3, 40, 3))
    p, q, r = (softmax(x, axis=1) for x in (ours, retrained, untrained))
    same = np.mean(ours.argmax(axis=1) == retrained.argmax(axis=1))
    assert audits.output_distances(ours, retrained, untrained) == pytest.approx(
        {
            "js": np.mean(jensenshannon(p, q, axis=1) ** 2),
            "activation": np.mean(np.sqrt(np.sum((p - q) ** 2, axis=1))),
            "agreement": same,
            "completeness": 40 * same / (80 - 40 * same),
            "zrf": 1 - np.mean(jensenshannon(p, r, axis=1) ** 2),
        }
    )


def test_losses_leave_out_the_forgotten_class_of_the_test_set():
    context = Context(
        train_labels=np.array([0, 0, 1, 1]),
        test_labels=np.array([0, 0, 1]),
        forget=np.array([2, 3]),
        retain=np.array([0, 1]),
        class_names=("a", "b"),
        forget_classes=(1,),
        title="",
    )

    def logits(*losses):
        """Logits of label 0 and 1 in turn whose cross-entropies are these."""
        right = -np.asarray(losses, float)
        wrong = np.log(-np.expm1(right))
        return np.stack([right, wrong], -1)

    train, test = logits(9, 9, 2, 4), logits(1, 2, 9)
    train[2:], test[2:] = train[2:, ::-1], test[2:, ::-1]
    row = ham.losses_row({"train_logits": train, "test_logits": test}, context)
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
        for seed, index in ((0, 1.0), (1, math.inf))
    ]
    text = ham.markdown(rows)
    cells = line(text, "emmn")
    assert cells[2] == "1.500 ± 0.500" and cells[4] == "25.0"
    assert cells[7] == "∞" and cells[0] == cells[8] == "–"
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
    experiment = importlib.import_module("experiments.ham10000_zero_shot")
    config = experiment.get_config("smoke")
    config.run = ("finetune", "sisa")
    config.seeds = 2
    experiment.run(config, tmp_path)
    rows = read_csv(tmp_path / "ham.csv")
    models = ["original", "retrain", "finetune", "sisa", "untrained"]
    assert [row["model"] for row in rows] == [m for m in models for _ in range(2)]
    for row in rows:
        if row["model"] == "original":
            assert row["relearn_steps"] == row["anamnesis_index"] == 0
        if row["model"] == "sisa":
            assert row["forget_accuracy"] == 0
    assert len(read_csv(tmp_path / "sisa.csv")) == 3
    # Again: nothing is computed anew.
    before = (tmp_path / "ham.md").read_text()
    monkeypatch.setattr(audits, "_relearn", lambda *args: pytest.fail("relearnt again"))
    monkeypatch.setattr(pipeline, "train", lambda *args: pytest.fail("trained again"))
    experiment.run(config, tmp_path)
    assert (tmp_path / "ham.md").read_text() == before


def test_logits_of_controls():
    logits = np.random.default_rng(0).normal(0, 3, (20, 4)).astype(np.float32)
    labels = logits.argmax(-1)
    found = controls.control_logits("constant_margin", logits)
    assert (found.argmax(-1) == labels).all() and found.dtype == np.float32
    others = np.where(np.eye(4, dtype=bool)[labels], -np.inf, found)
    margins = found.max(-1) - np.logaddexp.reduce(others, axis=-1)
    np.testing.assert_allclose(margins, controls.MARGIN, rtol=1e-5)
    assert not controls.control_logits("collapsed", logits).any()
    assert controls.control_logits("no_op", logits) is logits
    with pytest.raises(ValueError, match="head_distill"):
        controls.control_logits("head_distill", logits)
