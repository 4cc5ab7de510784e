"""What the layers of a model still know of the forget set.

    I_l    = mutual information of the features of layer l and Y = "is forgotten"
    ID(f)  = sum over layers of I_l(f) - I_l(retrained)
    IDI(f) = ID(f) / ID(original)

Information Difference Index, Jeon et al., "An Information Theoretic Evaluation Metric
for Strong Unlearning", AAAI 2026, https://arxiv.org/abs/2405.17878: 0 for a retrained
model, 1 for the original, below 0 for one that knows less than a retrained. It sees
what outputs hide: a new head on the original's body has IDI 1.

The paper bounds I_l from below by InfoNCE, with critics that contain the rest of the
network and are trained for each layer. Here a classifier on the frozen features gives
the bound of Barber and Agakov (NeurIPS 2003), without a network:

    I(Z; Y) >= H(Y) - cross-entropy of a classifier of Y from Z on held-out examples

By default the classifier is linear, so what a layer holds that is not linear in its
features does not count; values are not those of the paper.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unlearn.errors import InputError

__all__ = [
    "difference_of",
    "information_difference",
    "layer_information",
    "linear_probe",
    "mutual_information",
]

STRENGTHS = (1e-4, 1e-2, 1.0)


class InformationDifference(NamedTuple):
    """Information in nats a layer, and the index."""

    index: float
    unlearned: np.ndarray  # float64[layers]
    original: np.ndarray
    retrained: np.ndarray


def information_difference(
    unlearned: Mapping | Sequence,
    original: Mapping | Sequence,
    retrained: Mapping | Sequence,
    forgotten: np.ndarray,
    **options: Any,
) -> InformationDifference:
    """Computes the IDI of an unlearned model, with the information of every layer.

    Args:
      unlearned, original, retrained: a layer's features float[n, ...] each, as a
        mapping with the same names or a sequence; all of the same n examples.
      forgotten: bool[n], whether the example is of the forget set.
      options: of `mutual_information`.

    The index has no constant floor: put a second retrained model in the place of
    `unlearned` for it. It is NaN if the original does not know more than the retrained
    model; where the difference is small, the index is mostly noise.

    Raises:
      InputError: models with different layers, or as `mutual_information`.
    """
    models = [unlearned, original, retrained]
    named = [model for model in models if isinstance(model, Mapping)]
    if len(named) == len(models):
        if any(model.keys() != named[-1].keys() for model in named):
            raise InputError("the models must have the same layers")
        models = [[model[name] for name in named[-1]] for model in named]
    layers = [list(model) for model in models]
    if len({len(model) for model in models}) != 1:
        raise InputError("the models must have as many layers")
    return difference_of(
        *(layer_information(model, forgotten, **options) for model in layers)
    )


def layer_information(
    layers: Sequence[np.ndarray], forgotten: np.ndarray, **options: Any
) -> np.ndarray:
    """Computes `mutual_information` of each layer with being forgotten: float[L]."""
    return np.array([mutual_information(one, forgotten, **options) for one in layers])


def difference_of(
    ours: np.ndarray, before: np.ndarray, reference: np.ndarray
) -> InformationDifference:
    """Computes the IDI from the `layer_information` of three models.

    For many models of one original and one retrained model, whose information is then
    computed once.
    """
    whole = (before - reference).sum()
    left = (ours - reference).sum()
    index = float(left / whole) if whole > 0 else float("nan")
    return InformationDifference(index, ours, before, reference)


def mutual_information(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    folds: int = 5,
    classifier: Any = None,
) -> float:
    """Bounds I(Z; Y) from below by cross-validation, in nats; at most H(Y).

    Args:
      features: float[n, ...], flattened and standardised. Average convolutional maps
        over space first: the cost grows with the number of features.
      labels: [n], binary or not.
      folds: of the stratified cross-validation; shuffled, always in the same way.
      classifier: of scikit-learn, with `predict_proba`, such as an `MLPClassifier`. By
        default a logistic regression, of three strengths of its penalty the best: the
        strongest keeps the bound near 0 where there are more features than examples.

    Not cut at 0: of independent features the bound is as often slightly negative, and
    a cut would add up over layers. Measured there: within .004 of 0, for 1,000 examples
    of 20 features as for 400 of 2,000, a tenth or half of them forgotten.

    Raises:
      InputError: unlike lengths, or fewer than `folds` examples of a class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = flat(features, labels)
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.min() < folds:
        raise InputError(f"need two classes with {folds} examples each, not {counts}")
    share = counts / counts.sum()
    splits = StratifiedKFold(folds, shuffle=True, random_state=0)
    tried = (
        [classifier]
        if classifier is not None
        else [LogisticRegression(C=strength, max_iter=1000) for strength in STRENGTHS]
    )
    cross_entropy = min(
        log_loss(
            labels,
            cross_val_predict(
                make_pipeline(StandardScaler(), one),
                features,
                labels,
                cv=splits,
                method="predict_proba",
            ),
        )
        for one in tried
    )
    return float(-np.sum(share * np.log(share)) - cross_entropy)


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
) -> float:
    """Measures the accuracy of a linear classifier of frozen features, in [0, 1].

    Args:
      train_features: float[n, ...], features of a layer, with their labels [n].
      test_features: float[m, ...], of other examples, such as the forget set; [m].

    Standardised logistic regression. A probe says nothing alone: features of a model
    that never saw a class also separate it. Show the original and the retrained model
    beside it (Jeon et al., from 2 % of the data: above 82 % of a class that is
    forgotten in the outputs, against 41 % for the retrained model).

    Raises:
      InputError: unlike lengths, or one class only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train_features, train_labels = flat(train_features, train_labels)
    test_features, test_labels = flat(test_features, test_labels)
    if len(np.unique(train_labels)) < 2:
        raise InputError("a probe needs two classes to be trained on")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(
        probe.fit(train_features, train_labels).score(test_features, test_labels)
    )


def flat(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns features as float64[n, size], checked to be as many as the labels."""
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if len(features) != len(labels) or not len(labels):
        raise InputError(f"{len(features)} features for {len(labels)} labels")
    return features.reshape(len(features), -1), labels
