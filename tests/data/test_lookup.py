"""Ids and names of classes, as the user gives them."""

import numpy as np
import pytest

from unlearn.data.lookup import class_folder, class_label, class_numbers, find, find_all
from unlearn.errors import InputError

FILES = ["cat/1.png", "cat/10.png", "dog/2.png", "dog/a b.png"]
ROWS = np.array([0, 1, 3, 4, 6])  # of 7; 2 and 5 are the test split


def refusal(*args):
    with pytest.raises(InputError) as caught:
        find_all(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ids_become_rows():
    found = find([6, 0, 6, 2, 9], ROWS, [2, 5])
    assert found.rows.tolist() == [0, 4]
    assert found.repeated == (6,) and found.unknown == (9,) and found.untrained == (2,)
    assert find(["dog/2.png", "cat/1.png"], FILES).rows.tolist() == [0, 2]


def test_whole_numbers_and_text_meet_where_it_is_certain():
    assert find(np.array(["6", "x"]), ROWS).rows.tolist() == [4]
    assert find([12, 7], ["007", "12"]).rows.tolist() == [1]
    assert find([12, 7], ["007", "12"]).unknown == ("7",)
    assert find(["007"], ["007", "12"]).rows.tolist() == [0]


@pytest.mark.parametrize(
    "text", ["007", "+5", "1_2", "1-5", "~", "١", "1.5", "1e0", " 1", "-1", "0x1", "²"]
)
def test_what_is_no_plain_number_names_no_row(text):
    found = find(np.array([text]), np.arange(20))
    assert not len(found.rows) and len(found.unknown) == 1
    assert "0..19" in refusal(np.array([text]), np.arange(20))


def test_ids_are_named_that_are_not_trained_on():
    message = refusal([0, 2, 5], ROWS, [2, 5])
    assert "test split, 2 of 3" in message and "2, 5" in message
    message = refusal(["cat/1.PNG", "dog/2.png", "a\nb"], FILES)
    assert "2 of 3" in message and "cat/1.png for cat/1.PNG" in message
    assert r"'a\nb'" in message
    assert "cat/10.png for cat\\10.png" in refusal(["cat\\10.png"], FILES)
    assert "and 15 more" in refusal(np.arange(100, 120), ROWS)
    assert "empty" in refusal([], ROWS)


def test_a_mask_goes_by_the_rows_of_the_user():
    mask = np.isin(np.arange(7), [1, 6])
    assert find_all(mask, ROWS, [2, 5]).rows.tolist() == [1, 4]
    assert find_all(np.isin(np.arange(3), [1]), np.arange(3), ["test/0"]).rows == [1]
    assert "7 rows" in refusal(np.ones(5, bool), ROWS, [2, 5])
    assert "names of their own" in refusal(np.ones(4, bool), FILES)
    assert "names of their own" in refusal(np.ones(2, bool), [5, 9])


def test_accents_are_the_same_however_they_are_written():
    apart, together = "cafe\u0301.png", "caf\u00e9.png"
    assert find_all([apart], ["a", together]).rows == [1]
    assert find_all([together], ["a", apart]).rows == [1]
    assert find(["cafe.png"], [together]).unknown == ("cafe.png",)
    assert "several examples" in refusal(["a"], [apart, together])


def test_an_id_of_two_examples_is_refused():
    assert "several examples have the id 'a'" in refusal(["b"], ["a", "b", "a"])


@pytest.mark.parametrize("train, test", [([3, 0, 1, 2], []), ([0, 3, 2], [1])])
def test_a_mask_over_ids_out_of_order_is_refused(train, test):
    with pytest.raises(InputError, match="a mask goes by row numbers"):
        find(np.array([True, False, False, False]), train, test)


SEVEN = [str(number) for number in range(1, 8)]


@pytest.mark.parametrize(
    "given, names, expected",
    [
        ((1, 0), ("cat", "dog"), (1, 0)),
        (("dog", 0), ("cat", "dog"), (1, 0)),
        (("1",), ("cat", "dog"), (1,)),
        ((3,), SEVEN, (2,)),
        (("3",), SEVEN, (2,)),
        ((2,), sorted(map(str, range(12))), (4,)),  # 0, 1, 10, 11, 2
        ((2,), [str(number) for number in range(12)], (2,)),
        ((3,), ("01", "02", "03"), (2,)),
        ((-1,), ("-1", "1"), (0,)),
        ((1,), ("cat", "1"), (1,)),
        (("0",), ("cat", "0"), (1,)),
        (("05",), ("05", "5"), (0,)),
        (("cafe\u0301",), ("th\u00e9", "caf\u00e9"), (1,)),
        ((0,), ("class_0", "class_1"), (0,)),
        ((1,), ("a1b2", "cat"), (1,)),
    ],
)
def test_classes_by_name_and_number(given, names, expected):
    assert class_numbers(given, names) == expected


@pytest.mark.parametrize(
    "given, names, message",
    [
        ("Cat", ("cat", "dog"), "did you mean 'cat'"),
        (2, ("cat", "dog"), r"0\.\.1, cat, dog"),
        (-1, ("cat", "dog"), "no class -1"),
        (0, SEVEN, "no class 0: the classes are 1, 2"),
        (8, SEVEN, "no class 8"),
        (3, ("0", "1", "2"), r"no class 3: the classes are 0\.\.2"),
        (0, ("cat", "0", "dog"), "may be the one named '0' or .* 'cat'"),
        (5, ("05", "5"), "'05' and '5'"),
        (1, ("1.0", "2.0", "3.0"), "may be the one named '1.0' or .* '2.0'"),
        (2, ("class_1", "class_2", "class_3"), "named 'class_2' or .* 'class_3'"),
        (1, ("001.Albatross", "002.Auklet"), "named '001.Albatross'"),
        ("1_2", [str(number) for number in range(20)], "no class '1_2'"),
        ("9" * 5000, ("cat", "dog"), "no class"),
    ],
)
def test_a_class_that_is_not_certain_is_refused(given, names, message):
    with pytest.raises(InputError, match=message) as caught:
        class_numbers((given,), names)
    assert "\n" not in str(caught.value)


def test_how_classes_are_written():
    assert class_label(1, ("cat", "dog")) == "class 1 ('dog')"
    assert class_label(1, ("0", "1")) == "class 1"
    assert class_folder(1, ("0", "1")) == "forget_1"
    assert class_folder(0, ("a/../b", "1")) == "forget_a%2F..%2Fb"


def test_floats_in_a_file_of_ids_are_whole_numbers_unless_ids_are_written_so():
    assert find_all(np.array(["1.0", "2.0"]), [0, 1, 2]).rows.tolist() == [1, 2]
    assert find_all(np.array(["1.0", "2"]), ["a", "1", "2"]).rows.tolist() == [1, 2]
    assert find_all(np.array(["1.0"]), ["1", "1.0", "b"]).rows.tolist() == [1]
    with pytest.raises(InputError, match="not in the data"):
        find_all(np.array(["2.0"]), ["1.0", "2"])
