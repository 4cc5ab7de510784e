"""Statistics over seeds, by hand, by scipy or by a plain loop."""

import math

import numpy as np
import pytest
import scipy.stats
from result_rows import (
    ACCURACIES,
    TWO_SEEDS,
    by_model,
    diverged,
    make_row,
    random_results,
)

from unlearn.errors import InputError
from unlearn.report.summary import caveats, interval, summarize


def test_summary_of_two_seeds_by_hand():
    near = by_model(TWO_SEEDS)["near"]
    t = 12.706204736  # 97.5 % point of Student's t with one degree of freedom
    expected = {
        "seeds": 2,
        "forget_accuracy": 0.8,
        "ua": 0.2,
        "retain_accuracy": 0.95,
        "retain_accuracy_interval": t * 0.05,  # sd / sqrt(2) is half the difference
        "forget_accuracy_interval": 0.0,
        "forget_accuracy_gap": 0.05,
        "ua_gap": 0.05,
        "retain_accuracy_gap": 0.05,
        "test_accuracy_gap": 0.02,
        "mia_confidence_gap": 0.0,
        "forget_accuracy_floor": 0.1,
        "test_accuracy_floor": 0.04,
        "retain_accuracy_floor": 0.0,
        "avg_gap": ((0.04) / 4 + (0.1 + 0.1) / 4) / 2,
        "avg_gap_interval": t * (0.05 - 0.01) / 2,
        "avg_gap_floor": (0.1 + 0 + 0.04 + 0.1) / 4,
        "tug_of_war": (0.96 + 0.9 * 0.9) / 2,
        "tug_of_war_floor": 0.9 * 0.96,
        "seconds": 4.0,
        "compile_seconds": 1.5,
        "speedup": 20 / 8,
    }
    assert {name: near[name] for name in expected} == pytest.approx(expected)


def test_retrain_is_the_reference():
    row = by_model(TWO_SEEDS)["retrain"]
    assert (row["avg_gap"], row["tug_of_war"], row["speedup"]) == (0, 1, 1)
    assert row["test_accuracy_gap"] == 0
    assert row["verdict"] == "reference"


def test_speed_ups_are_against_the_shortest_retraining_that_is_as_accurate():
    def rows(model, seconds, test):
        return [
            make_row(model, seed, 0.9, 1.0, test + seed / 100, 0.1) | {"seconds": s}
            for seed, s in enumerate((seconds, 1.5 * seconds))
        ]

    whole = rows("retrain", 8.0, 0.950) + rows("finetune", 1.0, 0.950)
    assert by_model(whole)["finetune"]["speedup"] == pytest.approx(8)
    short = rows("retrain_short", 4.0, 0.947)  # loses less than half a point
    found = by_model(whole + short)
    assert found["finetune"]["speedup"] == pytest.approx(4)
    assert found["retrain"]["speedup"] == pytest.approx(0.5)
    shorter = rows("retrain_short__3", 2.0, 0.940)  # loses a point
    longer = rows("retrain_short__9", 6.0, 0.960)
    found = by_model(whole + short + shorter + longer)
    assert found["finetune"]["speedup"] == pytest.approx(4)
    assert found["retrain_short__3"]["speedup"] == pytest.approx(2)


def test_order_is_original_retrain_then_by_gap_then_diverged():
    rows = TWO_SEEDS + [diverged("a", 0), diverged("a", 1)]
    rows += [diverged("half", 0), make_row("half", 1, 0.9, 1.0, 0.94, 0.1)]
    summary = summarize(rows[::-1])
    names = [row["model"] for row in summary]
    assert names == ["original", "retrain", "near", "far", "half", "a"]
    half, gone = summary[-2:]
    assert (half["seeds"], half["diverged"], half["status"]) == (1, 1, "ok")
    assert half["avg_gap"] == 0  # only to the retrained model of its own seed
    assert (gone["seeds"], gone["status"], gone["verdict"]) == (
        0,
        "diverged",
        "diverged",
    )
    assert math.isnan(gone["avg_gap"])


def test_intervals_are_those_of_scipy():
    rows = random_results()
    for summary in summarize(rows):
        for name in (*ACCURACIES, "mia_confidence"):
            values = [r[name] for r in rows if r["model"] == summary["model"]]
            low, high = scipy.stats.t.interval(
                0.95, 4, np.mean(values), scipy.stats.sem(values)
            )
            assert summary[name] - summary[f"{name}_interval"] == pytest.approx(low)
            assert summary[name] + summary[f"{name}_interval"] == pytest.approx(high)


def test_floors_are_those_of_a_plain_loop():
    rows = random_results()
    retrain = [row for row in rows if row["model"] == "retrain"]
    totals, count = dict.fromkeys((*ACCURACIES, "avg_gap", "tug_of_war"), 0.0), 0
    for i in range(5):
        for j in range(5):
            if i != j:
                a, b = retrain[i], retrain[j]
                count += 1
                gaps = [abs(a[name] - b[name]) for name in ACCURACIES]
                for name, gap in zip(ACCURACIES, gaps, strict=True):
                    totals[name] += gap
                mia = abs(a["mia_confidence"] - b["mia_confidence"])
                totals["avg_gap"] += (sum(gaps) + mia) / 4
                totals["tug_of_war"] += math.prod(1 - gap for gap in gaps)
    for summary in summarize(rows):
        for name, total in totals.items():
            assert summary[f"{name}_floor"] == pytest.approx(total / count)


