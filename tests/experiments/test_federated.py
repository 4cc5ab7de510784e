"""The federated experiment: its smoke preset, going on, and what it refuses."""

import numpy as np
import pytest

from experiments import _federated, mnist_federated
from unlearn import data
from unlearn.errors import InputError
from unlearn.report import csv_files


@pytest.mark.slow
def test_experiment(tmp_path, monkeypatch):
    config = mnist_federated.get_config("smoke")
    (found,) = mnist_federated.run(config, tmp_path)
    rows = csv_files.read_csv(tmp_path / "results.csv")
    assert [row["model"] for row in rows] == ["original", "retrain", "federaser"]
    original, retrain, federaser = rows
    assert retrain["passes"] == 1 and not original["passes"]
    # Rounds 1 and 3 of 4 were kept, and the second is calibrated.
    assert (retrain["rounds"], federaser["rounds"]) == (4, 1)
    assert retrain["others"] != 0  # other federations: the floor of this column
    assert federaser["kept"] > 0 == retrain["kept"]
    sent = {row["model"]: row["sent"] for row in rows}
    assert sent["retrain"] == 4 * sent["federaser"]
    assert found.by_round["original"].shape == (4, 4)
    page = (tmp_path / "federated.html").read_text()
    assert page.count("data:image/png;base64") == 3
    text = (tmp_path / "summary.md").read_text()
    assert "| **retrain** |" in text and "*Backdoor*: stamped" in text
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.csv")}
    monkeypatch.setattr(_federated.store, "save_kept", None)  # nothing is made anew
    mnist_federated.run(config, tmp_path)
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*.csv")}
    config.train.learning_rate = 0.2
    with pytest.raises(InputError, match="learning_rate: 0.1 there, 0.2 now"):
        mnist_federated.run(config, tmp_path)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"run": ("retrain", "fedavg")}, "there is no federated method 'fedavg'"),
        ({"run": ("retrain", "negation__2")}, "methods.negation__2 has no constants"),
        ({"run": ("federaser",)}, "compared with retrain: add it"),
        ({"clients": (1,)}, "clients must be 2 or more each"),
        ({"clients": ()}, "clients must be 2 or more each"),
        ({"alphas": (0.0,)}, "alphas must be above 0"),
        ({"seeds": 2}, "seeds must be at least 3; it is 2"),
        ({"planted_seeds": 1}, "planted_seeds must be at least 2; it is 1"),
        ({"train.rounds": 0}, "rounds must be at least 1; it is 0"),
        ({"train.participants": -1}, "participants must be at least 0; it is -1"),
        (
            {"methods.federaser.epochs": 0},
            "methods.federaser.epochs must be at least 1",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(
    tmp_path, monkeypatch, changes, words
):
    monkeypatch.setattr(data, "load", None)
    config = mnist_federated.get_config("cpu")
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        mnist_federated.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"data.server": -5}, "data.server must be from 1 to 119; it is -5"),
        ({"data.examples": 101}, "data.examples must be from 0 to 100; it is 101"),
        ({"data.test": 61}, "data.test must be from 0 to 60; it is 61"),
    ],
)
def test_more_examples_than_there_are_are_refused(tmp_path, changes, words):
    config = mnist_federated.get_config("smoke")
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        mnist_federated.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_that_diverged_is_counted():
    margins = np.zeros((4, 3))
    margins[1, 2], margins[3] = np.nan, np.inf
    assert _federated.diverged({"margins": margins}) == 2
    assert _federated.diverged({"margins": np.zeros((4, 3))}) == 0


def test_every_method_is_run_with_constants_of_its_own():
    config = mnist_federated.get_config("cpu")
    assert {_federated.base(name) for name in config.run} == set(_federated.FEDERATED)
    assert config.methods["retrain__short"].rounds < config.train.rounds
    assert np.all([config.methods[name] is not None for name in config.run])
