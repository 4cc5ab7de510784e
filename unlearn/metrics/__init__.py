"""Metrics: pure functions of logits, losses, variables or rows of results.

`measure` computes a row of the results table from the logits of one model. The audits'
metrics are in modules, imported where they are used: `metrics.lira.u_lira(...)`.
README.md beside this file lists all by the question that they answer.
"""

import importlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.metrics.accuracy import (
    Outputs,
    accuracy,
    balanced_accuracy,
    check_labels,
    confusion_matrix,
    losses,
    outputs,
    outputs_of,
    per_class_accuracy,
    share,
)
from unlearn.metrics.gaps import avg_gap, tug_of_war
from unlearn.metrics.membership import (
    confidence_attack,
    modified_entropy,
    regression_attack,
    spread,
    threshold_attack,
)

if TYPE_CHECKING:
    from unlearn.metrics import (
        bavaria,
        before_after,
        class_neighbours,
        clustered,
        columns,
        composite,
        connectivity,
        divergence,
        empirical_epsilon,
        equivalence,
        forgetting_score,
        gaps,
        idi,
        klom,
        lira,
        membership,
        one_run,
        purpose,
        relearning,
        residual,
        rmia,
        roc,
        ruli,
        set_level,
        strongest,
        verdict,
    )

__all__ = [
    "Outputs",
    "accuracy",
    "avg_gap",
    "balanced_accuracy",
    "bavaria",
    "before_after",
    "class_neighbours",
    "clustered",
    "columns",
    "composite",
    "confidence_attack",
    "confusion_matrix",
    "connectivity",
    "divergence",
    "empirical_epsilon",
    "equivalence",
    "forgetting_score",
    "gaps",
    "idi",
    "klom",
    "lira",
    "losses",
    "measure",
    "measure_outputs",
    "membership",
    "modified_entropy",
    "one_run",
    "outputs",
    "outputs_of",
    "per_class_accuracy",
    "purpose",
    "regression_attack",
    "relearning",
    "residual",
    "rmia",
    "roc",
    "ruli",
    "set_level",
    "strongest",
    "threshold_attack",
    "tug_of_war",
    "verdict",
]


def __getattr__(name: str):
    """Imports a module of the audits' metrics where it is first used."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def measure(
    train_logits: np.ndarray,
    train_labels: np.ndarray,
    forget: np.ndarray,
    retain: np.ndarray,
    test_logits: np.ndarray,
    test_labels: np.ndarray,
    *,
    forget_classes: ArrayLike = (),
    attack_examples: int = 0,
) -> dict[str, float]:
    """Computes the standard metrics of one model: accuracies and attacks, in [0, 1].

    Args:
      train_logits, test_logits: float[N, K], float[T, K].
      train_labels, test_labels: int[N], int[T].
      forget, retain: indices into the training set.
      forget_classes: classes forgotten as a whole. Their test examples then count in
        `test_forget_accuracy`, not in `test_accuracy`.
      attack_examples: at most so many examples of each set in the support vector
        machine, whose cost grows with the square; 0: no limit.

    The attacks on the loss compare the forget set with test examples of its classes.

    Raises:
      InputError: labels or indices of examples, or classes, that there are not; sets
        that are empty or share an example; logits that are no numbers, or of other
        classes.

    Returns: what `columns.MEASURED` names, `mia_auc_null_sd` and `balanced_accuracy`
      (of the test examples in `test_accuracy`); `test_forget_accuracy` if whole classes
      are forgotten.
    """
    (train_logits, train_labels), (test_logits, test_labels) = (
        check_labels(*pair)
        for pair in ((train_logits, train_labels), (test_logits, test_labels))
    )
    count = train_logits.shape[1]
    if test_logits.shape[1] != count:
        raise InputError(
            f"logits of the training set have {count} classes, and those of the test "
            f"set {test_logits.shape[1]}: give logits of one model"
        )
    if not (np.isfinite(train_logits).all() and np.isfinite(test_logits).all()):
        raise InputError("there are logits that are no finite numbers: did it diverge?")
    forget, retain = (
        _rows(name, rows, len(train_labels))
        for name, rows in (("forget", forget), ("retain", retain))
    )
    if np.intersect1d(forget, retain).size:
        raise InputError("forget and retain share examples: give each to one of them")
    unknown = [c for c in np.ravel(forget_classes).tolist() if c not in range(count)]
    if unknown:
        raise InputError(
            f"forget_classes names {unknown[0]!r}: the classes are 0..{count - 1}"
        )
    return measure_outputs(
        outputs(train_logits, train_labels),
        train_labels,
        forget,
        retain,
        outputs(test_logits, test_labels),
        test_labels,
        forget_classes=forget_classes,
        attack_examples=attack_examples,
    )


def _rows(name: str, rows: ArrayLike, size: int) -> np.ndarray:
    """Returns indices of a set, given as such or as bool[size]."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (size,):
        rows = np.flatnonzero(rows)
    if not rows.size:
        raise InputError(f"{name} is empty: there is nothing to measure")
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise InputError(
            f"{name} must be indices or bool[{size}]; it is "
            f"{rows.dtype}{list(rows.shape)}"
        )
    if rows.min() < 0 or rows.max() >= size:
        outside = rows[(rows < 0) | (rows >= size)][0]
        raise InputError(
            f"{name} has the index {outside}: the training set has 0..{size - 1}"
        )
    if len(np.unique(rows)) < len(rows):
        raise InputError(f"{name} has an index twice: give each once")
    return rows


def measure_outputs(
    train: Outputs,
    train_labels: np.ndarray,
    forget: np.ndarray,
    retain: np.ndarray,
    test: Outputs,
    test_labels: np.ndarray,
    *,
    forget_classes: ArrayLike = (),
    attack_examples: int = 0,
) -> dict[str, float]:
    """Computes `measure` from losses and predictions, without the logits."""
    forget, retain = np.asarray(forget), np.asarray(retain)
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    train_hits = train.predictions == train_labels
    test_hits = test.predictions == test_labels
    gone = np.isin(test_labels, forget_classes)
    alike = np.isin(test_labels, np.unique(train_labels[forget]))
    size = min(len(retain), int(np.sum(~gone)), attack_examples or len(retain))
    members = retain[spread(len(retain), size)]
    non_members = np.flatnonzero(~gone)[spread(int(np.sum(~gone)), size)]
    threshold = threshold_attack(train.losses[forget], test.losses[alike])
    row = {
        "forget_accuracy": share(train_hits[forget]),
        "retain_accuracy": share(train_hits[retain]),
        "test_accuracy": share(test_hits[~gone]),
        "mia_confidence": confidence_attack(
            np.exp(-train.losses[members]),
            np.exp(-test.losses[non_members]),
            np.exp(-train.losses[forget]),
        ),
        "mia_regression": regression_attack(train.losses[forget], test.losses[alike]),
        "mia_auc": threshold.auc,
        "mia_tpr_at_1fpr": threshold.tpr_at_1fpr,
        "mia_auc_null_sd": threshold.auc_null_sd,
        "balanced_accuracy": balanced_accuracy(
            test.predictions[~gone], test_labels[~gone]
        ),
    }
    if np.any(gone):
        row["test_forget_accuracy"] = share(test_hits[gone])
    return row
