"""Runs on features and tokens; runs whose logits are too many to keep."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from small_audits import audit_config
from small_runs import Silent, results, run, small_config

from unlearn import audit, data, pipeline, store
from unlearn.data.dataset import make_dataset
from unlearn.data.splits import copies
from unlearn.errors import InputError
from unlearn.pipeline import checks
from unlearn.pipeline.setup import Source

TESTS = Path(__file__).parent.parent


def features():
    x, y = load_breast_cancer(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y.astype(np.int32)


def tokens(size=240, classes=3):
    rng, y = np.random.default_rng(0), np.arange(size, dtype=np.int32) % classes
    x = rng.integers(0, 50, (size, 12)).astype(np.int32)
    x[:, :4] = 10 * y[:, None]
    return x, y


def source_of(examples, labels):
    names = [f"class {c}" for c in range(labels.max() + 1)]
    made = make_dataset("made up", (examples, labels), class_names=names)
    same = copies(made.train_images, made.test_images)
    return Source(made, data.fingerprint(made), same)


NET = """
import flax.linen as nn


class Net(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, tokens):
        hidden = nn.relu(nn.Dense(16)(nn.Embed(50, 8)(tokens).mean(1)))
        return nn.Dense(self.classes)(hidden)


def make(num_classes):
    return Net(num_classes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("make", [features, tokens])
def test_a_run_on_what_is_no_image(make, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    net = f"{tmp_path / 'net.py'}:make" if make is tokens else "mlp"
    config = small_config(train__epochs=15, seeds=1, model__name=net)
    folder = tmp_path / "run"
    found = pipeline.run(config, folder, progress=Silent(), source=source_of(*make()))
    assert all(row["test_accuracy"] > 0.9 for row in found.rows)
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"per_class", "confusion", "loss_histograms"} <= names
    again = pipeline.run(config, folder, progress=Silent(), source=source_of(*make()))
    np.testing.assert_equal(again.rows, found.rows)


@pytest.mark.parametrize(
    "make, changes, message",
    [
        (features, {"data__flip": True}, r"data.flip is for images; .* float32\[30\]"),
        (tokens, {"data__jitter": 0.1}, r"data.jitter is for images; .* int32\[12\]"),
        (features, {"model__name": "cnn"}, "model cnn is for images"),
        (tokens, {"model__name": "resnet18"}, "set model.name=mlp"),
        (tokens, {"run": ("lipschitz",)}, "lipschitz needs inputs that are one array"),
        (features, {"run": ("ssd+conv_transpose",)}, r"conv_transpose needs images \["),
    ],
)
def test_what_is_for_images_is_refused_before_training(
    make, changes, message, tmp_path
):
    config = small_config(**changes)
    with pytest.raises(InputError, match=message) as error:
        pipeline.run(
            config, tmp_path / "run", progress=Silent(), source=source_of(*make())
        )
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_audit_of_one_example_that_is_no_image(tmp_path):
    """Attacks on others tell nothing of it: it is not concluded."""
    examples, labels = tokens()
    np.savez(tmp_path / "own.npz", inputs=examples, labels=labels)
    config = audit_config(canaries=0)  # they are the same inputs with other labels
    config.data.name, config.run = f"npz:{tmp_path / 'own.npz'}", ("finetune",)
    config.seeds, config.forget.count = 1, 1
    facts = audit.run(config, tmp_path / "run").facts
    titles = {table["id"]: table["title"] for table in facts["tables"]}
    assert {"per_example", "outputs", "layers"} <= titles.keys()
    assert "in place of those requested" in titles["per_example"]
    assert not facts["judged"]["enough"] and not facts["conclusive"]
    method = facts["models"][-1]
    assert method["forgetting"] == "not concluded"
    assert "one example was requested" in method["because"][0]
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000


# Many classes


@pytest.fixture
def few_logits(monkeypatch):
    """Logits are taken for too many to keep, and computed 40 examples at a time."""
    monkeypatch.setattr(checks, "MOST_LOGITS", 10)
    monkeypatch.setattr("unlearn.pipeline.evaluation.BLOCK", 120)


@pytest.mark.slow
def test_without_logits_the_numbers_are_the_same(tmp_path, few_logits, monkeypatch):
    names = "finetune", "sisa"
    run(tmp_path / "few", run=names, seeds=1)
    monkeypatch.undo()
    run(tmp_path / "all", run=names, seeds=1)
    few, every = results(tmp_path / "few"), results(tmp_path / "all")
    for one, other in zip(few, every, strict=True):
        for key in one:
            if "seconds" in key or key in ("model", "status", "seed"):
                continue
            expected = pytest.approx(float(other[key]), abs=2e-3, nan_ok=True)
            assert float(one[key]) == expected, key
        for key in ("forget_accuracy", "retain_accuracy", "test_accuracy"):
            assert one[key] == other[key]
    path = Path("evaluations", "finetune", "0.npz")
    kept = store.load_arrays(tmp_path / "few" / path)
    logits = store.load_arrays(tmp_path / "all" / path)
    assert kept.keys() == {
        f"{part}_{what}"
        for part in ("train", "test", "validation")
        for what in ("losses", "predictions")
    }
    for part in ("train", "test", "validation"):
        found = logits[f"{part}_logits"]
        np.testing.assert_array_equal(kept[f"{part}_predictions"], found.argmax(-1))
        assert kept[f"{part}_losses"].shape == (len(found),)
    figures = [
        {path.stem for path in (tmp_path / name / "figures").glob("*.png")}
        for name in ("few", "all")
    ]
    assert figures[0] == figures[1]


@pytest.mark.slow
def test_a_method_that_diverges_is_seen_without_logits(tmp_path, few_logits):
    changes = {"methods__finetune__learning_rate": 1e30, "seeds": 1}
    found = run(tmp_path / "run", run=("finetune",), **changes)
    assert found.diverged == ("finetune",)


def test_logits_that_do_not_fit_the_disk_are_refused_before_training(
    tmp_path, few_logits, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    config = audit_config()
    with pytest.raises(InputError, match="an audit keeps the logits") as error:
        audit.run(config, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_logits_that_are_kept_need_no_more_space(tmp_path, few_logits, monkeypatch):
    config = audit_config()
    names = tuple(config.run)
    made = pipeline.prepare(config, tmp_path / "run", names, progress=Silent())
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    check = functools.partial(
        checks.check_space, made.folder, made.problem, config, names, 40
    )
    with pytest.raises(InputError, match="an audit keeps the logits"):
        check()
    for name in ("original", "retrain", "head_distill", *names):
        for seed in range(config.seeds):
            path = made.evaluation_path(name, seed).with_suffix(".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    check()


@pytest.mark.slow
def test_an_audit_whose_logits_stay_in_their_files_is_the_same(
    tmp_path, few_logits, monkeypatch
):
    monkeypatch.setattr("unlearn.pipeline.setup.MAPPED", 1)
    monkeypatch.setattr("unlearn.audit.probes.MAPPED", 1)
    config = audit_config(canaries=0)
    config.run, config.seeds = ("finetune",), 2
    few = audit.run(config, tmp_path / "few").facts
    evaluations = tmp_path / "few" / "evaluations"
    kept = store.load_arrays(evaluations / "finetune" / "0.npz", mapped=1)
    assert {"train_logits", "test_logits", "validation_logits"} == kept.keys()
    assert all(isinstance(values, np.memmap) for values in kept.values())
    monkeypatch.undo()
    # Studies read no evaluations: they are made once, and those are compared.
    shutil.copytree(tmp_path / "few" / "studies", tmp_path / "all" / "studies")
    shutil.copy(tmp_path / "few" / "config.json", tmp_path / "all")
    every = audit.run(config, tmp_path / "all").facts
    for one, other in zip(few["tables"], every["tables"], strict=True):
        assert one["id"] == other["id"]
        assert_alike(one["rows"], other["rows"], one["id"])
    assert not list((tmp_path / "few").glob("tmp*"))


def assert_alike(one, other, where):
    """Cells of tables are equal but for what a block's size rounds otherwise."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if "seconds" not in key:
                assert_alike(one[key], other[key], f"{where} {key}")
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            assert_alike(a, b, where)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3, nan_ok=True), where
    else:
        assert one == other, where


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_ten_thousand_classes_take_less_than_two_gigabytes(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"  # memory as users have it
    command = [sys.executable, TESTS / "memory_run.py", tmp_path / "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) < 2 * 1024
    figures = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert "per_class" in figures and "confusion" not in figures
