"""The sets of a run: which examples are trained on, held out, forgotten, retained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn import forget_sets
from unlearn.data.lookup import class_label, class_numbers, find_all, listed
from unlearn.data.relations import copies, joined, with_others
from unlearn.data.sections import RESIDENT, DataConfig, ForgetConfig
from unlearn.data.split_notes import (
    copy_lines,
    count_copies,
    drawn_notes,
    validation_notes,
)
from unlearn.errors import InputError, counted

__all__ = [
    "RESIDENT",
    "DataConfig",
    "ForgetConfig",
    "Sets",
    "Split",
    "copies",
    "hold_out",
    "split",
]


class Named(NamedTuple):
    """What the forget set is drawn by: classes, or sub-classes."""

    word: str
    labels: np.ndarray  # int[N]
    names: Sequence[str]
    wanted: Sequence[int | str]


class Split(NamedTuple):
    """Indices into the data set's training split."""

    train: np.ndarray
    validation: np.ndarray
    forget: np.ndarray  # positions in `train`
    classes: tuple[int, ...]  # forgotten as a whole
    copies: Mapping[str, int]  # forgotten examples with an exact copy, by its set
    notes: tuple[str, ...]  # what is forgotten, and what goes along or does not


class Sets(NamedTuple):
    """Labels and sets of a run, the same for every model."""

    train_labels: np.ndarray  # int[N]
    test_labels: np.ndarray  # int[T]
    forget: np.ndarray  # int[F], indices into the training set
    retain: np.ndarray  # int[R], indices into the training set
    class_names: tuple[str, ...]
    forget_classes: tuple[int, ...]  # those forgotten as a whole
    title: str  # of the run, for figures
    copies: tuple[str, ...] = ()  # lines on exact copies of what is forgotten


def split(
    labels: np.ndarray,
    num_classes: int,
    data: DataConfig,
    request: ForgetConfig,
    groups: np.ndarray | None = None,
    *,
    ids: ArrayLike | None = None,
    test_ids: ArrayLike = (),
    class_names: Sequence[str] = (),
    same: tuple[np.ndarray, np.ndarray] | None = None,
    subclasses: np.ndarray | None = None,
    subclass_names: Sequence[str] = (),
) -> Split:
    """Draws the validation and the forget set; a given forget set is never held out.

    Args:
      labels: int[N] of the training split.
      groups: int[N] or None: of one group all examples are held out, or none is; and
        all are forgotten, or none is, see `ForgetConfig.groups`.
      ids: [N], the user's own of each example; default: 0..N-1.
      test_ids: [T], those of the test split.
      class_names: default: 0..K-1.
      same: which examples of training and test split are exact copies, see `copies`.
      subclasses, subclass_names: a second label, int[N], if the data has one. Its
        classes are forgotten as parts of classes are: the other examples of their
        groups go along, and the class itself stays.

    Raises:
      InputError: an id is unknown or not trained on, or a class is unknown; see
        `forget_sets`; nothing would be left to retain, or one class.
    """
    data.check()
    request.check()
    labels, names = np.asarray(labels), class_names or range(num_classes)
    names = tuple(map(str, names))
    named = Named("class", labels, names, request.classes)
    if request.kind == "subclass":
        if subclasses is None:
            raise InputError(
                "forget.kind=subclass needs data with a second label, which this has "
                "not: `unlearn.data.load` says how one is given"
            )
        named = Named("sub-class", subclasses, subclass_names, request.subclasses)
    classes = class_numbers(named.wanted, named.names, named.word)
    content = None if same is None else same[0]
    given, notes = np.zeros(0, np.int64), []
    if request.by_id:
        ids = np.arange(len(labels)) if ids is None else ids
        given, notes = given_rows(request, ids, test_ids, groups, content)
    units = joined(len(labels), groups, content)
    validation = hold_out(len(labels), given, data.validation, units, request.seed)
    train = np.setdiff1d(np.arange(len(labels)), validation)
    if data.examples:
        train = subsample(train, given, data.examples, request.seed)
    if not request.by_id:
        given = draw(named, train, request, classes, groups)
        whole = groups if request.groups or request.whole_classes else None
        notes = drawn_notes(
            given, train, named.labels, classes, named.names, whole, named.word
        )
    check_retained(labels[np.setdiff1d(train, given)], names)
    notes += validation_notes(len(validation), round(data.validation * len(labels)))
    sets = {"retain": np.setdiff1d(train, given), "validation": validation}
    there = count_copies(given, sets, same) if same else {}
    return Split(
        train=train,
        validation=validation,
        forget=np.searchsorted(train, given).astype(np.int32),
        classes=tuple(sorted(set(classes))) if request.whole_classes else (),
        copies=there,
        notes=(*notes, *copy_lines(there)),
    )


