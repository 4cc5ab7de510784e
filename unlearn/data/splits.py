"""The sets of a run: which examples are trained on, held out, forgotten, retained."""

from typing import NamedTuple

import numpy as np

from unlearn import forget_sets
from unlearn.errors import InputError


class DataConfig(NamedTuple):
    """The section `data` of a config."""

    name: str = "digits"  # as `unlearn.data.load` takes it
    validation: float = 0.1  # share of the training split held out to choose constants
    examples: int = 0  # 0, or how many random training examples are used
    flip: bool = False  # this and the next three augment the training
    crop: int = 0  # pixels
    rotate: float = 0.0  # degrees
    jitter: float = 0.0
    image_size: int = 0  # 0, or the side that images of differing sizes are resized to

    def check(self) -> None:
        """Raises `InputError` for what can be known before the data is there."""
        if not 0 <= self.validation < 1:
            raise InputError(
                f"data.validation must lie in [0, 1); it is {self.validation}"
            )
        for name in ("examples", "image_size"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"data.{name} must be 0 or more; it is {getattr(self, name)}"
                )


class ForgetConfig(NamedTuple):
    """The section `forget` of a config: what is to be forgotten."""

    kind: str = "random"  # or class, or indices
    fraction: float = 0.1  # of the training set (kind random), unless count is given
    count: int = 0
    classes: tuple[int, ...] = ()  # kind class
    class_fraction: float = 1.0  # of each of the classes
    indices: tuple[int, ...] = ()  # kind indices: into the training split, or a file
    file: str = ""
    seed: int = 0

    def check(self) -> None:
        """Raises `InputError` for what can be known before the data is there."""
        settings = {"random": (), "class": ("classes",), "indices": ("indices", "file")}
        if self.kind not in settings:
            raise InputError(
                f"unknown forget.kind {self.kind!r}: random, class or indices"
            )
        for kind, names in settings.items():
            for name in names:
                if getattr(self, name) and self.kind != kind:
                    raise InputError(
                        f"forget.{name} is given, but forget.kind is {self.kind!r}: "
                        f"set forget.kind={kind}, or empty forget.{name}"
                    )
        if self.indices and self.file:
            raise InputError("give forget.indices or forget.file, not both")
        if not all(type(c) is int for c in self.classes):
            raise InputError(f"forget.classes must be numbers; they are {self.classes}")
        if self.kind == "class" and not self.classes:
            raise InputError(
                "forget.kind=class needs classes, such as forget.classes=7,"
            )
        for name in ("count", "seed"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"forget.{name} must not be negative; it is {getattr(self, name)}"
                )

    @property
    def whole_classes(self) -> bool:
        return self.kind == "class" and self.class_fraction == 1


class Split(NamedTuple):
    """Indices into the data set's training split."""

    train: np.ndarray
    validation: np.ndarray
    forget: np.ndarray  # positions in `train`
    classes: tuple[int, ...]  # forgotten as a whole


class Sets(NamedTuple):
    """Labels and sets of a run, the same for every model."""

    train_labels: np.ndarray  # int[N]
    test_labels: np.ndarray  # int[T]
    forget: np.ndarray  # int[F], indices into the training set
    retain: np.ndarray  # int[R], indices into the training set
    class_names: tuple[str, ...]
    forget_classes: tuple[int, ...]  # those forgotten as a whole
    title: str  # of the run, for figures


def split(
    labels: np.ndarray,
    num_classes: int,
    data: DataConfig,
    request: ForgetConfig,
    groups: np.ndarray | None = None,
) -> Split:
    """Draws the validation and the forget set; a given forget set is never held out.

    Args:
      labels: int[N] of the training split.
      groups: int[N] or None: examples of one group are all held out, or none is.

    Raises:
      InputError: see `forget_sets`; nothing would be left to retain.
    """
    data.check()
    request.check()
    given = np.zeros(0, np.int32)
    if request.kind == "indices":
        given = (
            forget_sets.read_indices(request.file)
            if request.file
            else list(request.indices)
        )
        given = forget_sets.check_forget_indices(given, len(labels))
    validation = hold_out(len(labels), given, data.validation, groups, request.seed)
    train = np.setdiff1d(np.arange(len(labels)), validation)
    if data.examples:
        train = subsample(train, given, data.examples, request.seed)
    if request.kind == "indices":
        chosen = np.searchsorted(train, given)
    elif request.kind == "random":
        chosen = forget_sets.forget_random(
            labels[train],
            fraction=0.0 if request.count else request.fraction,
            count=request.count,
            seed=request.seed,
        )
    else:
        chosen = forget_sets.forget_class(
            labels[train],
            request.classes,
            num_classes=num_classes,
            fraction=request.class_fraction,
            seed=request.seed,
        )
    classes = tuple(sorted(set(request.classes))) if request.whole_classes else ()
    return Split(train, validation, chosen.astype(np.int32), classes)


def hold_out(
    size: int, given: np.ndarray, share: float, groups: np.ndarray | None, seed: int
) -> np.ndarray:
    """Draws the validation set, sorted: none of `given`, nor of a group of theirs.

    With groups: those that come first in the draw and fit in whole.
    """
    count = round(share * size)
    free = np.setdiff1d(np.arange(size), given)
    if groups is not None:
        free = free[~np.isin(groups[free], groups[given])]
    if count >= len(free):
        raise InputError(
            f"{len(given)} examples to forget and {count} held out for validation "
            "leave nothing to retain: forget fewer, or lower data.validation"
        )
    order = np.random.default_rng([seed, 1]).permutation(free)
    if groups is None:
        return np.sort(order[:count])
    _, first, group, sizes = np.unique(
        groups[order], return_index=True, return_inverse=True, return_counts=True
    )
    by_draw = np.argsort(first)
    fit = by_draw[np.cumsum(sizes[by_draw]) <= count]
    return np.sort(order[np.isin(group, fit)])


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