@pytest.mark.parametrize(
    "gaps, verdict",
    [
        ((0.001, 0.001, 0.0012), "within"),
        ((0.001, 0.03, 0.06), "inconclusive"),
        ((0.30, 0.301, 0.302), "outside"),
    ],
)
def test_verdict_compares_the_gap_with_the_floor(gaps, verdict):
    rows = []
    for seed, gap in enumerate(gaps):
        at = 0.5 + 0.01 * seed
        rows.append(make_row("retrain", seed, at, at, at, at))
        rows.append(make_row("x", seed, *[at + gap] * 4))
    assert by_model(rows)["x"]["verdict"] == verdict


def test_what_misses_its_purpose_is_marked():
    """Of other examples `near` is nearer than doing nothing, `far` is not."""
    random = by_model(TWO_SEEDS)
    assert random["near"]["misses"] == ""  # and loses 2.0 points, no more
    assert random["far"]["misses"] == "no nearer than doing nothing, loses accuracy"
    assert random["original"]["misses"] == random["retrain"]["misses"] == ""
    whole = {row["model"]: row for row in summarize(TWO_SEEDS, whole_classes=True)}
    assert whole["far"]["misses"] == "forgets too little, loses accuracy"
    gone = by_model([*TWO_SEEDS, diverged("gone", 0)])["gone"]
    assert gone["misses"] == "diverged"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[1.0], [1.0, math.inf], [math.nan, 1.0, 2.0]])
def test_no_interval_of_one_value_or_of_what_is_not_finite(values):
    assert math.isnan(interval(values)) and math.isfinite(interval([1.0, 2.0]))


def test_one_seed_has_neither_interval_nor_floor():
    row = by_model(TWO_SEEDS[:4])["near"]
    assert math.isnan(row["avg_gap_interval"]) and math.isnan(row["avg_gap_floor"])
    assert row["avg_gap"] == pytest.approx(0.01)
    assert row["verdict"] == "too few seeds"


def test_two_seeds_are_too_few_to_judge():
    """The bounds of the test are not numbers before the third."""
    assert by_model(TWO_SEEDS)["near"]["verdict"] == "too few seeds"


def test_a_method_that_lost_a_seed_is_compared_on_the_others():
    """Doing nothing is nearer in the seed that is gone, so its mean is no measure."""
    rows = []
    for seed, gap in ((0, 0.01), (1, 0.05)):
        rows.append(make_row("retrain", seed, 0.5, 0.5, 0.5, 0.5))
        rows.append(make_row("original", seed, *[0.5 + gap] * 4))
    rows += [diverged("x", 0), make_row("x", 1, *[0.54] * 4)]
    assert by_model(rows)["x"]["misses"] == ""
    rows[-1] = make_row("x", 1, *[0.56] * 4)
    assert by_model(rows)["x"]["misses"] == "no nearer than doing nothing"


def test_more_columns_of_numbers_are_summarised():
    rows = [row | {"validation_accuracy": 0.1 * row["seed"]} for row in TWO_SEEDS]
    row = by_model(rows)["near"]
    assert row["validation_accuracy"] == pytest.approx(0.05)
    assert row["validation_accuracy_floor"] == pytest.approx(0.1)


def test_results_without_retrain_are_refused():
    with pytest.raises(InputError, match="retrain"):
        summarize([TWO_SEEDS[0]])


def without_reference():
    return [row for row in TWO_SEEDS if row["model"] != "retrain"]


def test_without_a_reference_nothing_is_judged():
    with pytest.raises(InputError, match="retrain first"):
        summarize(without_reference())
    summary = summarize(without_reference(), needs_reference=False)
    assert [row["model"] for row in summary] == ["original", "far", "near"]
    for row in summary:
        assert row["verdict"] == "no reference"
        for name in ("avg_gap", "tug_of_war", "forget_accuracy_gap", "speedup"):
            assert math.isnan(row[name])
        assert math.isnan(row["avg_gap_floor"])
    (line,) = caveats(summary, 10)
    assert "cannot be concluded that anything is forgotten" in line
    assert caveats(summarize(TWO_SEEDS), 10) == []


@pytest.mark.parametrize("test, weak", [(0.81, False), (0.79, True), (0.99, False)])
def test_a_reference_far_below_the_original_judges_nothing(test, weak):
    rows = [
        make_row(model, seed, 0.9, 1.0, accuracy, 0.1 * seed)
        for model, accuracy in (("original", 0.9), ("retrain", test), ("near", 0.9))
        for seed in (0, 1)
    ]
    summary = {row["model"]: row for row in summarize(rows)}
    assert (summary["near"]["verdict"] == "weak reference") == weak
    assert summary["retrain"]["verdict"] == "reference"
    lines = caveats(list(summary.values()), 10)
    assert len(lines) == weak
    assert not weak or "79.0 % on test and the original 90.0 %" in lines[0]


def test_an_imported_original_near_chance_is_said():
    rows = [make_row("original", 0, 0.1, 0.15, 0.1, 0.5) | {"status": "imported"}]
    summary = summarize(rows, needs_reference=False)
    assert summary[0]["status"] == "imported"
    assert "near chance" in caveats(summary, 10)[1]
    assert len(caveats(summary, 20)) == 1  # 15 % of 20 classes is no chance
