"""The row of standard metrics of one model."""

import numpy as np
import pytest
from metric_cases import logits_and_labels
from scipy.stats import mannwhitneyu

from unlearn import metrics
from unlearn.errors import InputError


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


LOGITS = np.random.default_rng(0).normal(size=(40, 3))
LABELS = np.arange(40) % 3


def measured(**changes):
    given = dict(
        train_logits=LOGITS,
        train_labels=LABELS,
        forget=np.arange(6),
        retain=np.arange(6, 40),
        test_logits=LOGITS[:20],
        test_labels=LABELS[:20],
    )
    return metrics.measure(**given | changes)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"train_labels": np.where(LABELS == 2, -1, LABELS)}, "a label -1, and logits"),
        ({"test_labels": LABELS[:20] + 1}, "a label 3, and logits of the classes 0..2"),
        ({"train_labels": LABELS[:1]}, "a label for each of the N; they are .40, 3."),
        ({"train_labels": LABELS / 2}, "labels must be whole numbers; they are float"),
        ({"train_labels": LABELS.astype(str)}, "labels must be whole numbers; they ar"),
        ({"test_logits": LOGITS[:20].repeat(2, axis=1)}, "have 3 classes, .* set 6"),
        ({"train_logits": LOGITS * np.nan}, "no finite numbers: did it diverge"),
        ({"forget": []}, "forget is empty"),
        ({"forget": [-1]}, "forget has the index -1: the training set has 0..39"),
        ({"retain": [39, 40]}, "retain has the index 40"),
        ({"forget": [0, 0, 1]}, "forget has an index twice"),
        ({"forget": [0.0, 1.0]}, "forget must be indices or bool.40.; it is float64"),
        ({"forget": np.ones(39, bool)}, "must be indices or bool.40.; it is bool.39."),
        ({"retain": np.arange(5, 40)}, "forget and retain share examples"),
        ({"forget_classes": ["cat"]}, "names 'cat': the classes are 0..2"),
        ({"forget_classes": [3]}, "forget_classes names 3"),
    ],
)
def test_what_is_not_there_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        measured(**changes)


def test_labels_may_be_whole_floats_or_of_two_classes_bool():
    np.testing.assert_equal(measured(train_labels=LABELS / 1), measured())
    own = np.argmax(LOGITS[:, :2], axis=1) == 1
    assert metrics.accuracy(LOGITS[:, :2], own) == 1


def test_sets_may_be_masks():
    mask = np.arange(40) < 6
    np.testing.assert_equal(measured(forget=mask, retain=~mask), measured())


@pytest.mark.parametrize("metric", [metrics.losses, metrics.modified_entropy])
def test_labels_count_from_0_and_not_from_the_end(metric):
    for label in (-1, 3):
        with pytest.raises(InputError, match=f"there is a label {label}"):
            metric(LOGITS[:2], [0, label])
    with pytest.raises(InputError, match="a label for each"):
        metric(LOGITS[:4], [1])
    with pytest.raises(InputError, match="a label for each"):
        metrics.accuracy(LOGITS[:4], [1])
