"""Does a method do what it is for at all? A mark for tables, not a verdict.

Forgetting a class: its forget accuracy is within `FORGET` of that of retraining.
Forgetting random examples: its Avg. Gap is not larger than that of doing nothing.
Both: its test accuracy is at most `TEST` below that of retraining.

Whether a method that does is as good as retraining is `equivalence`'s question, and
whether anything is left of single examples that of an audit.
"""

from collections.abc import Mapping

__all__ = ["FORGET", "TEST", "shortfall"]

FORGET, TEST = 0.05, 0.02


def shortfall(
    row: Mapping, original: Mapping, retrain: Mapping, *, whole_classes: bool
) -> str:
    """Says in what a method misses its purpose; empty: it reaches it.

    Args:
      row, original, retrain: means over seeds of the method, of doing nothing and of
        the reference: `forget_accuracy`, `test_accuracy` and `avg_gap`, fractions.
      whole_classes: whether the request is to forget whole classes.
    """
    if whole_classes:
        gap = abs(row["forget_accuracy"] - retrain["forget_accuracy"])
        far = _above(gap, FORGET)
        missed = ["forgets too little"] if far else []
    else:
        far = _above(row["avg_gap"], original["avg_gap"])
        missed = ["no nearer than doing nothing"] if far else []
    if _above(retrain["test_accuracy"] - row["test_accuracy"], TEST):
        missed.append("loses accuracy")
    return ", ".join(missed)


def _above(value: float, limit: float) -> bool:
    return value > limit + 1e-9  # the rounding of a mean
