"""Whose data is meant: ids of a request as examples of the deployment.

Nothing is guessed. An id is text or a whole number that names exactly one example as
deployed; one that names none stops the request, unless unknown ids are to be skipped.
"""

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unlearn import forget_sets
from unlearn.data import lookup
from unlearn.errors import InputError
from unlearn.id_files import as_known

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS = "train", "validation", "test"
LONGEST = 80  # characters of an id in a message


class Examples(NamedTuple):
    """Every example as it was deployed: `examples.npz`, which holds no pixels."""

    ids: np.ndarray  # [M], whole numbers or text
    labels: np.ndarray  # int32[M]
    split: np.ndarray  # int8[M]: TRAIN, VALIDATION or TEST
    group: np.ndarray  # int32[M]; -1: in no group
    sha256: np.ndarray  # text[M]: of the decoded example

    def of(self, split: int) -> np.ndarray:
        """Returns the indices of a split, in the order of the data set."""
        return np.flatnonzero(self.split == split)


class Resolved(NamedTuple):
    """What a request takes, as sorted indices into `Examples`, and what it does not."""

    named: np.ndarray  # by the request itself
    groups: np.ndarray  # of the same group as one of those
    copies: np.ndarray  # with the same content as one of those above
    unknown: tuple[str, ...]  # ids of nothing here
    gone: dict[str, int]  # ids that are erased already, by number of the request

    @property
    def taken(self) -> np.ndarray:
        return np.union1d(np.union1d(self.named, self.groups), self.copies)


def ids_of(ids: Iterable | str | Path, column: str = "") -> list[str]:
    """Returns the ids of a request as text, each once, in the order given.

    Args:
      ids: text and whole numbers, or the path of a file with them, see
        `forget_sets.read_ids`.
      column: of the file.

    Raises:
      InputError: there is none, or one is neither text nor a whole number.
    """
    if isinstance(ids, str | Path):
        ids = forget_sets.read_ids(ids, column)
    if isinstance(ids, bytes | bytearray | Mapping) or not isinstance(ids, Iterable):
        raise InputError(
            f"ids must be a list of ids, or the path of a file with them; this is "
            f"{ids!r:.80}"
        )
    found = []
    for one in np.asarray(ids).tolist() if isinstance(ids, np.ndarray) else ids:
        if isinstance(one, bool | np.bool_) or not isinstance(
            one, str | int | np.integer
        ):
            raise InputError(
                f"an id is text or a whole number; this request has {one!r:.80}: name "
                "the examples one by one"
            )
        found.append(spelled(one))
    if not found:
        raise InputError("the request names no id: nothing to erase")
    return list(dict.fromkeys(found))


def resolve(
    examples: Examples,
    ids: Sequence[str],
    erased: Mapping[int, int],
    *,
    keep_groups: bool = False,
    skip_unknown: bool = False,
) -> Resolved:
    """Finds what a request takes.

    Args:
      examples: as deployed.
      ids: of the request, as text.
      erased: the number of the request that took it, by index of the example.
      keep_groups: take the named ones alone, not the rest of their groups.
      skip_unknown: leave ids out that name nothing here.

    Raises:
      InputError: an id is unknown.
    """
    place = places(examples.ids)
    ids = list(dict.fromkeys(as_known(ids, place)))
    unknown = tuple(one for one in ids if one not in place)
    if unknown and not skip_unknown:
        raise InputError(_unknown(unknown, examples.ids))
    known = [one for one in ids if one in place]
    gone = {one: erased[place[one]] for one in known if place[one] in erased}
    named = np.array([place[one] for one in known if one not in gone], np.int64)
    left = np.ones(len(examples.ids), bool)
    left[list(erased)] = False
    taken = np.zeros(len(left), bool)
    taken[named] = True
    groups = np.zeros(0, np.int64)
    if not keep_groups:  # an earlier request may have kept them
        of_known = np.setdiff1d(examples.group[[place[one] for one in known]], [-1])
        groups = np.flatnonzero(np.isin(examples.group, of_known) & left & ~taken)
        taken[groups] = True
    same = np.isin(examples.sha256, np.unique(examples.sha256[taken]))
    copies = np.flatnonzero(same & left & ~taken)
    return Resolved(np.sort(named), groups, copies, unknown, gone)


def places(ids: np.ndarray) -> dict[str, int]:
    """Returns the index of each id, by `spelled`."""
    return {spelled(one): i for i, one in enumerate(ids.tolist())}


def spelled(one: int | str) -> str:
    """Returns an id as text, its accents as most systems write them."""
    return unicodedata.normalize("NFC", str(one))


def shortened(one: str) -> str:
    """Returns an id as a message shows it: the beginning of a long one."""
    return one if len(one) <= LONGEST else f"{one[: LONGEST - 3]}..."


def _unknown(unknown: Sequence[str], known: np.ndarray) -> str:
    numbers = not isinstance(known.tolist()[0], str)
    named = [
        int(x) if numbers and x.isdecimal() and len(x) < 20 else shortened(x)
        for x in unknown
    ]
    return (
        f"the request names {len(unknown)} unknown id{'s' * (len(unknown) > 1)}: "
        f"{lookup.listed(named)} ({lookup.hint(named, known.tolist())}): correct them, "
        "or leave unknown ones out (skip_unknown=True)"
    )


def salted_hash(salt: bytes, ids: Iterable[str]) -> str:
    """Returns the HMAC-SHA-256 of ids: whoever has no salt learns nothing of them."""
    return hmac.new(salt, json.dumps(list(ids)).encode(), hashlib.sha256).hexdigest()
