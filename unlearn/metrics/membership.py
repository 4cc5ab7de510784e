"""Population membership-inference attacks on one model.

Each asks whether the model still treats the forget set as members. They are what the
literature's tables report; per-example attacks see failures that these cannot (Hayes et
al., "Inexact Unlearning Needs More Careful Evaluations", SaTML 2025).
"""

from typing import NamedTuple

import numpy as np

from unlearn.metrics.accuracy import check_labels, in_blocks

__all__ = [
    "confidence_attack",
    "modified_entropy",
    "regression_attack",
    "threshold_attack",
]


def confidence_attack(
    members: np.ndarray, non_members: np.ndarray, forget: np.ndarray
) -> float:
    """Computes SalUn's "MIA": the share of the forget set called non-members.

    Args:
      members: float[M], probability of the true class on retained examples.
      non_members: float[T], the same on test examples; balanced against `members`.
      forget: float[F], the same on the forget set.

    A support vector machine calls them so: `SVC(C=3, gamma="auto", kernel="rbf")` on
    one feature. Fan et al., ICLR 2024. Meaningful only beside the value of a retrained
    model, which is not 1: it classifies most of the forget set as confidently as its
    own training data. With a whole class forgotten it says little: the true class has
    no probability left, where the SVM knows but the few examples that the model gets
    wrong, and one more or less of these turns the share from 0 to 1.

    Returns: a share in [0, 1]; NaN if there are no examples of some kind.
    """
    from sklearn.svm import SVC

    if not (len(members) and len(non_members) and len(forget)):
        return float("nan")
    size = min(len(members), len(non_members))
    features = np.concatenate([members[:size], non_members[:size]])[:, None]
    is_member = np.repeat([1, 0], size)
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(features, is_member)
    return float(1 - np.mean(attack.predict(np.asarray(forget)[:, None])))


def regression_attack(
    forget: np.ndarray, non_members: np.ndarray, *, splits: int = 10
) -> float:
    """Measures the cross-validated accuracy of a logistic regression on the loss.

    Args:
      forget: float[F], cross-entropies of the forget set.
      non_members: float[T], cross-entropies of unseen examples of the same classes.
      splits: stratified shuffle splits of which the accuracies are averaged.

    The larger set is cut to the size of the smaller, evenly spaced. The starting kit of
    the NeurIPS 2023 unlearning challenge; 0.5 is no better than guessing.

    Returns: an accuracy in [0, 1].
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
    from threadpoolctl import threadpool_limits

    size = min(len(forget), len(non_members))
    if size < 10:
        return float("nan")
    chosen = [x[spread(len(x), size)] for x in (forget, non_members)]
    features = np.clip(np.concatenate(chosen), -100, 100)[:, None]
    is_member = np.repeat([1, 0], size)
    folds = StratifiedShuffleSplit(n_splits=splits, random_state=0)
    # Of one feature: threads of BLAS wait for each other two to four times as long.
    with threadpool_limits(1, "blas"):
        scores = cross_val_score(LogisticRegression(), features, is_member, cv=folds)
    return float(scores.mean())


class Threshold(NamedTuple):
    """What `threshold_attack` achieves."""

    auc: float
    tpr_at_1fpr: float  # NaN of fewer than 100 non-members: 1 % allows none of them
    auc_null_sd: float  # of the AUC when members and non-members are alike


def threshold_attack(forget: np.ndarray, non_members: np.ndarray) -> Threshold:
    """Attacks by a threshold on the loss: the lower the loss, the more a member.

    Args: as `regression_attack`.

    Yeom et al., CSF 2018. The AUC where both are alike is 0.5 with standard
    deviation `sqrt((n + m + 1) / (12 n m))`; below 0.5 the forget set has *higher*
    losses than unseen data, a failure in the other direction.
    """
    from sklearn.metrics import roc_curve

    losses = np.concatenate([forget, non_members])
    if not (len(forget) and len(non_members)) or not np.isfinite(losses).all():
        return Threshold(*[float("nan")] * 3)
    scores = -losses
    is_member = np.repeat([1, 0], [len(forget), len(non_members)])
    fpr, tpr, _ = roc_curve(is_member, scores, drop_intermediate=False)
    n, m = len(forget), len(non_members)
    return Threshold(
        auc=float(np.trapezoid(tpr, fpr)),
        tpr_at_1fpr=float(tpr[fpr <= 0.01].max()) if m >= 100 else float("nan"),
        auc_null_sd=float(np.sqrt((n + m + 1) / (12 * n * m))),
    )


def modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Computes the modified entropy of each example, float64[N], in nats.

        Mentr = -(1 - p_y) log p_y - sum over i != y of p_i log(1 - p_i)

    Args:
      logits: float[N, K].
      labels: int[N].

    It is 0 for a sure and right answer, large for a sure wrong one.
    Song & Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models",
    USENIX Security 2021; give it to `threshold_attack` for its loss. Code that
    unlearning papers share takes log p_i in the place of log(1 - p_i), and the columns
    of all labels for every example.
    """
    return in_blocks(_modified_entropy, *check_labels(logits, labels))


def _modified_entropy(logits, labels):
    from scipy.special import log_softmax, softmax

    logits = logits.astype(np.float64)
    log_p, p = log_softmax(logits, axis=1), softmax(logits, axis=1)
    own = np.arange(p.shape[1]) == labels[:, None]
    log_rest = np.log1p(-np.where(own, 0, np.minimum(p, 1 - 1e-16)))
    right = -np.sum(np.where(own, (1 - p) * log_p, 0), axis=1)
    return right - np.sum(np.where(own, 0, p * log_rest), axis=1)


def spread(size: int, count: int) -> np.ndarray:
    """Spaces `count` indices evenly below `size`."""
    return np.linspace(0, size, count, endpoint=False).astype(int)
