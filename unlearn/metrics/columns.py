"""The numbers of a result, by name: the one list that tables, tuning and page use.

A row of results holds fractions in [0, 1] and seconds. Units and digits here are those
in which people read them: `%` and `points` are a hundred times the fraction.
"""

from typing import NamedTuple

__all__ = [
    "ACCURACIES",
    "CLASS_SWEEP",
    "COLUMNS",
    "MEASURED",
    "STANDARD",
    "SUMMARY",
    "Column",
    "labels",
    "select",
]


class Column(NamedTuple):
    """A number of a row; the fields are those of a column of the page."""

    key: str  # its name in results.csv, summary.csv and config
    label: str
    unit: str  # %, points, s, or empty for a plain number
    digits: int  # after the point
    help: str


COLUMNS = {
    column.key: column
    for column in (
        Column(
            "forget_accuracy",
            "Forget",
            "%",
            1,
            "accuracy on the forget set; close to retrain is good",
        ),
        Column("ua", "UA", "%", 1, "unlearning accuracy: 100 less forget accuracy"),
        Column("retain_accuracy", "Retain", "%", 1, "accuracy on the retain set"),
        Column("test_accuracy", "Test", "%", 1, "accuracy on test data"),
        Column(
            "balanced_accuracy",
            "Test, balanced",
            "%",
            1,
            "mean over the classes of the accuracy on their test data",
        ),
        Column(
            "mia_confidence",
            "MIA",
            "%",
            1,
            "share of the forget set that an attack on confidence calls non-members",
        ),
        Column(
            "mia_regression",
            "MIA, regression",
            "%",
            1,
            "accuracy of a logistic regression on losses; 50 is guessing",
        ),
        Column(
            "mia_auc",
            "MIA, AUC",
            "",
            3,
            "of a threshold on the loss, forgotten against unseen; 0.5 is guessing",
        ),
        Column(
            "mia_tpr_at_1fpr",
            "MIA, TPR at 1 % FPR",
            "%",
            1,
            "forgotten examples found where 1 % of the unseen ones are called members",
        ),
        Column(
            "mia_auc_null_sd",
            "MIA, AUC by chance",
            "",
            3,
            "standard deviation of the AUC where forgotten and unseen are alike",
        ),
        Column(
            "validation_accuracy", "Validation", "%", 1, "accuracy on held-out data"
        ),
        Column(
            "test_forget_accuracy",
            "Forget, test",
            "%",
            1,
            "accuracy on test data of the forgotten classes",
        ),
        Column(
            "test_accuracy_lost",
            "Lost on the others, test",
            "points",
            2,
            "accuracy of retrain less that of the method, other classes' test data",
        ),
        Column(
            "avg_gap",
            "Avg. Gap",
            "points",
            2,
            "mean difference to retrain of Forget, Retain, Test and MIA",
        ),
        Column(
            "tug_of_war",
            "ToW",
            "%",
            2,
            "product of one less the differences to retrain of the three accuracies",
        ),
        Column("seconds", "Seconds", "s", 2, "the method alone"),
        Column("compile_seconds", "Compile s", "s", 2, "compilation, not in Seconds"),
        Column("speedup", "Speed-up", "×", 1, "seconds of retraining / of the method"),
        Column("cost", "Cost", "%", 2, "seconds as a share of those of retraining"),
    )
}

ACCURACIES = ("forget_accuracy", "retain_accuracy", "test_accuracy")
"""What Tug-of-War is a product over."""

STANDARD = (*ACCURACIES, "mia_confidence")
"""The metrics of the field's tables, which Avg. Gap is a mean over."""

MEASURED = (*STANDARD, "mia_regression", "mia_auc", "mia_tpr_at_1fpr")
"""What every row of results.csv has, in this order; NaN if the model diverged."""

SUMMARY = ("forget_accuracy", "ua", *MEASURED[1:])
"""What the summary begins with, before other columns of numbers."""

CLASS_SWEEP = (
    "forget_accuracy",
    "test_forget_accuracy",
    "test_accuracy_lost",
    "avg_gap",
    "cost",
)
"""Of which the worst class is reported when every class is forgotten."""


def select(*keys: str) -> tuple[Column, ...]:
    """Returns the columns of these keys, in this order."""
    return tuple(COLUMNS[key] for key in keys)


def labels(*keys: str) -> dict[str, str]:
    """Returns `{key: label}` of these keys, in this order."""
    return {key: COLUMNS[key].label for key in keys}
