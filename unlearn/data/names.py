"""What people call the splits of a data set."""

import re
from collections.abc import Iterable
from typing import TypeVar

from unlearn.errors import InputError

T = TypeVar("T")

TRAIN = ("train", "training")
HELD_OUT = (
    ("test", "testing", "tests"),
    ("holdout", "hold_out", "heldout", "held_out", "eval", "evaluation", "evaluate"),
    ("valid", "validation", "validate", "val", "dev", "development"),
)
"""By rank: the first there is becomes the test split."""

ALL = {*TRAIN, *(name for names in HELD_OUT for name in names)}


FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "img", "split"}
"""Words that go with the name of a split, as in `training_set`."""


def split_of(folder: str) -> str:
    """Returns the name of a folder without the words that go with one of a split."""
    words = [word for word in small(folder).split("_") if word not in FILLERS]
    core = "_".join(words) or small(folder)
    return core.removesuffix("set") if core.removesuffix("set") in ALL else core


def words_of(folder: str) -> tuple[bool, bool]:
    """Says whether a word in a folder's name is of training, or of a held-out split."""
    words = {split_of(word) for word in small(folder).split("_")}
    return bool(words & set(TRAIN)), any(rank(word) is not None for word in words)


def small(name: str) -> str:
    """Writes a name in small letters, with `_` for what joins words in it."""
    return re.sub(r"[\s./_-]+", "_", name.strip().lower())


def rank(name: str) -> int | None:
    """Returns the rank of a name of a held-out split, from 0; None if it is no such."""
    name = small(name)
    return next((i for i, names in enumerate(HELD_OUT) if name in names), None)


def choose(name: str, candidates: Iterable[str]) -> str | None:
    """Chooses the test split among names of held-out splits; None if there are none.

    Args:
      name: of the data set, for messages.
      candidates: each has a rank.

    Raises:
      InputError: there are two of the first rank.
    """
    ranked = sorted((rank(candidate) or 0, candidate) for candidate in candidates)
    if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
        raise InputError(
            f"{name}: {ranked[0][1]} and {ranked[1][1]} may both be the test split; "
            "rename or remove one"
        )
    return ranked[0][1] if ranked else None
