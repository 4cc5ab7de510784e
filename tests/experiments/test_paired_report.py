"""One method against another on the same seeds: by hand and by scipy."""

import numpy as np
import pytest
import scipy.stats

from experiments import _paired_report as paired


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
