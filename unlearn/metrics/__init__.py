"""Metrics: pure functions of logits, losses or result rows.

`measure` computes a row of the results table from the logits of one model.
"""

import numpy as np

from unlearn.metrics.accuracy import (
    accuracy,
    confusion_matrix,
    losses,
    per_class_accuracy,
)
from unlearn.metrics.gaps import avg_gap, tug_of_war
from unlearn.metrics.membership import (
    confidence_attack,
    modified_entropy,
    regression_attack,
    spread,
    threshold_attack,
)

__all__ = [
    "accuracy",
    "avg_gap",
    "confidence_attack",
    "confusion_matrix",
    "losses",
    "measure",
    "modified_entropy",
    "per_class_accuracy",
    "regression_attack",
    "threshold_attack",
    "tug_of_war",
]

COLUMNS = (
    "forget_accuracy",
    "retain_accuracy",
    "test_accuracy",
    "mia_confidence",
    "mia_regression",
    "mia_auc",
    "mia_tpr_at_1fpr",
)


def measure(
    train_logits,
    train_labels,
    forget,
    retain,
    test_logits,
    test_labels,
    *,
    forget_classes=(),
    attack_examples: int = 0,
) -> dict[str, float]:
    """The metrics of one model: accuracies and attacks, all in [0, 1].

    Args:
      train_logits, test_logits: float[N, K], float[T, K].
      train_labels, test_labels: int[N], int[T].
      forget, retain: indices into the training set.
      forget_classes: classes forgotten as a whole. Their test examples then count in
        `test_forget_accuracy`, not in `test_accuracy`.
      attack_examples: at most so many examples of each set in the support vector
        machine, whose cost grows with the square; 0: no limit.

    The attacks on the loss compare the forget set with test examples of its classes.
    """
    forget, retain = np.asarray(forget), np.asarray(retain)
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    train_losses, test_losses = (
        losses(train_logits, train_labels),
        losses(test_logits, test_labels),
    )
    gone = np.isin(test_labels, forget_classes)
    alike = np.isin(test_labels, np.unique(train_labels[forget]))
    size = min(len(retain), int(np.sum(~gone)), attack_examples or len(retain))
    members = retain[spread(len(retain), size)]
    non_members = np.flatnonzero(~gone)[spread(int(np.sum(~gone)), size)]
    threshold = threshold_attack(train_losses[forget], test_losses[alike])
    row = {
        "forget_accuracy": accuracy(train_logits[forget], train_labels[forget]),
        "retain_accuracy": accuracy(train_logits[retain], train_labels[retain]),
        "test_accuracy": accuracy(test_logits[~gone], test_labels[~gone]),
        "mia_confidence": confidence_attack(
            np.exp(-train_losses[members]),
            np.exp(-test_losses[non_members]),
            np.exp(-train_losses[forget]),
        ),
        "mia_regression": regression_attack(train_losses[forget], test_losses[alike]),
        "mia_auc": threshold.auc,
        "mia_tpr_at_1fpr": threshold.tpr_at_1fpr,
        "mia_auc_null_sd": threshold.auc_null_sd,
    }
    if np.any(gone):
        row["test_forget_accuracy"] = accuracy(test_logits[gone], test_labels[gone])
    return row
