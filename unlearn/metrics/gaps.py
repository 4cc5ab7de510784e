"""Distances of a model's row of results to the row of the retrained model."""

from collections.abc import Mapping

from unlearn.metrics.columns import ACCURACIES, STANDARD

__all__ = ["SCORES", "avg_gap", "tug_of_war"]


def avg_gap(row: Mapping, reference: Mapping) -> float:
    """Computes the Average Gap of SalUn (Fan et al., ICLR 2024): 0 is best, 1 is worst.

    The mean of `|dUA|, |dRA|, |dTA|, |dMIA|` between a model and the retrained one,
    both as rows of `results.csv` with values in [0, 1]. UA is one minus the forget
    accuracy, so the two have the same gap. MIA is `mia_confidence`.
    """
    gaps = [abs(row[name] - reference[name]) for name in STANDARD]
    return float(sum(gaps) / len(gaps))


def tug_of_war(row: Mapping, reference: Mapping) -> float:
    """Computes the Tug-of-War of RUM (Zhao et al., NeurIPS 2024): 1 is best, 0 worst.

    The product over the forget, retain and test sets of one minus the difference of
    the accuracies (in [0, 1]) of a model and the retrained one.
    """
    product = 1.0
    for name in ACCURACIES:
        product *= 1 - abs(row[name] - reference[name])
    return float(product)


SCORES = {"avg_gap": avg_gap, "tug_of_war": tug_of_war}
"""By the names that they have in summary.csv."""
