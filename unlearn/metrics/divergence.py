"""Distances between the outputs of two models on the same examples.

All take logits, float[N, K]. None has a floor that is a constant: two retrained models
differ as well. Show each beside its value for retrained against another retrained.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import rel_entr, softmax

from unlearn.errors import InputError
from unlearn.metrics.accuracy import in_blocks

__all__ = [
    "activation_distance",
    "agreement",
    "completeness",
    "jensen_shannon",
    "retrain_free_js",
    "zrf",
]


def jensen_shannon(p_logits: np.ndarray, q_logits: np.ndarray) -> np.ndarray:
    """Computes the Jensen-Shannon divergence of each example, float64[N] in [0, ln 2].

        JS = KL(p || m) / 2 + KL(q || m) / 2,  m = (p + q) / 2

    Args:
      p_logits, q_logits: float[N, K], of two models.

    In nats. Lin, IEEE Trans. Inf. Theory 1991. The code that unlearning papers share
    (Chundawat et al., AAAI 2023, https://arxiv.org/abs/2205.08096) computes KL(m || p)
    and divides by K, so the "JS" in their tables is not comparable.

    Raises:
      InputError: shapes differ or are not [N, K].
    """
    return by_example(js_of_probabilities, p_logits, q_logits)


def zrf(unlearned: np.ndarray, random_init: np.ndarray) -> float:
    """Computes Zero Retrain Forgetting: one minus the mean JS to an untrained model.

    Args:
      unlearned: float[F, K], logits of the forget set.
      random_init: float[F, K], the same of an untrained model.

    Chundawat et al., AAAI 2023, https://arxiv.org/abs/2205.08096. In nats and not
    divided by ln 2, hence in [1 - ln 2, 1] = [0.307, 1]; 1 is as random as untrained.
    More is not better: good is the ZRF of a retrained model, which is not near 1 where
    the forget set resembles what was retained. Published values are of another number
    (see `jensen_shannon`): nearer to 1 for soft outputs, without a bound below for
    sharp ones.

    Raises:
      InputError: as `jensen_shannon`, or no example.
    """
    return 1 - mean(jensen_shannon(unlearned, random_init))


def activation_distance(p_logits: np.ndarray, q_logits: np.ndarray) -> float:
    """Computes the mean Euclidean distance of the softmax outputs, in [0, sqrt(2)].

    Args:
      p_logits, q_logits: float[N, K], of an unlearned and the retrained model.

    Chundawat et al., AAAI 2023; Golatkar et al., CVPR 2020, take the L1 norm.

    Raises:
      InputError: as `zrf`.
    """

    def distance(p, q):
        return np.linalg.norm(p - q, axis=1)

    return mean(by_example(distance, p_logits, q_logits))


def agreement(p_logits: np.ndarray, q_logits: np.ndarray) -> float:
    """Computes the share of examples that both models put into one class, in [0, 1].

    Args: as `activation_distance`. Raises: as `zrf`.
    """

    def same(p, q):
        return p.argmax(axis=1) == q.argmax(axis=1)

    return mean(by_example(same, p_logits, q_logits))


def completeness(p_logits: np.ndarray, q_logits: np.ndarray) -> float:
    """Computes the Jaccard index of the outputs of two models, in [0, 1].

    The outputs of a model are the pairs (example, predicted class), so of N examples
    with `a` agreements it is `a / (2 N - a)`: `agreement`, rescaled.

    Args: as `activation_distance`.

    Cao & Yang, S&P 2015, name completeness; Nguyen et al., "A Survey of Machine
    Unlearning", https://arxiv.org/abs/2209.02299, measure it by the Jaccard index.

    Raises: as `zrf`.
    """
    share = agreement(p_logits, q_logits)
    return share / (2 - share)


def retrain_free_js(
    forget_logits: np.ndarray,
    forget_labels: np.ndarray,
    unseen_logits: np.ndarray,
    unseen_labels: np.ndarray,
) -> float:
    """Computes RF-JSD: JS of class-wise mean outputs, without a retrained model.

        mean over classes of JS(mean p_unlearned on the class's forgotten examples ||
                                mean p_original on the class's unseen examples)

    Args:
      forget_logits: float[F, K], of the unlearned model on the forget set.
      forget_labels: int[F].
      unseen_logits: float[U, K], of the *original* model on unseen examples.
      unseen_labels: int[U]; classes that are not in the forget set are left out.

    Spartalis et al., "LoTUS", CVPR 2025. In nats, in [0, ln 2]; the released code has
    KL reversed and divides by the number of classes once too often. Not for the
    forgetting of classes: the original model knows them.

    Raises:
      InputError: no example, or a forgotten class without unseen examples.
    """
    forget, unseen = (softmax_of(x) for x in (forget_logits, unseen_logits))
    classes = np.unique(forget_labels)
    missing = np.setdiff1d(classes, unseen_labels)
    if len(missing) or not len(classes):
        raise InputError(f"no unseen example of the forgotten classes {missing}")
    p, q = (
        np.stack([outputs[np.asarray(labels) == c].mean(axis=0) for c in classes])
        for outputs, labels in ((forget, forget_labels), (unseen, unseen_labels))
    )
    return mean(js_of_probabilities(p, q))


def js_of_probabilities(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Computes the Jensen-Shannon divergence of each row of two float[N, K]."""
    m = (p + q) / 2
    divergence = (rel_entr(p, m) + rel_entr(q, m)).sum(axis=1) / 2
    return np.clip(divergence, 0, np.log(2))  # rounding


def by_example(
    fn: Callable[[np.ndarray, np.ndarray], np.ndarray],
    p_logits: np.ndarray,
    q_logits: np.ndarray,
) -> np.ndarray:
    """Applies a function of the softmax outputs of two models, float[n, K], to [n].

    The examples come in blocks; the logits are checked to fit.
    """
    p_logits, q_logits = np.asarray(p_logits), np.asarray(q_logits)
    shapes = p_logits.shape, q_logits.shape
    if shapes[0] != shapes[1] or len(shapes[0]) != 2:
        raise InputError(f"logits of two models must be [N, K] alike: {shapes}")
    return in_blocks(lambda p, q: fn(softmax_of(p), softmax_of(q)), p_logits, q_logits)


def softmax_of(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax in float64."""
    return softmax(np.asarray(logits, np.float64), axis=1)


def mean(values: np.ndarray) -> float:
    """Computes the mean; refuses an empty set."""
    if not len(values):
        raise InputError("no example to compare the models on")
    return float(np.mean(values))
