"""Tables of attacks find a leak where it is, on simulated models."""

import numpy as np
import pytest
from simulated_study import cells_of, measurements

from unlearn.audit import games, per_example
from unlearn.audit.tables import BY_CHANCE
from unlearn.metrics import lira, rmia, roc
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.metrics.membership import threshold_attack


def test_attacks_find_the_leak_where_it_is(tables):
    cells = cells_of(tables[0])
    for key in ("u_lira", "lira_offline", "rmia", "bavaria", "ruli", "whole"):
        assert cells["original"][key]["low"] > cells["leaky"][key]["value"] - 0.1
        assert cells["leaky"][key]["low"] > 0.55
        for name in ("retrain", "clean"):
            one = cells[name][key]
            assert one["low"] - 0.02 < 0.5 < one["high"] + 0.02, (name, key)


def test_the_cells_are_those_of_what_was_judged(tables, judgement):
    cells = cells_of(tables[0])
    for name, leak in judgement.leaks.items():
        for attack, one in leak.audits.items():
            key = per_example.KEYS[attack]
            assert cells[name][key]["value"] == one.auc
            assert cells[name][key]["low"] == one.auc_interval[0]


def test_the_population_attack_is_on_the_same_examples(tables, judgement):
    """The forgotten against the never-seen targets of each model, not test examples."""
    game = judgement.played["leaky"]
    by_hand = [
        threshold_attack(-row[of == FORGET], -row[of == OUT]).auc
        for row, of in zip(game.margins, game.states, strict=True)
    ]
    found = cells_of(tables[0])["leaky"]["population"]["value"]
    assert found == pytest.approx(np.mean(by_hand))
    assert found < cells_of(tables[0])["leaky"]["lira_offline"]["value"] + 0.02


def test_forget_accuracy_is_of_models_and_examples(shadow):
    """Where all models err on the same examples, it is as uncertain as those."""
    study, measured = shadow.study, shadow.models["clean"]
    targets, states = study.sets["targets"], study.states
    labels = np.asarray(study.labels)
    wrong = np.tile(labels, (len(states), 1))
    wrong[:, :30] = (labels[:30] + 1) % 3
    found = per_example.forget_accuracy(study, measured._replace(predictions=wrong))
    hits = (wrong == labels)[:, targets][states == FORGET]
    assert found["value"] == pytest.approx(100 * hits.mean())
    assert found["high"] - found["low"] == pytest.approx(
        2 * 200 * (0.25 / 60) ** 0.5, rel=0.1
    )


def test_memorised_examples_are_found_by_the_other_half(judgement):
    """The groups of the one half do not change with the margins of that half."""
    original = judgement.played["original"]
    masks = per_example.memorised_thirds(original)
    half = np.arange(len(original.margins)) // 2 % 2 == 0
    changed = np.where(half[:, None], -original.margins, original.margins)
    other = per_example.memorised_thirds(original._replace(margins=changed))
    for key in masks:
        np.testing.assert_array_equal(masks[key][half], other[key][half])
    assert not np.array_equal(masks["memorised"][~half], other["memorised"][~half])


def test_the_null_row_is_what_retraining_shows(tables):
    (row,) = [row for row in tables[0]["rows"] if row["model"] == BY_CHANCE]
    own = cells_of(tables[0])["retrain"]
    assert row["kind"] == "floor"
    for key in ("u_lira", "lira_offline", "rmia"):
        null = row["cells"][key]
        backwards = key != "u_lira"  # which finds both directions at once
        assert (null["low"] >= 0.5) == backwards and null["high"] > 0.5
        assert null["low"] < null["value"] < null["high"] < null["low"] + 0.1
        assert abs(own[key]["value"] - 0.5) < 2 * (null["high"] - 0.5)


@pytest.mark.slow
def test_others_attacked_in_place_of_few_requested_ones_are_named_so(shadow, judgement):
    few = {"original", "retrain"}
    played, leaks = (
        {name: of[name] for name in few} for of in (judgement.played, judgement.leaks)
    )
    for refused, words in (
        ("", "the requested examples"),
        ("five", "other forgotten examples, in place of those requested"),
    ):
        found, _ = per_example.attack_tables(
            shadow.study, played, leaks, shadow.models, refused=refused
        )
        assert found["title"] == f"Attacks on {words}, one by one"
        assert found["note"].startswith(f"On {words}: each is")


def test_rates_rise_with_the_leak(tables):
    rates = cells_of(tables[1])
    found = [rates[n]["u_lira_1"]["value"] for n in ("clean", "leaky", "original")]
    assert found == sorted(found) and found[0] < 3 < found[2]


def test_kept_examples_are_attacked_with_the_test_set_as_population(shadow):
    table = per_example.kept_table(*shadow)
    cells = cells_of(table)["clean"]
    for key in ("lira", "lira_offline", "rmia", "bavaria"):
        assert cells[key]["value"] > 0.75
    states = shadow.study.states
    chosen = (states == RETAIN).any(axis=0)
    game = games.membership(shadow.study, shadow.models["clean"], chosen)
    assert not (game.states == FORGET).any()
    scores = rmia.rmia(
        game.margins, game.states, positive=RETAIN, population=game.population
    )
    by_hand = roc.evaluate(scores, game.states == RETAIN, game.states == OUT)
    assert cells["rmia"]["value"] == by_hand.auc
    assert cells["rmia_1"]["value"] == pytest.approx(100 * by_hand.tpr_at_1fpr)


def test_a_population_gives_rmia_its_true_positive_rates():
    """Without one z are the few examples that are OUT: too coarse for 1 %."""
    made = measurements("shadow", leaks={"original": 4.0})
    game = games.membership(made.study, made.models["original"])
    groups = game.states == FORGET, game.states == OUT
    few = rmia.rmia(game.margins, game.states, positive=FORGET)
    many = np.tile(game.population, (1, 4))
    many = many + np.random.default_rng(0).normal(0, 0.1, many.shape)
    more = rmia.rmia(game.margins, game.states, positive=FORGET, population=many)
    found = [roc.evaluate(scores, *groups) for scores in (few, more)]
    assert found[1].tpr_at_1fpr > found[0].tpr_at_1fpr
    lira_rate = roc.evaluate(lira.u_lira(game.margins, game.states), *groups)
    assert lira_rate.tpr_at_1fpr > 0.2


def test_the_tables_of_a_class_request(of_a_class):
    where, models = of_a_class.where
    found, rates = per_example.attack_tables(
        where, of_a_class.played, of_a_class.leaks, models
    )
    keys = [column["key"] for column in found["columns"]]
    assert keys == ["gaussian", "kernel", "whole"]
    assert BY_CHANCE not in cells_of(found)
    cells = cells_of(found)
    assert cells["leaky"]["gaussian"]["low"] > 0.5 > cells["retrain"]["gaussian"]["low"]
    assert {key for row in rates["rows"] for key in row["cells"]} == {
        "gaussian_1",
        "gaussian_01",
        "kernel_1",
        "kernel_01",
    }
