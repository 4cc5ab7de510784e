"""Single numbers that papers make of accuracies, attacks and confusions.

Convenient for a table, but each hides which part failed. None says how far the model
is from a retrained one: compute that model's value too. Average Gap and Tug-of-War,
which do, are in `gaps`.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from unlearn.errors import InputError

__all__ = ["adaptive_unlearning_score", "interclass_confusion", "nomus"]


def nomus(accuracy: float, attack_accuracy: float, *, weight: float = 0.5) -> float:
    """Computes the Normalised Machine Unlearning Score, in [0, 1]: higher is better.

        weight * accuracy + (1 - weight) * (1 - 2 |attack_accuracy - 0.5|)

    Args:
      accuracy: on the test set, in [0, 1].
      attack_accuracy: of a balanced membership attack of the forget set against unseen
        examples, in [0, 1], such as `regression_attack`; not its distance to 0.5,
        which the tables of the paper print under "MIA".
      weight: of the accuracy.

    Choi & Na, "Towards Machine Unlearning Benchmarks" (MUFAC),
    https://arxiv.org/abs/2311.02240. An attack that guesses is off 0.5 by about
    `0.4 / sqrt(n)` over n predictions, so the second term is 1 for no model.

    Raises:
      InputError: a value outside [0, 1], such as one in per cent.
    """
    shares(accuracy, attack_accuracy, weight)
    return weight * accuracy + (1 - weight) * (1 - 2 * abs(attack_accuracy - 0.5))


def adaptive_unlearning_score(
    test_accuracy: float,
    forget_accuracy: float,
    original_test_accuracy: float,
    *,
    class_removal: bool = False,
) -> float:
    """Computes AUS: utility kept, over how far the forget set is from its aim.

        (1 - (original test - test)) / (1 + D)
        D = |test - forget|, or |0 - forget| if whole classes are removed

    Args:
      test_accuracy, forget_accuracy: of the unlearned model, in [0, 1]; with
        `class_removal`, test examples of the removed classes are left out.
      original_test_accuracy: of the model before.

    Cotogni et al., "DUCK", https://arxiv.org/abs/2312.02052; also SCAR. In [0, 2]; 1
    is what is aimed for, more if the test accuracy has risen. A retrained model has 1
    only as far as its forget accuracy equals its test accuracy.

    Raises:
      InputError: a value outside [0, 1], such as one in per cent.
    """
    shares(test_accuracy, forget_accuracy, original_test_accuracy)
    distance = abs((0 if class_removal else test_accuracy) - forget_accuracy)
    return (1 - (original_test_accuracy - test_accuracy)) / (1 + distance)


class InterclassConfusion(NamedTuple):
    """What `interclass_confusion` finds."""

    error: float  # IC-Err, in [0, 1]
    confused: int  # Fgt, a number of examples


def interclass_confusion(
    confusion: np.ndarray, pairs: Collection[tuple[int, int]]
) -> InterclassConfusion:
    """Tests whether the model still confuses classes whose labels were swapped.

    The original was trained with some labels of class A and B exchanged; these are the
    forget set. With C the confusion matrix by true labels, of the test set (does the
    confusion generalise?) or of the forget set (is it memorised?):

        error    = examples of A or B put into any wrong class / examples of A or B
        confused = C[A, B] + C[B, A]

    Args:
      confusion: int[K, K], true classes by predicted ones, as of
        `accuracy.confusion_matrix`.
      pairs: the pairs of classes that were exchanged; several are pooled.

    Goel et al., "Towards Adversarial Evaluations for Inexact Machine Unlearning",
    https://arxiv.org/abs/2201.06640. Lower is better, down to the retrained model's
    value: its two classes may well be hard to tell apart.

    Raises:
      InputError: not a square matrix, no pair, a class paired with itself or outside
        of the matrix, or no example of the classes.
    """
    confusion = np.asarray(confusion)
    pairs = {(min(pair), max(pair)) for pair in pairs}
    classes = sorted({c for pair in pairs for c in pair})
    if confusion.ndim != 2 or len(set(confusion.shape)) != 1 or not pairs:
        raise InputError("needs a square confusion matrix and pairs of classes")
    if any(a == b for a, b in pairs) or not set(classes) <= set(range(len(confusion))):
        raise InputError(f"not pairs of {len(confusion)} classes: {pairs}")
    rows = confusion[classes]
    if not rows.sum():
        raise InputError(f"no example of the classes {classes}")
    right = np.diag(confusion)[classes].sum()
    confused = sum(confusion[a, b] + confusion[b, a] for a, b in pairs)
    return InterclassConfusion(float(1 - right / rows.sum()), int(confused))


def shares(*values: float) -> None:
    """Refuses values outside [0, 1]."""
    if not all(0 <= value <= 1 for value in values):
        raise InputError(f"accuracies are shares in [0, 1], not {values}")
