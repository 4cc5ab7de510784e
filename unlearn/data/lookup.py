"""What a user names, looked up: ids become rows, names of classes become numbers."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.id_files import WHOLE, as_known

SHOWN = 5  # names of many in a message
COMPARED = 20_000  # names among which similar ones are looked for


class Found(NamedTuple):
    """What ids are of; each id once."""

    rows: np.ndarray  # int64[R], sorted: the training examples
    repeated: tuple[int | str, ...]  # ids that were given more than once
    unknown: tuple[int | str, ...]  # ids of nothing in the data set
    untrained: tuple[int | str, ...]  # ids of the test split


def find(wanted: ArrayLike, train_ids: ArrayLike, test_ids: ArrayLike = ()) -> Found:
    """Looks up ids, or a mask over row numbers, among those of a data set.

    Args:
      wanted: [F], whole numbers or text; or a mask bool[N], where ids are row numbers.
        Text is compared to the letter; two ways of writing an accent are the same.
      train_ids, test_ids: see `data.Dataset`.

    Raises:
      InputError: a mask where ids are no row numbers, or of another length; an id that
        several examples have.
    """
    train, test = (
        [_composed(name) for name in np.asarray(ids).tolist()]
        for ids in (train_ids, test_ids)
    )
    rows = {name: row for row, name in enumerate(train)}
    if len(rows) < len(train):
        twice = next(name for row, name in enumerate(train) if rows[name] != row)
        raise InputError(
            f"several examples have the id {twice!r}, so ids do not say which is "
            "meant: give each example an id of its own"
        )
    wanted = np.asarray(wanted)
    if wanted.dtype == bool:
        wanted = _of_mask(wanted, train, test)
    numbers = not train or isinstance(train[0], int)
    wanted = as_known(wanted.tolist(), [*train, *test])
    given = [_as_id(one, numbers) for one in wanted]
    once = dict.fromkeys(given)
    repeated = [one for one, times in Counter(given).items() if times > 1]
    held_out = set(test)
    return Found(
        rows=np.array(sorted(rows[one] for one in once if one in rows), np.int64),
        repeated=tuple(repeated),
        unknown=tuple(one for one in once if one not in rows and one not in held_out),
        untrained=tuple(one for one in once if one in held_out and one not in rows),
    )


def find_all(
    wanted: ArrayLike, train_ids: ArrayLike, test_ids: ArrayLike = ()
) -> Found:
    """Looks up ids as `find` does, all of which must be trained on.

    Raises:
      InputError: it names those that are not there or not trained on; or see `find`.
    """
    found = find(wanted, train_ids, test_ids)
    total = len(found.rows) + len(found.unknown) + len(found.untrained)
    if not total:
        raise InputError("the forget set is empty: nothing to forget")
    wrong = []
    if found.unknown:
        known = np.asarray(train_ids).tolist() + np.asarray(test_ids).tolist()
        wrong.append(
            f"ids to forget that are not in the data, {len(found.unknown)} of {total}: "
            f"{listed(found.unknown)} ({hint(found.unknown, known)})"
        )
    if found.untrained:
        wrong.append(
            f"ids in the test split, {len(found.untrained)} of {total}, which no model "
            f"is trained on: {listed(found.untrained)} (where a data set has no test "
            "split, a fifth of every class is taken as one)"
        )
    if wrong:
        raise InputError(f"{'; '.join(wrong)}: correct them, or leave them out")
    return found


def _of_mask(mask: np.ndarray, train: list, test: list) -> np.ndarray:
    """Returns the row numbers that a mask marks."""
    parts = [[n for n in ids if isinstance(n, int)] for ids in (train, test)]
    numbers = sorted(parts[0] + parts[1])
    in_order = all(part == sorted(part) for part in parts)
    if not numbers or numbers != list(range(len(numbers))) or not in_order:
        raise InputError(
            "a mask goes by row numbers, and the examples of this data set have names "
            "of their own: list the ids to forget"
        )
    if mask.shape != (len(numbers),):
        raise InputError(
            f"the mask has {mask.size} entries, but there are {len(numbers)} rows: "
            "give one entry a row"
        )
    return np.flatnonzero(mask)


def _as_id(name: int | str, numbers: bool) -> int | str:
    """Returns a name as the data set's ids are, if it is certain which it is."""
    if numbers:
        plain = isinstance(name, str) and WHOLE.fullmatch(name) and len(name) < 20
        return int(name) if plain else name
    return _composed(str(name))


def _composed(name: int | str) -> int | str:
    """Writes accents as most systems do: names of files from macOS have them apart."""
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


