"""Which feature of tensorflow-datasets names examples, and what does where none can."""

import numpy as np
import pytest

from unlearn.data.tfds_ids import choose_ids


def chosen(*columns):
    ids, notes = choose_ids("set", columns)
    assert all("\n" not in note for note in notes)
    return [part.tolist() for part in ids], notes


@pytest.mark.parametrize(
    ("columns", "ids"),
    [
        ([{"id": [b"a", b"b"]}, {"id": [b"c"]}], [["a", "b"], ["c"]]),
        (
            [{"id": [1, 2], "image_id": [b"a", b"a"]}, {"id": [3], "image_id": [b"b"]}],
            [[1, 2], [3]],
        ),
        (
            [{"id": [1, 2], "image_id": [b"a", b"b"]}, {"id": [3], "image_id": [b"c"]}],
            [["a", "b"], ["c"]],
        ),
        (  # of two, the one that is apart in both splits
            [{"id": [1, 2], "image_id": [b"a", b"b"]}, {"id": [3], "image_id": [b"a"]}],
            [[1, 2], [3]],
        ),
        ([{"id": [np.int64(4), np.int64(5)]}], [[4, 5]]),
        (
            [{"file_name": [b"a.png"]}, {"file_name": [b"b.png"]}],
            [["a.png"], ["b.png"]],
        ),
        ([{"lesion_id": [b"a", b"b"]}], []),
        ([{}], []),
        ([{}, {}], []),
    ],
)
def test_the_feature_that_names_every_example(columns, ids):
    assert chosen(*columns) == (ids, [])


def test_one_that_only_clashes_with_the_test_split_names_training_examples():
    ids, notes = chosen({"id": [3, 0]}, {"id": [7, 0]})
    assert ids == [[3, 0], ["test/7", "test/0"]]
    assert (
        len(notes) == 1 and "test/7" in notes[0] and "in the training and" in notes[0]
    )
    ids, notes = chosen({"id": [3, 0]}, {"id": [7, 7]})
    assert ids == [[3, 0], ["test/row/0", "test/row/1"]]
    assert "order of storage" in notes[0] and "given twice" in notes[0]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([3, 3, 0], "3 is given twice"),
        ([b"a", b"", b"b"], "is empty"),
        ([b"a", b" a", b"b"], "more than spaces"),
        ([np.uint64(2**63 + i) for i in range(3)], "below 2^63"),
        ([0.5, 1.5, 2.5], "no whole number"),
        ([np.arange(2)] * 3, "no whole number"),
        ([b"a", b"b\nc", b"d"], "control"),
    ],
)
def test_rows_are_no_plain_numbers_where_a_feature_was_rejected(values, fault):
    ids, notes = chosen({"id": values}, {"id": [9]})
    assert ids == [["row/0", "row/1", "row/2"], ["test/row/0"]]
    assert len(notes) == 1 and fault in notes[0] and "row/0" in notes[0]
    assert chosen({"id": values})[0] == ids[:1]
