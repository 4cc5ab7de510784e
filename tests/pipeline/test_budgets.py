"""Rows of methods that are as long as a share of retraining's compute allows."""

import math

import pytest
from small_runs import problem_of, small_config

from unlearn import methods
from unlearn.errors import InputError
from unlearn.pipeline import budgets, setup, tune
from unlearn.report import csv_files

EPOCHS = 20


def config_of(*run, **changes):
    config = small_config(train__epochs=EPOCHS, run=run, **changes)
    config.train.batch_size = config.methods.finetune.batch_size = 20
    return config


def rows_of(config):
    return budgets.with_rows(config, tuple(config.run), setup.load(config))


def test_passes_over_what_is_retained_are_a_share_of_the_epochs():
    """An epoch of fine-tuning is one of retraining."""
    config = config_of("finetune", tune__budgets=(0.05, 0.2, 0.49))
    changed, names, lengths, told = rows_of(config)
    assert names == ("finetune__5pc", "finetune__20pc", "finetune__49pc")
    assert [changed.methods[name].epochs for name in names] == [1, 4, 9]
    assert lengths == {name: {"epochs": changed.methods[name].epochs} for name in names}
    assert not told and "finetune__5pc" not in config.methods


def test_passes_over_the_forget_set_are_as_many_as_cost_as_much():
    """By hand: a step costs as its batch has examples, filled up to a whole batch."""
    config = config_of("gradient_ascent", tune__budgets=(0.2,))
    config.methods.gradient_ascent.batch_size = 4
    problem = problem_of(config)
    retain, forget = (math.ceil(len(s) / b) * b for s, b in sets_and_batches(problem))
    (name,) = rows_of(config)[1]
    epochs = rows_of(config)[0].methods[name].epochs
    assert epochs == int(0.2 * EPOCHS * retain / forget)


def sets_and_batches(problem):
    return (problem.retain, 20), (problem.forget, 4)


def test_what_has_no_length_keeps_its_row_and_what_costs_too_much_has_none():
    config = config_of("ssd", "scrub", "finetune", tune__budgets=(0.04, 0.2))
    _, names, _, told = rows_of(config)
    assert names == ("ssd", "scrub__20pc", "finetune__20pc")
    assert told == [
        "ssd has no length to change: one row is for every budget",
        "scrub costs more than 4 % at the least",
        "finetune costs more than 4 % at the least",
    ]


def test_rewinding_is_counted_without_early_weights():
    config = config_of("rewind", tune__budgets=(0.25,))
    with config.unlocked():
        config.methods.rewind__3 = dict(config.methods.rewind, epoch=3, batch_size=20)
    changed, names, _, _ = budgets.with_rows(config, ("rewind__3",), setup.load(config))
    assert names == ("rewind__3at25pc",)
    assert changed.methods[names[0]].epochs == 5
    assert changed.methods[names[0]].epoch == 3
    assert methods.METHODS[names[0]].fn is methods.METHODS["rewind"].fn


def test_a_share_that_is_no_whole_number_has_a_name():
    assert budgets.row_name("finetune", 0.025) == "finetune__2p5pc"
    assert budgets.row_name("finetune__mine", 0.025) in methods.METHODS


def test_other_epochs_keep_their_share():
    constants = dict(epochs=10, forget_epochs=4, last_epochs=0, epoch=2)
    assert budgets.lasting(constants, 5) == dict(
        epochs=5, forget_epochs=2, last_epochs=0, epoch=2
    )
    assert budgets.lasting(constants, 1)["forget_epochs"] == 1


@pytest.mark.parametrize(("epochs", "left"), [(1, 0), (2, 1), (5, 2), (10, 4)])
def test_a_part_of_the_length_leaves_an_epoch_for_the_rest(epochs, left):
    constants = dict(epochs=10, no_l1_epochs=4)
    assert budgets.lasting(constants, epochs)["no_l1_epochs"] == left


@pytest.mark.parametrize(("epochs", "warm"), [(1, 0), (3, 1), (6, 3), (50, 3)])
def test_a_schedule_comes_down_again(epochs, warm):
    constants = dict(epochs=10, warmup_epochs=3, planned_epochs=4)
    found = budgets.lasting(constants, epochs)
    assert found == dict(epochs=epochs, warmup_epochs=warm, planned_epochs=4)


