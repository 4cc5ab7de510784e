"""What methods are tuned on: forget sets and seeds that no final table uses.

Constants that were chosen on the very request and seeds of a table fit their noise, and
the table flatters them. So a class is tuned on other classes, and a random request, or
one of given examples, on other random draws of the same size, without those given;
training seeds begin at `tune.first_seed`, beyond those of the tables.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unlearn import forget_sets
from unlearn.data.lookup import class_folder, class_numbers
from unlearn.data.splits import ForgetConfig
from unlearn.errors import InputError
from unlearn.pipeline.setup import Source, split_of

if TYPE_CHECKING:
    from ml_collections import ConfigDict

APART = 10_000
"""Added to `forget.seed`: the draws of tuning are its values from here on."""


class OtherRequest(NamedTuple):
    """A forget set to tune on."""

    name: str  # of its folder and in tuning.csv
    config: "ConfigDict"


def check_apart(config: "ConfigDict") -> None:
    """Refuses to tune on what a final table uses, as far as the config tells.

    Raises:
      InputError: in one line.
    """
    first = config.tune.first_seed
    if first < config.seeds:
        raise InputError(
            f"tune.first_seed must be at least {config.seeds}, as the tables use the "
            f"seeds before it; it is {first}"
        )
    if config.tune.classes and config.forget.kind not in ("class", "subclass"):
        raise InputError("tune.classes is for forget.kind=class and subclass")
    if config.forget.seed >= APART:
        raise InputError(
            f"forget.seed must be below {APART}, where the draws of tuning begin; it "
            f"is {config.forget.seed}"
        )


def other_requests(config: "ConfigDict", source: Source) -> list[OtherRequest]:
    """Returns `tune.draws` requests like that of the config, or `tune.classes`.

    Raises:
      InputError: a class that a final table forgets, or no other class is left.
    """
    check_apart(config)
    if ForgetConfig(**config.forget).whole_classes:
        return _of_classes(config, source.dataset.class_names, "class")
    if config.forget.kind == "subclass":
        return _of_classes(config, source.dataset.subclass_names, "subclass")
    others = [_apart(config, number) for number in range(config.tune.draws)]
    if ForgetConfig(**config.forget).by_id:
        _draw_among_the_others(others, config, source)
    return [OtherRequest(f"draw_{other.forget.seed}", other) for other in others]


def _draw_among_the_others(requests, config, source) -> None:
    """Sets each request to random examples, as many as are given, none of them."""
    dataset, parts = source.dataset, split_of(source, config)
    given = parts.train[parts.forget]
    others = np.setdiff1d(np.arange(len(dataset.train_labels)), given)
    grouped = dataset.train_groups is not None and config.forget.groups
    for request in requests:
        chosen = forget_sets.forget_random(
            dataset.train_labels[others],
            count=len(given),
            seed=request.forget.seed,
            groups=dataset.train_groups[others] if grouped else None,
        )
        ids = np.asarray(dataset.train_ids)[others[chosen]].tolist()
        nothing = dict(indices=(), file="", column="")
        request.forget.update(kind="ids", ids=tuple(ids), copies=False, **nothing)


def _of_classes(config, names, kind) -> list[OtherRequest]:
    """Classes or sub-classes that no table forgets: `tune.classes`, or the first."""
    second = kind == "subclass"
    word, field = ("sub-class", "subclasses") if second else ("class", "classes")
    swept = () if second else config.class_sweep.classes
    used = {
        number
        for classes in (config.forget[field], swept)
        for number in class_numbers(classes, names, word)
    }
    given = class_numbers(config.tune.classes, names, word)
    if taken := [str(names[number]) for number in given if number in used]:
        raise InputError(
            f"tune.classes has {', '.join(taken)}, which the tables forget: choose "
            f"others{', or leave them out of class_sweep.classes' if swept else ''}"
        )
    others = [number for number in range(len(names)) if number not in used]
    if not (given or others):
        raise InputError(
            f"every {word} is forgotten by a table, and none is left to tune on: leave "
            f"some out of {'forget.subclasses' if second else 'class_sweep.classes'}"
        )
    requests = []
    for number in given or others[: config.tune.draws]:
        other = _apart(config, 0)
        own = number if names[number] == str(number) else names[number]
        other.forget[field] = (own,)
        requests.append(OtherRequest(class_folder(number, names), other))
    return requests


def _apart(config, number):
    """A copy of the config with another draw of validation and forget set."""
    other = config.copy_and_resolve_references()
    other.forget.seed = config.forget.seed + APART + number
    return other
