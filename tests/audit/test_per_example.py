"""Attacks find a leak where it is, on simulated models."""

import numpy as np
import pytest
from simulated_study import TARGETS, cells_of, simulated

from unlearn.audit import per_example
from unlearn.audit.tables import BY_CHANCE
from unlearn.errors import InputError
from unlearn.metrics import lira
from unlearn.metrics.lira import FORGET, OUT


def test_attacks_find_the_leak_where_it_is(audited):
    cells = cells_of(audited[2])
    assert cells["original"]["u_lira_canary"]["value"] > 0.98
    assert 0.85 < cells["leaky"]["u_lira_canary"]["value"] < 0.98
    for name in ("retrain", "clean", "collapsed"):
        for key in ("u_lira", "u_lira_canary", "bavaria", "rmia", "ruli"):
            one = cells[name][key]
            assert one["low"] < 0.5 < one["high"], (name, key)
    for name in ("original", "leaky", "clean"):
        for key in ("u_lira_not_memorised", "u_lira_memorised"):
            assert cells[name][key]["low"] < 0.5 < cells[name][key]["high"]
        for key in ("lira", "lira_offline", "rmia", "bavaria"):
            assert cells_of(audited[5])[name][key]["value"] > 0.9
    assert cells["clean"]["efficacy"]["low"] < 0.5 < cells["clean"]["efficacy"]["high"]
    assert cells["leaky"]["efficacy"]["low"] > 0.5


def test_the_population_attack_leaves_mislabelled_ones_out(audited):
    cells = cells_of(audited[2])
    assert abs(cells["original"]["population"]["value"] - 0.5) < 0.05


def test_memorised_examples_are_found_by_the_other_half():
    """The groups of even models do not change with the margins of even models."""
    study, model = simulated()
    before = model(0.0).margins[:, :TARGETS].astype(float)
    masks = per_example.memorized(before, study.states, study.canary)
    changed = before.copy()
    changed[::2] = -changed[::2]
    other = per_example.memorized(changed, study.states, study.canary)
    for key in masks:
        np.testing.assert_array_equal(masks[key][::2], other[key][::2])
        assert not masks[key][:, study.canary].any()
    assert not np.array_equal(
        masks["u_lira_memorised"][1::2], other["u_lira_memorised"][1::2]
    )


def test_the_roc_curves_have_the_auc_of_the_table(audited):
    _, _, table, curves, *_ = audited
    for name, cells in cells_of(table).items():
        if name == BY_CHANCE:
            continue
        fpr, tpr = curves[name]["mislabelled"]
        area = np.trapezoid(tpr, fpr)
        assert area == pytest.approx(cells["u_lira_canary"]["value"], abs=1e-6)


def test_states_that_the_attacks_use(audited):
    study = audited[0]
    assert (study.states == OUT).sum() == (study.states == FORGET).sum()
    with pytest.raises(InputError):
        lira.u_lira(np.zeros((2, 2)), np.ones((2, 2), int))


def test_the_null_row_is_what_retraining_shows(audited):
    cells = cells_of(audited[2])
    (row,) = [row for row in audited[2]["rows"] if row["model"] == BY_CHANCE]
    assert row["kind"] == "floor"
    for key in ("u_lira", "u_lira_canary", "u_lira_requested"):
        null, own = row["cells"][key], cells["retrain"][key]
        assert null["low"] < 0.5 < null["high"] and null["high"] - null["low"] < 0.2
        assert null["low"] < own["value"] < null["high"]
        wide = 2 * (null["high"] - null["low"])
        assert cells["original"]["u_lira_canary"]["value"] > 0.5 + wide


def test_rates_rise_with_the_leak(audited):
    rates = cells_of(audited[4])
    found = [rates[name]["u_lira_canary_1"]["value"] for name in ("clean", "leaky")]
    assert found[0] < 10 < found[1]
