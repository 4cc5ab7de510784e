"""The report of a class swap: by hand."""

import math

import numpy as np
import pytest

from experiments import _swap_report as swap


def test_swap_row_counts_who_is_taken_for_whom():
    labels = np.repeat([0, 1, 2, 3], 4)
    before = np.eye(4)[labels]
    called = np.array([0, 0, 0, 2, 3, 3, 3, 1, 2, 2, 2, 2, 3, 3, 3, 0])
    row = swap.swap_row(np.eye(4)[called], before, labels, forget=1, target=3)
    assert row == {
        "forget_as_itself": 0.25,
        "forget_as_target": 0.75,
        "target_accuracy": 0.75,
        "others_accuracy": 7 / 8,
        "others_lost": 1 / 8,
        "most_lost": 0.25,
    }
    rows = [row | {"model": "m", "seed": 0}]
    rows.append(rows[0] | {"seed": 1, "forget_as_itself": 0.75, "target_accuracy": 1.0})
    assert "| m | 50.00 (75.00) | 75.00 (75.00) | 87.50 (75.00)" in swap.markdown(
        rows, "one", "three"
    )


@pytest.mark.filterwarnings("error")
def test_swap_row_of_two_classes_has_no_others():
    labels = np.array([0, 0, 1, 1])
    logits = np.eye(2)[[1, 1, 1, 1]]
    row = swap.swap_row(logits, np.eye(2)[labels], labels, forget=0, target=1)
    assert (row["forget_as_target"], row["target_accuracy"]) == (1, 1)
    for name in ("others_accuracy", "others_lost", "most_lost"):
        assert math.isnan(row[name])
    text = swap.markdown([row | {"model": "m", "seed": 0}], "a", "b")
    assert "| m | 0.00 (0.00) | 100.00 (100.00) | 100.00 (100.00) | – | – |" in text


def test_swap_names_do_not_end_a_cell():
    labels = np.arange(4)
    row = swap.swap_row(np.eye(4), np.eye(4), labels, forget=1, target=3)
    text = swap.markdown([row | {"model": "m|n", "seed": 0}], "a|b", "c\nd")
    head, _, line = [one for one in text.splitlines() if one.startswith("|")]
    assert head.startswith(r"| Model | a\|b taken for a\|b | a\|b taken for c d | c d")
    assert line.startswith(r"| m\|n | 100.00")


def test_swap_touched_weights_are_those_whose_bits_differ():
    before = {"a": {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}}
    after = {"a": {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}}
    after["a"]["kernel"][1, 2] = math.nextafter(1, 2)
    after["a"]["bias"][0] = 1
    layers = swap.touched(before, after, [("a",)])
    assert (layers["a"]["weights"], layers["a"]["touched"]) == (9, 2)
    page = swap.figure(layers)
    image = page.axes[1].images[0].get_array()
    assert image.shape == (2, 3) and image.mask.sum() == 5
