"""What splits are called."""

import pytest
from data_cases import rejects

from unlearn.data import names


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (["val", "Test"], "Test"),
        (["validation"], "validation"),
        (["dev", "evaluation"], "evaluation"),
        (["Hold-Out", "valid"], "Hold-Out"),
        (["TESTING", "val", "dev"], "TESTING"),
        ([], None),
    ],
)
def test_the_first_rank_is_the_test_split(found, chosen):
    for order in (found, found[::-1]):
        assert names.choose("n", order) == chosen


@pytest.mark.parametrize(
    "found", [["Test", "test"], ["val", "valid"], ["test", "testing", "val"]]
)
def test_two_of_one_rank(found):
    rejects(lambda: names.choose("n", found), found[0], found[1], "both")


@pytest.mark.parametrize("name", ["train", "cat", "tester", "value", "", "evalu8"])
def test_other_names_have_no_rank(name):
    assert names.rank(name) is None


@pytest.mark.parametrize(
    ("folder", "core"),
    [
        ("training_set", "training"),
        ("TestSet", "test"),
        ("val data", "val"),
        ("images", "images"),
        ("sunset", "sunset"),
        ("test_tube", "test_tube"),
    ],
)
def test_fillers(folder, core):
    assert names.split_of(folder) == core


def test_words_of_splits():
    assert names.words_of("seg_train") == (True, False)
    assert names.words_of("my-test-2") == (False, True)
    assert names.words_of("cat") == (False, False)
