"""The one list of columns, and what is chosen from it."""

import numpy as np
from metric_cases import logits_and_labels

from unlearn import metrics
from unlearn.metrics import columns, gaps
from unlearn.report import summary


def test_columns_are_complete_and_unique():
    for key, column in columns.COLUMNS.items():
        assert column.key == key and column.label and column.help
        assert column.unit in ("", "%", "points", "s", "×")
    labels = [column.label for column in columns.COLUMNS.values()]
    assert len(set(labels)) == len(labels)


def test_selections_are_of_the_list():
    assert columns.STANDARD[:3] == columns.ACCURACIES
    assert columns.MEASURED[:4] == columns.STANDARD
    assert set(columns.SUMMARY) == {*columns.MEASURED, "ua"}
    every = {*columns.SUMMARY, *columns.CLASS_SWEEP, *gaps.SCORES}
    assert every <= set(columns.COLUMNS)
    chosen = columns.select("seconds", "ua")
    assert [column.key for column in chosen] == ["seconds", "ua"]
    assert columns.labels(*columns.STANDARD) == {
        "forget_accuracy": "Forget",
        "retain_accuracy": "Retain",
        "test_accuracy": "Test",
        "mia_confidence": "MIA",
    }


def test_measure_returns_what_is_named_measured():
    logits, labels = logits_and_labels(60, 3)
    forget, retain = np.arange(12), np.arange(12, 60)
    row = metrics.measure(logits, labels, forget, retain, *logits_and_labels(40, 3, 1))
    assert set(row) == {*columns.MEASURED, "mia_auc_null_sd", "balanced_accuracy"}
    assert set(row) <= set(columns.COLUMNS)


def test_the_summary_begins_with_the_named_metrics():
    rows = [
        {"model": "retrain", "seed": seed, "seconds": 1.0, "status": "ok", "extra": 0.5}
        | dict.fromkeys(columns.MEASURED, 0.5)
        for seed in range(2)
    ]
    keys = list(summary.summarize(rows)[0])
    means = [key for key in keys if f"{key}_gap" in keys]
    assert means == [*columns.SUMMARY, "extra"]
