"""Ids and groups as users give them."""

import numpy as np
import pytest
from data_cases import rejects

from unlearn.data.ids import apart, check_groups, check_ids


@pytest.mark.parametrize(
    "ids",
    [
        [3, 1, 2],
        ["a", "A", "a b"],
        ["007", "7", "07"],
        ["naïve.png", "日本/1.png", "caf\udce9.png"],
        ["-1", "1", "~"],
    ],
)
def test_ids_stay_as_they_are(ids):
    assert check_ids("n", ids, 3, "train").tolist() == ids
    assert check_ids("n", np.array(ids)[:, None], 3, "train").tolist() == ids


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([1, 2, 1], "twice"),
        (["a", "b", "a"], "twice"),
        (["a", "b", "a "], "spaces"),
        (["é", "b", "e\u0301"], "spelling"),
        (["a", "b", " "], "empty"),
        (["a", "b", "c\nd"], "line break"),
        (["a", "b", "c\td"], "control character"),
        ([1.0, 2.0, 3.0], "float64"),
        ([True, False, True], "bool"),
        (np.array([1, 2, 2**63], np.uint64), "2^63"),
        ([1, 2], "[3]"),
        ([[1, 2, 3]], "[3]"),
        (np.array([b"a", b"b", b"a"]), "twice"),
    ],
)
def test_ids_that_do_not_name_one_example(ids, words):
    rejects(
        lambda: check_ids("n", ids, 3, "train"),
        words,
    )


def test_ids_of_a_test_split_never_clash():
    rows = np.arange(3)
    assert apart("n", rows, rows, own=False).tolist() == ["test/0", "test/1", "test/2"]
    taken = np.array(["test/1", "test/test/a"])
    made = apart("n", taken, rows, own=False).tolist()
    assert not any(entry in taken.tolist() for entry in made)
    assert len(set(made) | set(taken.tolist())) == 5
    given = np.array(["x", "2"])
    rejects(lambda: apart("n", rows, given, own=True), "'2'", "split")
    assert apart("n", rows, given[:1], own=True).tolist() == ["x"]


@pytest.mark.parametrize(
    "groups", [[9, 9, 4], ["b", "b ", "a"], [True, True, False], [b"b", b"b", b"a"]]
)
def test_groups_are_numbered(groups):
    made = check_groups("n", np.array(groups), 3)
    assert made.dtype == np.int32 and made.tolist() == [1, 1, 0]
