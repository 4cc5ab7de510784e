"""The sets of a run: which examples are trained on, held out, forgotten, retained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn import forget_sets
from unlearn.data.lookup import class_label, class_numbers, find_all, listed
from unlearn.data.relations import copies, joined, with_others
from unlearn.data.split_notes import copy_lines, count_copies, drawn_notes
from unlearn.errors import InputError, counted

__all__ = ["DataConfig", "ForgetConfig", "Sets", "Split", "copies", "split"]


RESIDENT = {"auto": None, "True": True, "False": False}


class DataConfig(NamedTuple):
    """The section `data` of a config."""

    name: str = "digits"  # as `unlearn.data.load` takes it
    validation: float = 0.1  # share of the training split held out to choose constants
    examples: int = 0  # 0, or how many random training examples are used
    flip: bool = False  # this and the next four augment the training
    alternate_flip: bool = False  # with flip: each image in every other epoch
    crop: int = 0  # pixels
    rotate: float = 0.0  # degrees
    jitter: float = 0.0
    resident: str = "auto"  # or "True"; "False": examples stay in their file
    image_size: int = 0  # 0, or the side that images of differing sizes are resized to
    mean: tuple[float, ...] = ()  # of pixels in [0, 1], one or a channel; (): the set's
    std: tuple[float, ...] = ()

    def check(self) -> None:
        """Raises `InputError` for what can be known before the data is there."""
        if not 0 <= self.validation < 1:
            raise InputError(
                f"data.validation must lie in [0, 1); it is {self.validation}"
            )
        if self.alternate_flip and not self.flip:
            raise InputError(
                "data.alternate_flip is a way to flip: set data.flip=True as well"
            )
        if self.resident not in RESIDENT:
            raise InputError(
                f"data.resident must be auto, True or False; it is {self.resident!r}"
            )
        for name in ("mean", "std"):
            if not all(type(one) in (int, float) for one in getattr(self, name)):
                raise InputError(
                    f"data.{name} must be numbers; it is {getattr(self, name)}"
                )
        for name in ("examples", "image_size"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"data.{name} must be 0 or more; it is {getattr(self, name)}"
                )


class ForgetConfig(NamedTuple):
    """The section `forget` of a config: what is to be forgotten.

    Ids are the user's own names of the examples, see `data.Dataset`: row numbers of
    their file, file names in their folder, and so on.
    """

    kind: str = "random"  # or class, subclass or ids
    fraction: float = 0.1  # of the training set (kind random), unless count is given
    count: int = 0
    classes: tuple[int | str, ...] = ()  # kind class: numbers or names
    subclasses: tuple[int | str, ...] = ()  # kind subclass: of the second label
    class_fraction: float = 1.0  # of each of the classes, or sub-classes
    ids: tuple[int | str, ...] = ()  # kind ids: numbers or text; or a file of them
    indices: tuple[int | str, ...] = ()  # the same, by its older name
    file: str = ""  # see `forget_sets.read_ids`
    column: str = ""  # of that file, if it has several
    groups: bool = True  # forget whole groups, where these are known
    copies: bool = True  # kind ids: forget exact copies with those given
    seed: int = 0

    def check(self) -> None:
        """Raises `InputError` for what can be known before the data is there."""
        given = {
            "class": ("classes",),
            "subclass": ("subclasses",),
            "ids": ("ids", "indices", "file"),
        }
        own = "ids" if self.by_id else self.kind
        if own not in ("random", *given):
            raise InputError(
                f"unknown forget.kind {self.kind!r}: random, class, subclass or ids"
            )
        for kind, names in given.items():
            for name in names:
                if getattr(self, name) and kind != own:
                    raise InputError(
                        f"forget.{name} is given, but forget.kind is {self.kind!r}: "
                        f"set forget.kind={kind}, or empty forget.{name}"
                    )
        if self.count and own != "random":
            raise InputError(
                f"forget.count is of forget.kind=random, and it is {self.kind!r}: set "
                "forget.count=0; a part of classes is forget.class_fraction"
            )
        if self.class_fraction != 1 and own not in ("class", "subclass"):
            raise InputError(
                f"forget.class_fraction is of classes, and forget.kind is "
                f"{self.kind!r}: set forget.class_fraction=1"
            )
        if sum(bool(getattr(self, name)) for name in given["ids"]) > 1:
            raise InputError("give forget.ids or forget.file, not both")
        if self.column and not self.file:
            raise InputError("forget.column is of a file: give forget.file as well")
        for name in ("classes", "subclasses", "ids", "indices"):
            if not all(type(one) in (int, str) for one in getattr(self, name)):
                raise InputError(
                    f"forget.{name} must be whole numbers or names; they are "
                    f"{getattr(self, name)}"
                )
        if self.kind == "class" and not self.classes:
            raise InputError(
                "forget.kind=class needs classes, such as forget.classes=7,"
            )
        if self.kind == "subclass" and not self.subclasses:
            raise InputError(
                "forget.kind=subclass needs sub-classes, such as "
                "forget.subclasses=rocket,"
            )
        if own == "ids" and not any(getattr(self, name) for name in given["ids"]):
            raise InputError(
                f"forget.kind={self.kind} needs ids: give forget.ids, such as "
                "forget.ids=7, or forget.file"
            )
        for name in ("count", "seed"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"forget.{name} must not be negative; it is {getattr(self, name)}"
                )

    @property
    def by_id(self) -> bool:
        """Says whether examples are given one by one."""
        return self.kind in ("ids", "indices")

    @property
    def whole_classes(self) -> bool:
        """Says whether classes are forgotten as a whole."""
        return self.kind == "class" and self.class_fraction == 1

    def wanted(self) -> np.ndarray:
        """Returns the ids given, [F] numbers or text or a mask: see `read_ids`."""
        if self.file:
            return forget_sets.read_ids(self.file, self.column)
        ids = self.ids or self.indices
        kind = object if all(type(one) is int for one in ids) else np.str_
        return np.array(ids, kind)


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
    if data.validation and not len(validation):
        notes.append(f"No validation set: no whole group fits in {data.validation:g}")
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
    if more := len(rows) - len(grouped):
        notes.append(
            f"{more} more are exact copies and go along; forget.copies=False keeps to "
            "those given"
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
      units: int[N], equal for examples that are held out together or not at all; those
        are that come first in the draw and fit in whole.
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
    by_draw = np.argsort(first)
    fit = by_draw[np.cumsum(sizes[by_draw]) <= count]
    return np.sort(order[np.isin(unit, fit)])


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
