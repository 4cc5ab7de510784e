"""The row of standard metrics of one model."""

import numpy as np
import pytest
from metric_cases import logits_and_labels
from scipy.stats import mannwhitneyu

from unlearn import metrics


def test_measure_in_class_forgetting_keeps_the_class_out_of_test_accuracy():
    logits, labels = logits_and_labels(300, 3, seed=6)
    test_logits, test_labels = logits_and_labels(400, 3, seed=7)
    forget = np.flatnonzero(labels == 1)
    retain = np.flatnonzero(labels != 1)
    row = metrics.measure(
        logits, labels, forget, retain, test_logits, test_labels, forget_classes=(1,)
    )
    hit = np.argmax(test_logits, -1) == test_labels
    assert row["test_accuracy"] == pytest.approx(hit[test_labels != 1].mean())
    assert row["test_forget_accuracy"] == pytest.approx(hit[test_labels == 1].mean())
    recalls = [hit[test_labels == c].mean() for c in (0, 2)]
    assert row["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    u = mannwhitneyu(
        -metrics.losses(logits, labels)[forget],
        -metrics.losses(test_logits, test_labels)[test_labels == 1],
    )
    count = len(forget) * np.sum(test_labels == 1)
    assert row["mia_auc"] == pytest.approx(u.statistic / count)
    assert set(metrics.columns.MEASURED) <= row.keys()
    assert all(0 <= row[name] <= 1 for name in metrics.columns.MEASURED)
