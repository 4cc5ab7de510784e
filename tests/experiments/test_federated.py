"""The federated experiment: its smoke preset, going on, and what it refuses."""

import numpy as np
import pytest

from experiments import _federated, _federated_tune, mnist_federated
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
        ({"methods.negation.rate": 0.0}, "methods.negation.rate must be above 0"),
        ({"methods.negation.rate": float("nan")}, "rate must be above 0; it is nan"),
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


def test_rounds_are_those_of_all_clients():
    config = mnist_federated.get_config("smoke")
    config.train.update(rounds=6, participants=2)
    config.methods.negation.rounds, config.clients = 3, (2, 5)
    few, many = _federated.settings_of(config, None)
    assert (few.longer, few.recipe.rounds, few.recipe.participants) == (1, 6, 0)
    assert (many.longer, many.recipe.rounds, many.recipe.participants) == (3, 18, 2)
    assert _federated.scaled(config, "negation", few)["rounds"] == 3
    assert _federated.scaled(config, "negation", many)["rounds"] == 9
    assert _federated.scaled(config, "retrain", many)["rounds"] == 0  # as in training


def test_tuning_is_on_another_client_and_other_images():
    config = mnist_federated.get_config("smoke")
    (shown,) = _federated.settings_of(config, None)
    (tuned,) = _federated.settings_of(config, None, of_tuning=True)
    assert shown.leaving != tuned.leaving
    images = [
        {x.tobytes() for x in np.asarray(part)}
        for part in (
            *(tuned.problem.examples, tuned.problem.validation.examples),
            *(tuned.test["examples"], shown.test["examples"]),
        )
    ]
    assert [len(part) for part in images] == [40, 20, 60, 60]
    assert len(set.union(*images)) == 180
    config.data.examples = 41
    with pytest.raises(InputError, match="60 training images aside .* 40 are left"):
        list(_federated.settings_of(config, None, of_tuning=True))


def test_what_is_left_of_the_originals_leak():
    draw = np.random.default_rng(0)
    never, again = draw.normal(0, 1, (2, 16, 30))
    original = draw.normal(2, 1, (16, 30))
    models = {
        "original": {"margins": original},
        "never": {"margins": never},
        "again": {"margins": again},
        "method": {"margins": np.stack([original, again, (original + again) / 2], 1)},
    }
    both = dict.fromkeys(_federated_tune.VARIANTS, models)
    all_of, none, some = (_federated_tune.leaks(both, "method", n) for n in range(3))
    assert all_of == [1.0, 1.0, 1.0] and none == [0.0, 0.0, 0.0]
    assert 0.3 < some[0] < 1 and some[0] == some[2]  # single images, in both variants
    blind = both | {"wrong labels": models | {"original": {"margins": again}}}
    assert _federated_tune.leaks(blind, "method", 0) == [1.0, 1.0]


@pytest.mark.slow
def test_tuning(tmp_path, monkeypatch):
    config = mnist_federated.get_config("smoke")
    config.run = "retrain", "retrain__short", "federaser", "pseudo_gradient"
    config.model.widths = (32,)
    config.train.update(rounds=16, learning_rate=0.3)
    config.tune.update(trials=3, seeds=8)
    chosen = mnist_federated.tune(config, tmp_path)
    rows = csv_files.read_csv(tmp_path / "tuning" / "tuning.csv")
    assert [(r["method"], r["trial"]) for r in rows] == [
        (name, trial)
        for name in ("retrain__short", "pseudo_gradient")
        for trial in range(3)
    ]
    mine = [row for row in rows if row["method"] == "pseudo_gradient"]
    own = config.methods.pseudo_gradient  # the first trial is what the file has
    assert (mine[0]["scale"], mine[0]["rate"]) == (own.scale, own.rate)
    (best,) = [row for row in mine if row["chosen"] is True or row["chosen"] == "true"]
    assert chosen["pseudo_gradient"] == {"scale": best["scale"], "rate": best["rate"]}
    assert 0 < best["test_accuracy"] <= 1 and best["leak"] >= 0
    before = (tmp_path / "tuning" / "tuning.csv").read_bytes()
    monkeypatch.setattr(_federated_tune.store, "save_kept", None)  # nothing is made
    assert mnist_federated.tune(config, tmp_path) == chosen
    assert (tmp_path / "tuning" / "tuning.csv").read_bytes() == before
    config.run = "retrain", "federaser"
    with pytest.raises(InputError, match="no method to tune"):
        mnist_federated.tune(config, tmp_path)