def listed(names: Sequence[int | str]) -> str:
    """Lists names in a line: the first few, and how many more there are."""
    more = len(names) - SHOWN
    shown = ", ".join(_shown(name) for name in names[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _shown(name: int | str) -> str:
    """Writes a name in a line; quoted if it has other than plain characters."""
    plain = isinstance(name, int) or (name.isprintable() and name and " " not in name)
    return str(name) if plain else repr(name)


def hint(unknown: Sequence[int | str], known: Sequence[int | str]) -> str:
    """Says what ids are like, or which are close to the unknown ones."""
    if not isinstance(known[0], int):
        close = [(name, _closest(str(name), known)) for name in unknown[:SHOWN]]
        pairs = [
            f"{_shown(other)} for {_shown(name)}" for name, other in close if other
        ]
        if pairs:
            return f"similar ids: {', '.join(pairs)}"
        return f"ids are like {_shown(known[0])}"
    numbers = [name for name in known if isinstance(name, int)]
    span = f"ids are whole numbers, {min(numbers)}..{max(numbers)}"
    if all(isinstance(name, int) for name in unknown):
        return span
    return f"{span}, written plainly: no sign, leading zeros, range or underscore"


def _closest(name: str, known: Sequence) -> str:
    """Finds an id that differs in case, folder or suffix only, else a similar one."""
    for like in (str.casefold, _stem):
        same = [other for other in known if like(str(other)) == like(name)]
        if len(same) == 1:
            return str(same[0])
    some = [str(other) for other in known[:COMPARED]]
    return next(iter(difflib.get_close_matches(name, some, 1)), "")


def _stem(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].partition(".")[0].casefold()


# Classes


def class_numbers(
    classes: Iterable[int | str], class_names: Sequence[str], word: str = "class"
) -> tuple[int, ...]:
    """Returns the numbers of classes given by name or by number, in their order.

    A name is taken to the letter. A number is the class of that number; but where all
    classes have numbers for names, such as 1 to 7, it is the class of that name. Where
    another class has the number in its name, such as `class_3`, it is refused. `word`
    is what messages call a class, such as `sub-class`.

    Raises:
      InputError: there is no such class, or it may be one of two.
    """
    names = [str(_composed(name)) for name in class_names]
    return tuple(_class_number(one, names, word) for one in classes)


def _class_number(given: int | str, names: list[str], word: str) -> int:
    if isinstance(given, str):
        given = str(_composed(given))
        if names.count(given) == 1:
            return names.index(given)
        if not WHOLE.fullmatch(given) or len(given) > 18:
            hint = _class_hint(given, names, word)
            raise InputError(f"there is no {word} {given!r}: {hint}")
        given = int(given)
    there = [i for i, name in enumerate(names) if _number_in(name) == given]
    if all(map(_is_number, names)):
        if len(there) == 1:
            return there[0]
        if there:
            both = " and ".join(repr(names[i]) for i in there)
            raise InputError(f"{word} {given} may be {both}: give the name, in quotes")
        raise InputError(f"there is no {word} {given}: the {word}es are {_span(names)}")
    if not 0 <= given < len(names):
        raise InputError(
            f"there is no {word} {given}: the {word}es are 0..{len(names) - 1}, "
            f"{listed(names)}"
        )
    if there and there != [given]:
        other = next(i for i in there if i != given)
        raise InputError(
            f"{word} {given} may be the one named {names[other]!r} or the one of "
            f"that number, {names[given]!r}: give it by name, in quotes"
        )
    return given


def _is_number(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdigit()


def _number_in(name: str) -> int | None:
    """Returns the one whole number in a name, such as 3 in `class_3` and `3.0`."""
    if _is_number(name):
        return int(name) if len(name) < 20 else None
    found = re.findall(r"([0-9]+)(?:\.0+(?![0-9]))?", name)
    return int(found[0]) if len(found) == 1 and len(found[0]) < 20 else None


def _span(names: Sequence[str]) -> str:
    plain = list(names) == [str(number) for number in range(len(names))]
    return f"0..{len(names) - 1}" if plain else listed(names)


def _class_hint(given: str, names: Sequence[str], word: str) -> str:
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(given.casefold(), folded, 1)
    hint = f"did you mean {folded[close[0]]!r}? " if close else ""
    return f"{hint}the {word}es are {listed(names)}"


def class_folder(number: int, class_names: Sequence[str]) -> str:
    """Names the folder of a run that forgets one class: `forget_7`, `forget_cat`."""
    return f"forget_{quote(class_names[number], safe=' ')}"


def class_label(number: int, class_names: Sequence[str], word: str = "class") -> str:
    """Writes a class as `class 2 ('cat')`; as `class 2` if that is its name."""
    name = class_names[number]
    return f"{word} {number}" if name == str(number) else f"{word} {number} ({name!r})"