def test_a_warm_up_with_a_rate_of_its_own_is_a_part_of_the_method():
    constants = dict(epochs=10, warmup_epochs=3, warmup_learning_rate=0.1)
    assert budgets.lasting(constants, 20)["warmup_epochs"] == 6


@pytest.mark.parametrize("own", [1, 7, 40])
@pytest.mark.parametrize("most", [0.5, 3.0, 10.0, 97.3])
@pytest.mark.parametrize(
    "cost",
    [
        lambda n: n,
        lambda n: 2.5 * n + 1,
        lambda n: n + n // 3,
        lambda n: 3 * n + max(1, round(0.4 * n)),
    ],
)
def test_the_longest_is_that_of_trying_every_number(cost, most, own):
    tried = [n for n in range(1, 200) if cost(n) <= most]
    assert budgets.longest(cost, most, own) == max(tried, default=0)


def test_a_length_that_a_method_refuses_is_none():
    def cost(epochs):
        if epochs < 4:
            raise InputError("too few")
        return 2 * epochs

    assert budgets.longest(cost, 7.9, 9) == 0
    assert budgets.longest(cost, 8.0, 9) == 4
    assert budgets.longest(cost, 21.0, 9) == 10


def test_where_more_epochs_cost_nothing_that_is_counted_they_stay():
    assert budgets.longest(lambda epochs: 3, 3.0, 9) == 9
    assert budgets.longest(lambda epochs: 3, 2.0, 9) == 0
    assert budgets.longest(lambda epochs: min(epochs, 10), 50.0, 3) >= 10


@pytest.mark.parametrize(
    ("shares", "line"),
    [
        ((0.0,), "above 0 and at most 1.* there is 0"),
        ((0.05, 20.0), "at most 1, such as 0.05,0.2; there is 20"),
        ((0.05, 0.05), "0.05 twice"),
        ((0.05, 0.0500000001), "twice"),
        ((math.nan,), "there is nan"),
        (("5%",), "there is 5%"),
    ],
)
def test_what_is_no_budget_is_refused(tmp_path, shares, line):
    with pytest.raises(InputError, match=line):
        tune.run(config_of("finetune", tune__budgets=shares), tmp_path)
    assert not list(tmp_path.iterdir())


def test_where_nothing_is_as_cheap_nothing_is_trained(tmp_path):
    config = config_of("scrub", tune__budgets=(0.01,), data__validation=0.2)
    with pytest.raises(InputError, match="scrub costs more than 1 % at the least; ra"):
        tune.run(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_budget_that_allows_no_more_than_another_has_no_row():
    changed, names, _, told = rows_of(config_of("finetune", tune__budgets=(0.1, 0.12)))
    assert names == ("finetune__10pc",)
    assert told == ["finetune is no longer for 12 %: one row is for both"]


def test_a_row_that_is_there_is_not_written_over():
    config = config_of("finetune", tune__budgets=(0.1,))
    with config.unlocked():
        config.methods.finetune__10pc = dict(config.methods.finetune)
    with pytest.raises(InputError, match="makes the row finetune__10pc"):
        rows_of(config)


def test_folders_of_tuning_from_before_budgets_go_on():
    assert "budgets" not in budgets.saved_section(config_of("ssd"))
    some = budgets.saved_section(config_of("ssd", tune__budgets=(0.1,)))
    assert some["budgets"] == (0.1,)


@pytest.mark.slow
def test_each_row_is_tuned_and_said_with_its_length(tmp_path, capsys):
    config = config_of(
        "finetune",
        "ssd",
        tune__budgets=(0.1, 0.2),
        tune__trials=2,
        data__validation=0.2,
    )
    best = tune.run(config, tmp_path)
    assert best["finetune__10pc"]["epochs"] == 2
    assert best["finetune__20pc"]["epochs"] == 4
    assert set(best["ssd"]) == set(methods.METHODS["ssd"].search)
    rows = csv_files.read_csv(tmp_path / "tuning" / "tuning.csv")
    assert [row["method"] for row in rows[::2]] == list(best)
    said = capsys.readouterr().out
    assert '"finetune__20pc": dict(epochs=4, learning_rate=' in said
    assert "ssd has no length" in said
    assert tune.run(config, tmp_path) == best
