"""What a method costs: test accuracy against retraining, over models and test images.

In the request study, so it is the accuracy after the request that was made. Examples of
forgotten classes are left out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import Study
from unlearn.metrics.clustered import FEW, Estimate, difference, share

FEWEST = 5  # test examples of a class; smaller classes are left out of the worst


class Utility(NamedTuple):
    """Test accuracy, as shares, with 95 % intervals over models and test examples."""

    accuracy: Estimate
    lost: Estimate  # minus that of retraining
    worst_class: tuple[str, Estimate] | None  # its name, and the lowest `lost`


def utility(
    study: Study, measured: Measured, retrained: Measured, class_names: Sequence[str]
) -> Utility:
    """Compares test accuracies; `retrained` are other models than `measured`.

    The intervals of the classes hold together (Bonferroni), so that of the lowest value
    reaches from the lowest lower end to the lowest upper end of all, and may be that of
    a class that is not named. Classes with fewer than 5 test examples are left out: a
    share of so few says nothing. So are those with fewer than 24 on which no two models
    differ: their interval would have no width.
    """
    test = study.sets["test"]
    labels = np.asarray(study.labels)[test]
    kept = ~np.isin(labels, np.asarray(study.problem.forget_classes))
    labels = labels[kept]
    ours, theirs = (
        (m.predictions[:, test][:, kept] == labels).astype(np.float64)
        for m in (measured, retrained)
    )
    classes, counts = np.unique(labels, return_counts=True)
    differ = np.ptp(np.concatenate([ours, theirs]), axis=0) > 0
    varied = np.array([differ[labels == c].any() for c in classes], bool)
    classes = classes[(counts >= FEW) | (counts >= FEWEST) & varied]
    by_class = {
        class_names[c]: difference(
            ours[:, labels == c], theirs[:, labels == c], comparisons=len(classes)
        )
        for c in classes
    }
    worst = None
    if by_class:
        lowest = Estimate(*map(min, zip(*by_class.values(), strict=True)))
        worst = min(by_class, key=lambda name: by_class[name].value), lowest
    return Utility(share(ours), difference(ours, theirs), worst)
