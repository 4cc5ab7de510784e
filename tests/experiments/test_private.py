"""The private experiment: canaries, its table, and what it refuses."""

import importlib.util

import numpy as np
import pytest

from experiments import _private, mnist_private
from unlearn import data
from unlearn.errors import InputError
from unlearn.metrics import one_run
from unlearn.report import csv_files

NEEDED = pytest.mark.skipif(
    importlib.util.find_spec("jax_privacy") is None,
    reason="jax-privacy is not installed: pip install 'unlearn-jax[privacy]'",
)


def test_coins_say_which_canaries_are_trained_on():
    config = mnist_private.get_config("smoke")
    config.data.examples = 150
    setting = _private.setting_of(config, None)
    truth = data.load(config.data.name).train_labels
    wrong = np.asarray(setting.problem.labels) != truth
    np.testing.assert_array_equal(np.flatnonzero(wrong), np.sort(setting.canaries))
    inside = np.isin(setting.canaries, setting.indices)
    np.testing.assert_array_equal(inside, setting.included)
    assert 0 < inside.sum() < 20
    assert len(setting.indices) == 130 + inside.sum()


def test_a_row_says_what_is_shown_and_what_is_refuted():
    config = mnist_private.get_config("smoke")
    setting = _private.setting_of(config, None)
    sure = np.where(setting.included, 5.0, -5.0) + np.zeros((2, 20))
    found = {"test": np.array([0.5, 0.7]), "margins": sure}
    kind = _private.Kind("epsilon 0.05", 0.05, 2.0)
    row = _private.row_of(config, kind, found, setting)
    options = dict(delta=1e-3, confidence=0.975)
    expected = one_run.one_run_epsilon(sure[0], setting.included, **options).epsilon
    assert row["measured"] == expected > 0.05 and row["refuted"]
    assert (row["auc"], row["test"]) == pytest.approx((1, 0.6))
    assert row["request_epsilon"] == 0.5
    held = _private.row_of(config, kind._replace(claimed=9.0), found, setting)
    assert not held["refuted"]
    text = _private.markdown(config, [row | {"seconds": 1.0}])
    assert "| epsilon 0.05 † |" in text


def test_a_model_that_diverged_is_said_to_have():
    config = mnist_private.get_config("smoke")
    setting = _private.setting_of(config, None)
    found = {"test": np.array([0.5, 0.3]), "margins": np.full((2, 20), np.nan)}
    row = _private.row_of(config, _private.Kind("epsilon 3", 3.0, 1.0), found, setting)
    assert row["diverged"] and not row["refuted"]
    text = _private.markdown(config, [row | {"seconds": 1.0}])
    assert "| epsilon 3 (diverged) |" in text


def test_a_control_that_cannot_be_found_out_is_said_to_be(tmp_path):
    """By the most that a row can show: at its own confidence."""
    config = mnist_private.get_config("smoke")
    setting = _private.setting_of(config, None)
    coins = np.arange(20) % 2 == 0
    sure = np.where(coins, 5.0, -5.0) + np.zeros((2, 20))
    found = {"test": np.array([0.5, 0.7]), "margins": sure}
    kind = _private.Kind("a tenth of the noise", 3.0, 0.1)
    row = _private.row_of(config, kind, found, setting._replace(included=coins))
    most = row["measured"]
    assert not row["refuted"] and f"{most:.1f}" == "1.0"
    loose = one_run.largest(20, delta=config.delta)
    for claimed, said in ((3.0, True), ((most + loose) / 2, True), (0.9, False)):
        config.broken = claimed
        _private.write(tmp_path, config, [row | {"seconds": 1.0}])
        text = (tmp_path / "summary.md").read_text()
        assert "never errs would show 1.0." in text
        assert ("so few canaries it cannot be found out" in text) == said
        assert (f"The control claims {claimed:g}:" in text) == said


@NEEDED
@pytest.mark.slow
def test_experiment(tmp_path, monkeypatch):
    config = mnist_private.get_config("smoke")
    rows = mnist_private.run(config, tmp_path)
    names = [row["model"] for row in rows]
    assert names == ["clipped, no noise", "a tenth of the noise", "epsilon 3"]
    assert rows[1]["noise"] == pytest.approx(rows[2]["noise"] / 10)
    assert "Private training on synthetic" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "figures" / "privacy.png").stat().st_size > 5000
    before = csv_files.read_csv(tmp_path / "results.csv")
    monkeypatch.setattr(_private.store, "save_kept", None)  # nothing is made anew
    mnist_private.run(config, tmp_path)
    assert csv_files.read_csv(tmp_path / "results.csv") == before


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"epsilons": ()}, "at least one epsilon"),
        ({"seeds": 1}, "seeds must be at least 2; it is 1"),
        ({"canaries": 9}, "canaries must be at least 10; it is 9"),
        ({"canaries": 101}, "canaries at most half of it"),
        ({"data.examples": 201}, "there are 200 training examples"),
        ({"request": 0}, "request must be at least 1"),
        ({"data.test": -5}, "data.test must be from 0 to 60; it is -5"),
        ({"data.test": 61}, "data.test must be from 0 to 60; it is 61"),
        ({"train.learning_rate": -1.0}, "learning_rate must be above 0"),
    ],
)
def test_bad_settings_are_refused(tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr(_private.dp_sgd, "require", lambda: None)
    config = mnist_private.get_config("smoke")
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        mnist_private.run(config, tmp_path)
    assert not list(tmp_path.iterdir())
