"""The ids of examples of tensorflow-datasets: which feature names them, if any."""

from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.data.ids import apart, check_ids
from unlearn.errors import InputError

IDS = ("image_id", "id", "file_name")  # features that may name an example


def choose_ids(
    name: str, columns: Sequence[Mapping[str, list]]
) -> tuple[list[np.ndarray], list[str]]:
    """Returns the ids of each split, none for row numbers, and notes.

    A feature of `IDS` that tells all examples apart names them. Else one that tells
    those for training apart names these, and the others are `test/` and what it says.
    If there are such features and none does even that, rows are `row/0`, `row/1`, ... :
    plain numbers could be taken for what a feature says of other examples.

    Args:
      columns: values of features, [N], of the training and, if any, of the test split.
    """
    checked, faults = {}, {}
    for key in (key for key in IDS if key in columns[0]):
        try:
            checked[key] = [_ids(name, key, columns[0][key], "train")]
        except InputError as error:
            faults[key] = str(error).removeprefix(f"{name}: ")
            continue
        try:
            for found in columns[1:]:
                test = _ids(name, key, found[key], "test")
                checked[key].append(apart(name, checked[key][0], test, own=True))
            return checked[key], []
        except InputError as error:
            faults[key] = str(error).removeprefix(f"{name}: ")
    for key, (train, *_) in checked.items():
        try:
            test, of = _ids(name, key, columns[1][key], "test"), key
        except InputError:
            test, of = _rows(columns[1][key]), "row"
        test = apart(name, train, test, own=False)
        return [train, test], [
            f"ids of the test split are {test[0]} and so on, by its feature {of}: "
            f"{faults[key]}"
            if of == key
            else f"ids of the test split are {test[0]} and so on, in the order of "
            f"storage: {faults[key]}"
        ]
    if faults:
        key = next(iter(faults))
        ids = [_rows(found[key]) for found in columns]
        ids[1:] = [apart(name, ids[0], test, own=False) for test in ids[1:]]
        return ids, [
            f"ids are {ids[0][0]} and so on, in the order of storage; the feature "
            f"{key} cannot name examples: {faults[key]}"
        ]
    return [], []


def _ids(name, key, values, split) -> np.ndarray:
    if not all(isinstance(value, bytes | str | int | np.integer) for value in values):
        raise InputError(f"{name}: {split} {key} is no text and no whole number")
    return check_ids(name, values, len(values), split)


def _rows(values) -> np.ndarray:
    return np.array([f"row/{row}" for row in range(len(values))])
