"""Was a class in the training set? Told by the classes that its examples are taken for.

A model that never saw a class takes its examples for the nearest classes. An unlearned
model puts them where its method drove them, often onto classes that have nothing to do
with them, or it still prefers the forgotten one. Ebrahimpour-Boroojeny et al., "On the
Necessity of Output Distribution Reweighting for Effective Class Unlearning",
https://arxiv.org/abs/2506.20893, whose MIA-NN attacks by the probabilities of neighbour
classes. Re-expressed here from that idea, so values are not those of the paper:

- `told_apart`: unlearned models against retrained ones, each by how it shares out the
  examples of the class. Where nothing is told it is 0.5 with a standard deviation of
  .27 of 6 models of each kind, .13 of 24: half as much again as of independent pairs.
  The floor is a second group of retrained models.
- `neighbour_margins`: a score an example, of one model, to tell examples of the class
  that were trained with from others (`membership.threshold_attack`).
"""

import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError

__all__ = [
    "answer_shares",
    "nearest_class",
    "neighbour_margins",
    "told_apart",
    "total_variation",
]

LEAST = 6  # models of each group


def answer_shares(predictions: ArrayLike, classes: int) -> np.ndarray:
    """Computes how each model shares out the examples of a class: float64[S, K].

    Args:
      predictions: int[S, F], classes that S models answer to F examples of one class.
      classes: K.
    """
    predictions = np.asarray(predictions)
    hits = predictions[..., None] == np.arange(classes)
    return hits.mean(axis=1)


def nearest_class(retrained: np.ndarray, forgotten: int) -> int:
    """Finds the class that retrained models take a forgotten one for most often.

    Args:
      retrained: float[S, K], `answer_shares` of models that never saw the class.
      forgotten: the class.
    """
    shares = np.mean(retrained, axis=0)
    shares[forgotten] = -1
    return int(np.argmax(shares))


def total_variation(shares: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Computes the distance of each model to the mean of retrained ones: float64[S].

    Half the L1 distance of `answer_shares` [S, K]: 0 for the same shares, 1 where not
    one example is shared out alike.
    """
    return 0.5 * np.abs(shares - np.mean(retrained, axis=0)).sum(axis=1)


def told_apart(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """Computes the AUC of an attack on whole models: unlearned or retrained?

    Logistic regression on `answer_shares` [S, K] of each group, tested on models that
    it was not trained on: the mean over five folds.

    Raises:
      InputError: fewer than 6 models in a group.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    if min(len(unlearned), len(retrained)) < LEAST:
        raise InputError(
            f"told_apart needs {LEAST} models of each group; there are "
            f"{len(unlearned)} and {len(retrained)}"
        )
    features = np.concatenate([unlearned, retrained])
    groups = np.repeat([1, 0], [len(unlearned), len(retrained)])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    attack = LogisticRegression(C=100.0, max_iter=1000)
    scores = cross_val_score(attack, features, groups, cv=folds, scoring="roc_auc")
    return float(scores.mean())


def neighbour_margins(logits: ArrayLike, forgotten: int, nearest: int) -> np.ndarray:
    """Computes how much an example is taken for the nearest class: float64[N].

        z_nearest - log sum of exp(z) over the classes but these two

    The forgotten class is left out, so that a model which only never answers with it is
    judged by what it answers then.

    Args:
      logits: float[N, K], K of 3 or more.
      forgotten, nearest: two classes.

    Raises:
      InputError: fewer than three classes, or the same class twice.
    """
    from scipy.special import logsumexp

    logits = np.asarray(logits, np.float64)
    if logits.shape[-1] < 3 or forgotten == nearest:
        raise InputError("neighbours need three classes, the two given not the same")
    others = np.delete(logits, [forgotten, nearest], axis=1)
    return logits[:, nearest] - logsumexp(others, axis=1)
