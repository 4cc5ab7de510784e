"""Forget sets that are harder than a random one, as index arrays; sequential requests.

Those that need shadow models take what a shadow study measured: `margins` float[S, T]
(logit-scaled confidences), and `states` int[S, T] (OUT, RETAIN, FORGET before
unlearning, so both RETAIN and FORGET were trained on).
"""

import numpy as np
from numpy.typing import ArrayLike

from unlearn.audit.shadow_models import measured
from unlearn.audit.studies import Study
from unlearn.errors import InputError
from unlearn.metrics.lira import OUT
from unlearn.pipeline import Run


def memorization(margins: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Returns float[T] in [-1, 1]: how much likelier being trained on makes the label.

        mem(x) = E[p_y(x) | trained with x] - E[p_y(x) | trained without x]

    Feldman & Zhang, NeurIPS 2020, https://arxiv.org/abs/2008.03703, with the
    probability of the label for the event of predicting it: less noise. Margins are
    those of the models before unlearning. NaN where one of the groups is empty.
    """
    probability = 1 / (1 + np.exp(-np.asarray(margins, np.float64)))
    with np.errstate(invalid="ignore"):
        trained, out = (
            np.where(group, probability, 0).sum(0) / group.sum(0)
            for group in (states != OUT, states == OUT)
        )
    return trained - out


def strata(scores: np.ndarray, parts: int = 3) -> np.ndarray:
    """Returns int[T] in [0, parts): groups of equal size, the lowest scores first."""
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
    return ranks * parts // len(ranks)


def worst_case(margins: np.ndarray, states: np.ndarray, count: int) -> np.ndarray:
    """Returns the positions of the targets that models without them are surest of.

    To forget them changes nothing for a retrained model, so unlearning that lowers
    their accuracy at all is wrong. Fan et al., "Challenging Forgets", ECCV 2024,
    https://arxiv.org/abs/2403.07362, find such sets by bi-level optimisation; here
    shadow models show them.
    """
    check_count(count, states.shape[1])
    out = states == OUT
    mean = np.where(out, margins, 0).sum(0) / np.maximum(out.sum(0), 1)
    return np.argsort(-mean, kind="stable")[:count]


def confused_pair(
    labels: ArrayLike, first: int, second: int, *, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `(labels, forget)`: `count` examples of two classes, labels exchanged.

    The forget set is what was relabelled. Goel et al., "Towards Adversarial Evaluations
    for Inexact Machine Unlearning", https://arxiv.org/abs/2201.06640.

    Raises:
      InputError: equal classes, or one with fewer examples.
    """
    labels = np.array(labels)
    if first == second:
        raise InputError(f"two different classes are needed, not {first} twice")
    draw, chosen = np.random.default_rng(seed), {}
    for own, other in ((first, second), (second, first)):
        members = np.flatnonzero(labels == own)
        if not 0 < count <= len(members):
            raise InputError(f"class {own} has {len(members)} examples, not {count}")
        chosen[other] = draw.choice(members, count, replace=False)
    for other, members in chosen.items():
        labels[members] = other
    return labels, np.sort(np.concatenate(list(chosen.values())))


def sequential_requests(
    size: int, *, requests: int = 10, fraction: float = 0.01, seed: int = 0
) -> np.ndarray:
    """Draws int[Q, F]: requests one after another, without overlap.

    Raises:
      InputError: a request would be empty, or nothing would be left.
    """
    count = round(fraction * size)
    if count < 1 or requests < 1 or requests * count >= size:
        raise InputError(
            f"{requests} requests of {count} of {size} examples: each needs one, and "
            "something must be left"
        )
    order = np.random.default_rng(seed).permutation(size)
    return order[: requests * count].reshape(requests, count)


def check_count(count: int, size: int) -> None:
    if not 0 < count <= size:
        raise InputError(f"a forget set of 1..{size} targets is needed, not {count}")


def harder_sets(run: Run, shadow: Study, stress: Study | None) -> dict[str, tuple]:
    """Returns `{name: (forget indices int[F], labels or None)}`, all of one size.

    They come from the original models of the shadow study and its targets, the
    mislabelled ones from the stress study. The size is `audit.harder.count`, or less if
    there are fewer. What moves other examples most (Georgiev et al.,
    https://arxiv.org/abs/2410.23232) is not among them: with 128 models two halves of
    the models agreed on 11 of 60 targets, where chance gives 16.
    """
    config, problem = run.config.audit, run.alone
    states, _ = shadow.roles()
    before = measured(shadow, "original").margins[:, shadow.sets["targets"]]
    order = np.argsort(np.nan_to_num(memorization(before, states)), kind="stable")
    labels, targets = np.asarray(problem.labels), shadow.targets
    classes, counts = np.unique(labels, return_counts=True)
    pair = classes[np.argsort(-counts, kind="stable")[:2]]
    members = int(np.sort(counts)[-2])
    count = min(config.harder.count, len(targets) // 2, 2 * members)
    count = count if stress is None else min(count, len(stress.targets))
    count -= count % 2
    if count < 2:
        raise InputError("audit.harder.count is too small, or there are few targets")
    draw = np.random.default_rng(config.seed)
    exchanged, confused = confused_pair(
        labels, *pair, count=count // 2, seed=config.seed
    )
    sets = {
        "random": (draw.choice(len(labels), count, replace=False), None),
        "not memorised": (targets[order[:count]], None),
        "memorised": (targets[order[-count:]], None),
        "worst case": (targets[worst_case(before, states, count)], None),
        "confused pair": (confused, exchanged),
    }
    if stress is not None:
        sets["mislabelled"] = (
            stress.targets[:count],
            np.asarray(stress.problem.labels),
        )
    return sets
