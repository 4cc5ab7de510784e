"""The sections `data` and `forget` of a config, and what they must be."""

from typing import NamedTuple

import numpy as np

from unlearn import forget_sets
from unlearn.data.dataset import check_constants
from unlearn.errors import InputError

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
            check_constants(name, getattr(self, name))
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
        usual = self._field_defaults["fraction"]
        if self.fraction != usual and own != "random":
            part = (
                "" if own == "ids" else "; a part of classes is forget.class_fraction"
            )
            raise InputError(
                f"forget.fraction is of forget.kind=random, and it is {self.kind!r}: "
                f"set forget.fraction={usual}, as it is by default{part}"
            )
        if not 0 < self.class_fraction <= 1:
            raise InputError(
                "forget.class_fraction must lie in (0, 1]; it is "
                f"{self.class_fraction:g}"
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
