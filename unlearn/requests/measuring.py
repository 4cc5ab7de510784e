"""What can be measured of one request: before and after, and what it cannot show."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from unlearn import metrics
from unlearn.metrics.accuracy import losses
from unlearn.metrics.membership import spread, threshold_attack
from unlearn.requests.matching import Loaded
from unlearn.requests.resolve import TEST, TRAIN, Examples

LIMIT = 10_000  # retained examples, and test examples, that are measured
ENOUGH = 20  # examples from which the population attack says something
STEP = 500  # examples, of which predictions take whole batches
SHOWN = 12  # forgotten examples with a row of their own in the report


class Sets(NamedTuple):
    """Whom the models are asked about: indices into `Examples`."""

    forget: np.ndarray  # trained on, of this request, and still to be had
    retain: np.ndarray  # trained on, and stay
    test: np.ndarray  # never trained on, and stay


class Answers(NamedTuple):
    """Logits of the model before and of the one after, by name of the set."""

    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]


def sets_of(
    examples: Examples, loaded: Loaded, taken: np.ndarray, all_taken: np.ndarray
) -> Sets:
    """Chooses the sets of a request; `all_taken` are those of its whole batch."""
    stays = loaded.present.copy()
    stays[all_taken] = False
    parts = [np.flatnonzero(stays & (examples.split == s)) for s in (TRAIN, TEST)]
    parts = [part[spread(len(part), min(LIMIT, len(part)))] for part in parts]
    forget = taken[(examples.split[taken] == TRAIN) & loaded.present[taken]]
    return Sets(forget, *parts)


def ask(
    before: Callable[[np.ndarray], np.ndarray],
    after: Callable[[np.ndarray], np.ndarray],
    loaded: Loaded,
    sets: Sets,
) -> Answers:
    """Computes the logits of both models on all sets.

    Zeros fill them up to a multiple of `STEP`: most requests then need no compilation.
    """
    rows = np.concatenate(sets)
    filled = np.zeros((-(-len(rows) // STEP) * STEP, *loaded.rows.shape[1:]))
    filled = filled.astype(loaded.rows.dtype)
    filled[: len(rows)] = loaded.rows[rows]
    ends = np.cumsum([len(part) for part in sets])
    both = []
    for predict in (before, after):
        logits = predict(filled) if len(rows) else np.zeros((0, 1))
        parts = np.split(logits, ends)[:-1]
        both.append(dict(zip(Sets._fields, parts, strict=True)))
    return Answers(*both)


def measure(examples: Examples, sets: Sets, answers: Answers) -> dict:
    """Returns what the report says of a request.

    `accuracy`: of each set before and after; `losses`: of forgotten examples, with
    the percentile among the test examples of their classes; `attack`: the population
    attack, None for fewer examples than `ENOUGH`.
    """
    labels = {name: examples.labels[rows] for name, rows in sets._asdict().items()}
    accuracy = {
        name: {
            "examples": len(labels[name]),
            "before": _number(metrics.accuracy(answers.before[name], labels[name])),
            "after": _number(metrics.accuracy(answers.after[name], labels[name])),
        }
        for name in Sets._fields
    }
    same = np.isin(labels["test"], labels["forget"])
    same = same if same.sum() >= ENOUGH else np.ones_like(same)
    found = {"accuracy": accuracy, "losses": [], "attack": None}
    found["compared_with"] = int(same.sum())
    if not len(sets.forget) or not same.any():
        return found
    pairs = []
    for logits in answers:
        of_forget = losses(logits["forget"], labels["forget"])
        of_test = losses(logits["test"][same], labels["test"][same])
        pairs.append((of_forget, of_test))
    ranks = [
        100 * np.mean(others[None] <= own[:, None], axis=1) for own, others in pairs
    ]
    for place, index in enumerate(sets.forget[:SHOWN].tolist()):
        found["losses"].append(
            {
                "id": str(examples.ids[index]),
                "before": float(pairs[0][0][place]),
                "after": float(pairs[1][0][place]),
                "percentile_before": float(ranks[0][place]),
                "percentile_after": float(ranks[1][place]),
            }
        )
    found["mean_percentile"] = [float(rank.mean()) for rank in ranks]
    if min(len(sets.forget), same.sum()) >= ENOUGH:
        attacks = [threshold_attack(*pair) for pair in pairs]
        found["attack"] = {
            "before": attacks[0].auc,
            "after": attacks[1].auc,
            "null_sd": attacks[1].auc_null_sd,
        }
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
