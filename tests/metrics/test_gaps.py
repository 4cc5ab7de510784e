"""Distances to the retrained model, as published and by their formulas."""

import numpy as np
import pytest
from metric_cases import CASES
from result_rows import make_row

from unlearn import metrics
from unlearn.metrics.gaps import avg_gap, tug_of_war


def test_gaps_of_random_rows():
    rng = np.random.default_rng(9)
    names = ("forget_accuracy", "retain_accuracy", "test_accuracy", "mia_confidence")
    for ours, retrained in rng.uniform(0, 1, (CASES, 2, 4)):
        rows = [dict(zip(names, x, strict=True)) for x in (ours, retrained)]
        (f, r, t, m), (f0, r0, t0, m0) = ours, retrained
        unlearned = abs((1 - f) - (1 - f0))  # UA
        gap = (unlearned + abs(r - r0) + abs(t - t0) + abs(m - m0)) / 4
        assert metrics.avg_gap(*rows) == pytest.approx(gap)
        tug = (1 - abs(f - f0)) * (1 - abs(r - r0)) * (1 - abs(t - t0))
        assert metrics.tug_of_war(*rows) == pytest.approx(tug)


@pytest.mark.parametrize(
    "forget, retain, test, mia, published",
    [(97.15, 99.62, 93.93, 14.39, 1.15), (99.37, 99.88, 94.06, 2.70, 3.78)],
    ids=["SalUn", "fine-tuning"],
)
def test_avg_gap_of_the_table_of_salun(forget, retain, test, mia, published):
    retrain = make_row("retrain", 0, 0.9476, 1.0, 0.9426, 0.1288)
    row = make_row("x", 0, forget / 100, retain / 100, test / 100, mia / 100)
    assert 100 * avg_gap(row, retrain) == pytest.approx(published, abs=0.006)


def test_tug_of_war_is_the_product_and_looks_in_both_directions():
    retrain = make_row("retrain", 0, 0.5, 0.9, 0.8, 0.1)
    below = make_row("below", 0, 0.4, 0.8, 0.6, 0.9)
    above = make_row("above", 0, 0.6, 1.0, 1.0, 0.9)
    assert tug_of_war(below, retrain) == pytest.approx(0.9 * 0.9 * 0.8)
    assert tug_of_war(above, retrain) == pytest.approx(0.9 * 0.9 * 0.8)
    assert tug_of_war(retrain, retrain) == 1
