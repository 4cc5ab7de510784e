"""Labels in every form they come in."""

import numpy as np
import pytest
from data_cases import LABELS, rejects

from unlearn.data.labels import read_labels

NAMES = np.array(["img10", "img2", "IMG1"])


def read(train, test=None, names=None):
    splits = {"train": train} if test is None else {"train": train, "test": test}
    labels, class_names = read_labels("n", splits, names)
    return labels["train"], class_names


@pytest.mark.parametrize(
    "given",
    [
        LABELS.astype(np.int8),
        LABELS.astype(np.uint64),
        LABELS.astype(np.float32),
        LABELS[:, None],
        np.eye(3)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        np.eye(3, dtype=np.uint8)[LABELS],
    ],
)
def test_numbers_from_0_in_any_form(given):
    labels, names = read(given)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, LABELS)
    assert names == ("0", "1", "2")


def test_numbers_from_1_name_the_classes_so():
    labels, names = read(LABELS + 1, LABELS[:4] + 1)
    np.testing.assert_array_equal(labels, LABELS)
    assert names == ("1", "2", "3")
    labels, names = read(LABELS + 1, None, ["a", "b", "c"])
    np.testing.assert_array_equal(labels, LABELS)
    assert names == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["U", "S", "O"])
def test_text_is_in_natural_order(kind):
    labels, names = read(NAMES[LABELS].astype(kind))
    assert names == ("IMG1", "img2", "img10")
    np.testing.assert_array_equal(np.array(names)[labels], NAMES[LABELS])
    numbers = np.array(["10", "9", "2"])
    assert read(numbers[LABELS])[1] == ("2", "9", "10")
    labels, names = read(NAMES[LABELS], None, [*NAMES, "another"])
    np.testing.assert_array_equal(labels, LABELS)
    assert names == (*NAMES, "another")


def test_truth_values():
    labels, names = read(LABELS == 1)
    np.testing.assert_array_equal(labels, LABELS == 1)
    assert names == ("False", "True")
    assert read(LABELS == 1, None, ["benign", "malignant"])[1][1] == "malignant"


def test_a_class_may_be_missing_where_its_number_is_known():
    labels, names = read(np.eye(5)[LABELS + 1])
    np.testing.assert_array_equal(labels, LABELS + 1)
    assert len(names) == 5
    labels, names = read(LABELS * 2, None, list("abcdef"))
    np.testing.assert_array_equal(labels, LABELS * 2)


@pytest.mark.parametrize(
    ("train", "test", "names", "words"),
    [
        (LABELS * 2, None, None, ["0 to K-1", "from 0 to 4"]),
        (LABELS + 5, None, None, ["from 5 to 7"]),
        (LABELS - 1, None, None, ["found -1"]),
        (np.where(LABELS == 2, 255, LABELS), None, None, ["255"]),
        (LABELS + 1, None, list("abcde"), ["1 to 3", "5 class_names"]),
        (LABELS + 1, LABELS, None, ["found 0"]),
        (LABELS, LABELS + 1, None, ["found 3"]),
        (LABELS / 2, None, None, ["integers", "float64"]),
        (np.where(LABELS, np.nan, 1.0), None, None, ["whole numbers"]),
        (np.where(LABELS, np.inf, 1.0), None, None, ["found inf"]),
        (LABELS.astype(complex), None, None, ["complex128"]),
        (LABELS.astype("M8[s]"), None, None, ["datetime64"]),
        (NAMES[LABELS], LABELS, None, ["text"]),
        (NAMES[LABELS], np.array(["new"]), None, ["'new'", "not in the training"]),
        (NAMES[LABELS], None, ["img2", "IMG1"], ["'img10'", "class_names"]),
        (np.array(["a", "", "b"]), None, None, ["empty"]),
        (np.array(["é", "e\u0301"]), None, None, ["Unicode"]),
        (LABELS, None, ["a", "b", "a "], ["same name"]),
        (np.eye(3)[LABELS] * 2, None, None, ["one-hot"]),
        (np.ones((20, 3)), None, None, ["one-hot", "several classes"]),
        (np.zeros((20, 3)), None, None, ["one-hot"]),
        (np.eye(3)[LABELS], None, ["a", "b"], ["3 classes", "has 2"]),
        (LABELS == 1, None, ["a", "b", "c"], ["2 classes", "has 3"]),
        (LABELS[:0], None, None, ["empty"]),
        (np.zeros((20, 2, 2)), None, None, ["[20, 2, 2]"]),
    ],
)
def test_labels_in_doubt(train, test, names, words):
    rejects(lambda: read(train, test, names), *words)
