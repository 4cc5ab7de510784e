"""Reports of the two class experiments: by hand and by scipy."""

import math

import numpy as np
import pytest
import scipy.stats

from unlearn.report import paired, swap


def rows_of(ours, theirs):
    return [
        {"model": model, "seed": seed, "retain_accuracy": value, "status": "ok"}
        for model, values in (("ours", ours), ("theirs", theirs))
        for seed, value in enumerate(values)
    ]


def test_paired_difference_and_interval():
    ours, theirs = [0.80, 0.83, 0.79, 0.9], [0.70, 0.78, 0.71]
    (row,) = paired.compare(
        rows_of(ours, theirs), "ours", "theirs", [("retain_accuracy", 0.05)]
    )
    gains = np.subtract(ours[:3], theirs)
    low, high = scipy.stats.t.interval(
        0.95, 2, gains.mean(), scipy.stats.sem(gains, ddof=1)
    )
    np.testing.assert_allclose(row["difference"], gains.mean())
    np.testing.assert_allclose(row["interval"], (high - low) / 2)
    assert row["seeds"] == 3 and row["verdict"] == "inconclusive"
    text = paired.markdown([row], "ours", "theirs")
    assert f"+7.67 ± {50 * (high - low):.2f} | +5 | inconclusive" in text


@pytest.mark.parametrize(
    ("gains", "claim", "verdict"),
    [
        ([0.10, 0.11], 0.05, "inconclusive"),
        ([0.10, 0.1001], 0.05, "holds"),
        ([0.04, 0.0401], 0.05, "does not hold"),
        ([-0.04, -0.0401], -0.03, "holds"),
        ([-0.02, -0.0201], -0.03, "does not hold"),
        ([0.04, 0.0401], -0.03, "does not hold"),
        ([0.10], 0.05, "one seed"),
    ],
)
def test_paired_verdict(gains, claim, verdict):
    rows = rows_of(0.5 + np.array(gains), [0.5] * len(gains))
    (row,) = paired.compare(rows, "ours", "theirs", [("retain_accuracy", claim)])
    assert row["verdict"] == verdict


def test_paired_figure_has_a_line_a_seed():
    rows = rows_of([0.8, 0.9, 0.7], [0.6, 0.7, 0.6])
    page = paired.figure(rows, ("theirs", "ours"), ["retain_accuracy"])
    *seeds, mean = page.axes[0].lines
    assert [list(line.get_ydata()) for line in seeds] == [[60, 80], [70, 90], [60, 70]]
    np.testing.assert_allclose(mean.get_ydata(), [190 / 3, 80])


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
