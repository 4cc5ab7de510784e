"""Whose data is meant."""

import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.requests.resolve import Examples, ids_of, resolve, salted_hash

EXAMPLES = Examples(
    ids=np.array(["a", "b", "c", "d", "e", "f"]),
    labels=np.zeros(6, np.int32),
    split=np.array([0, 0, 0, 0, 2, 1], np.int8),
    group=np.array([-1, 5, 5, 7, -1, -1], np.int32),
    sha256=np.array(["1", "2", "3", "3", "1", "4"]),
)


def taken(ids, erased=(), **options):
    found = resolve(EXAMPLES, ids, dict.fromkeys(erased, 9), **options)
    return [x.tolist() for x in (found.named, found.groups, found.copies)]


def test_groups_and_copies_go_along():
    assert taken(["b"]) == [[1], [2], [3]]  # d is a copy of c, which is in b's group
    assert taken(["a"]) == [[0], [], [4]]  # also from another split
    assert taken(["e", "f"]) == [[4, 5], [], [0]]
    assert taken(["b"], keep_groups=True) == [[1], [], []]
    assert taken(["d"]) == [[3], [], [2]]  # the group of a copy stays


def test_what_is_erased_is_reported_and_not_taken_again():
    found = resolve(EXAMPLES, ["a", "b"], {0: 3, 2: 4})
    assert found.gone == {"a": 3} and found.taken.tolist() == [1]
    assert not len(resolve(EXAMPLES, ["a"], {0: 3, 4: 3}).taken)


def test_unknown_ids_stop_the_request_or_are_left_out():
    with pytest.raises(InputError, match=r"2 unknown ids: x, aa \(.*: correct"):
        resolve(EXAMPLES, ["a", "x", "aa"], {})
    found = resolve(EXAMPLES, ["a", "x"], {}, skip_unknown=True)
    assert found.unknown == ("x",) and found.named.tolist() == [0]


def test_numbers_and_text_are_the_same_id():
    numbers = EXAMPLES._replace(ids=np.arange(6))
    for ids in ([4], ["4"], np.array([4]), np.array(["4"]), ["4.0"]):
        assert resolve(numbers, ids_of(ids), {}).named.tolist() == [4]
    for wrong in ("04", "4.5", "+4", " 4", "1_0", "-1"):
        with pytest.raises(InputError, match="unknown id"):
            resolve(numbers, ids_of([wrong]), {})


def test_a_person_whose_id_is_a_float_is_no_other(tmp_path):
    """Of a file as well: `1.0` is not `1` where an id is written so."""
    both = EXAMPLES._replace(ids=np.array(["1", "1.0", "2.0", "3", "x", "y"]))
    (tmp_path / "ids.txt").write_text("1.0\n")
    assert resolve(both, ids_of(tmp_path / "ids.txt"), {}).named.tolist() == [1]
    assert resolve(both, ["2.0"], {}).named.tolist() == [2]
    with pytest.raises(InputError, match="unknown id"):
        resolve(both, ["3.0"], {})


@pytest.mark.parametrize("ids", [[], [True], [2.0], [None], np.array([True, False])])
def test_what_is_no_id_is_refused(ids):
    with pytest.raises(InputError, match="id"):
        ids_of(ids)


def test_repeated_ids_count_once():
    assert ids_of(["b", "a", "b"]) == ["b", "a"]


def test_the_hash_of_ids_needs_the_salt():
    one = salted_hash(b"salt", ["a", "b"])
    assert one != salted_hash(b"other", ["a", "b"]) and len(one) == 64
    assert one != salted_hash(b"salt", ["a", "c"])
    assert one != salted_hash(b"salt", ["a\nb"])


def test_accents_are_the_same_however_they_are_written():
    names = EXAMPLES._replace(ids=np.array(["é", *"bcdef"]))
    assert resolve(names, ids_of(["e\u0301"]), {}).named.tolist() == [0]


def test_what_ids_look_like_is_said():
    with pytest.raises(InputError, match="similar ids: a/1.png for A/1.png"):
        names = EXAMPLES._replace(ids=np.array(["a/1.png", *"bcdef"]))
        resolve(names, ["A/1.png"], {})
    with pytest.raises(InputError, match=r"9 \(ids are whole numbers, 0\.\.5\)"):
        resolve(EXAMPLES._replace(ids=np.arange(6)), ["9"], {})


@pytest.mark.parametrize("ids", [b"12", bytearray(b"12"), 12, 1.5, None])
def test_what_is_no_list_of_ids_is_refused(ids):
    with pytest.raises(InputError, match="ids must be a list"):
        ids_of(ids)


def test_a_group_that_was_kept_goes_when_it_is_asked_for():
    group = np.array([0, 0, 1], np.int32)
    rest = np.zeros(3, np.int32), np.zeros(3, np.int8), group, np.array(list("abc"))
    examples = Examples(np.arange(3), *rest)
    found = resolve(examples, ["0"], {0: 1})
    assert found.gone == {"0": 1} and found.taken.tolist() == [1]
    assert not len(resolve(examples, ["0"], {0: 1}, keep_groups=True).taken)


def test_the_keys_of_a_mapping_are_no_ids():
    with pytest.raises(InputError, match="ids must be a list"):
        ids_of({"3": False, "4": True})


@pytest.mark.parametrize("known", [np.arange(6), EXAMPLES.ids])
@pytest.mark.parametrize("one", ["9" * 5000, "a" * 5000])
def test_a_long_id_is_shortened_in_a_message(known, one):
    with pytest.raises(InputError, match="1 unknown id") as caught:
        resolve(EXAMPLES._replace(ids=known), [one], {})
    assert len(str(caught.value)) < 400