def given_rows(
    request: ForgetConfig,
    ids: ArrayLike,
    test_ids: ArrayLike,
    groups: np.ndarray | None,
    content: np.ndarray | None,
) -> tuple[np.ndarray, list[str]]:
    """Finds the examples given by id, and those that go along; says which, in lines.

    Raises:
      InputError: an id is unknown or not trained on; nothing would be left.
    """
    ids = np.asarray(ids)
    found = find_all(request.wanted(), ids, test_ids)
    named = ids[found.rows].tolist()
    notes = [f"Forgetting {counted(len(named), 'example')}: {listed(named)}"]
    if found.repeated:
        notes.append(f"Given more than once: {listed(found.repeated)}")
    groups = groups if request.groups else None
    grouped = with_others(found.rows, groups)
    rows = with_others(found.rows, groups, content if request.copies else None)
    if more := len(grouped) - len(found.rows):
        notes.append(
            f"{more} more of the same groups go along; forget.groups=False keeps to "
            "those given"
        )
    others = np.setdiff1d(rows, grouped)
    same = np.zeros(len(others), bool)
    if len(others) and content is not None:
        same = np.isin(content[others], content[grouped])
    if more := int(same.sum()):
        notes.append(
            f"{more} more are exact copies and go along; forget.copies=False keeps to "
            "those given"
        )
    if more := int((~same).sum()):
        notes.append(
            f"{more} more of the groups of those copies go along; forget.groups=False "
            "leaves out all groups, forget.copies=False copies and their groups"
        )
    return forget_sets.check_forget_indices(rows, len(ids)).astype(np.int64), notes


def draw(
    named: Named,
    train: np.ndarray,
    request: ForgetConfig,
    classes: Sequence[int],
    groups: np.ndarray | None,
) -> np.ndarray:
    """Draws the forget set of all kinds but `ids` from `train`; sorted.

    Of part of a class, and of a sub-class, the rest of each group goes along. A whole
    class is itself only.

    Raises:
      InputError: see `forget_sets`.
    """
    groups = groups[train] if groups is not None and request.groups else None
    if request.kind == "random":
        chosen = forget_sets.forget_random(
            named.labels[train],
            fraction=0.0 if request.count else request.fraction,
            count=request.count,
            seed=request.seed,
            groups=groups,
        )
        return train[chosen]
    if request.class_fraction < 1:
        _check_part(named, train, classes, request.class_fraction)
    chosen = forget_sets.forget_class(
        named.labels[train],
        classes,
        num_classes=len(named.names),
        fraction=request.class_fraction,
        seed=request.seed,
        groups=groups,
        word=named.word,
    )
    if not request.whole_classes:
        chosen = with_others(chosen, groups)
    return train[chosen]


def _check_part(
    named: Named, train: np.ndarray, classes: Sequence[int], share: float
) -> None:
    """Refuses a part of a class that rounds to all of it."""
    for one in sorted(set(classes)):
        size = int(np.sum(named.labels[train] == one))
        if 0 < size <= max(1, round(share * size)):
            raise InputError(
                f"forget.class_fraction={share:g} of {counted(size, 'example')} of "
                f"{class_label(one, named.names, named.word)} is all of them: set it "
                "to 1, or lower"
            )


def check_retained(labels: np.ndarray, names: Sequence[str]) -> None:
    """Refuses a retain set, by its labels, that has fewer than two classes."""
    left = np.unique(labels)
    if len(left) == 1:
        raise InputError(
            f"only {class_label(left[0], names)} would be left to retain, and a "
            "classifier needs two classes: forget fewer"
        )
    if not len(left):
        raise InputError("the forget set is the whole training set: nothing to retain")


def hold_out(
    size: int, given: np.ndarray, share: float, units: np.ndarray, seed: int
) -> np.ndarray:
    """Draws the validation set, sorted: none of `given`, nor of a unit of theirs.

    Args:
      units: int[N], equal for examples that are held out together or not at all; each
        that is drawn is held out if it fits in whole.
    """
    count = round(share * size)
    free = np.setdiff1d(np.arange(size), given)
    free = free[~np.isin(units[free], units[given])]
    if count >= len(free):
        raise InputError(
            f"{len(given)} examples to forget and {count} held out for validation "
            "leave nothing to retain: forget fewer, or lower data.validation"
        )
    order = np.random.default_rng([seed, 1]).permutation(free)
    _, first, unit, sizes = np.unique(
        units[order], return_index=True, return_inverse=True, return_counts=True
    )
    held_out, room = np.zeros(len(sizes), bool), count
    for one in np.argsort(first):
        if not room:
            break
        if sizes[one] <= room:
            held_out[one], room = True, room - sizes[one]
    return np.sort(order[held_out[unit]])


def subsample(
    train: np.ndarray, given: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Draws `count` of the training examples, with all that are to be forgotten."""
    if not len(given) < count <= len(train):
        raise InputError(
            f"data.examples must lie in {len(given) + 1}..{len(train)}, more than the "
            f"examples to forget; it is {count}"
        )
    others = np.setdiff1d(train, given)
    draw = np.random.default_rng([seed, 2])
    return np.union1d(given, draw.choice(others, count - len(given), replace=False))
