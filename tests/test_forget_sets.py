"""Which examples are to be forgotten: drawn, read and checked."""

import numpy as np
import pytest

from unlearn import forget_sets
from unlearn.errors import InputError

LABELS = np.repeat(np.arange(4), 25)
SIZES = np.repeat(np.arange(4), [40, 3, 10, 1])


def test_random_by_fraction_and_by_count():
    by_fraction = forget_sets.forget_random(LABELS, fraction=0.1, seed=3)
    assert len(by_fraction) == 10 and len(set(by_fraction)) == 10
    np.testing.assert_array_equal(
        by_fraction, forget_sets.forget_random(LABELS, count=10, seed=3)
    )
    assert set(by_fraction) != set(forget_sets.forget_random(LABELS, count=10, seed=4))


def test_classes_and_parts_of_classes():
    whole = forget_sets.forget_class(LABELS, [1, 3], num_classes=4)
    np.testing.assert_array_equal(whole, np.flatnonzero(LABELS % 2 == 1))
    part = forget_sets.forget_class(LABELS, [2], num_classes=4, fraction=0.2)
    assert len(part) == 5 and np.all(LABELS[part] == 2)


def test_indices_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("3\n1\n2\n")
    np.save(tmp_path / "b.npy", np.array([3, 1, 2]))
    for name in ("a.txt", "b.npy"):
        assert list(forget_sets.read_indices(tmp_path / name)) == [3, 1, 2]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: forget_sets.forget_random(LABELS), "empty"),
        (lambda: forget_sets.forget_random(LABELS, fraction=1.0), r"\(0, 1\)"),
        (lambda: forget_sets.forget_random(LABELS, fraction=-0.1), r"\(0, 1\)"),
        (lambda: forget_sets.forget_random(LABELS, count=100), "99"),
        (lambda: forget_sets.forget_random(LABELS, fraction=0.1, count=5), "both"),
        (lambda: forget_sets.forget_class(LABELS, [4], num_classes=4), "no class 4"),
        (lambda: forget_sets.forget_class(LABELS, [4], num_classes=5), "no training"),
        (lambda: forget_sets.check_forget_indices([], 9), "empty"),
        (lambda: forget_sets.check_forget_indices([9], 9), "0..8"),
        (lambda: forget_sets.check_forget_indices([-1], 9), "index -1"),
        (lambda: forget_sets.check_forget_indices([2, 2], 9), "repeated"),
        (lambda: forget_sets.check_forget_indices([0.5], 9), "whole numbers"),
        (lambda: forget_sets.check_forget_indices(range(9), 9), "nothing to retain"),
        (lambda: forget_sets.read_indices("/no/such/file"), "cannot read"),
    ],
)
def test_bad_forget_sets_get_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_text_file_with_words_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("1 two")
    with pytest.raises(InputError, match="whole numbers"):
        forget_sets.read_indices(tmp_path / "a.txt")


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1, 0.3])
def test_a_part_of_a_class_has_at_least_one_example(fraction):
    """Of a small class, too, whatever the fraction rounds to."""
    for classes in ([1], [3], [1, 3], [0, 1, 2, 3]):
        chosen = forget_sets.forget_class(
            SIZES, classes, num_classes=4, fraction=fraction
        )
        counts = np.bincount(SIZES[chosen], minlength=4)
        sizes = np.bincount(SIZES, minlength=4)
        for c in range(4):
            share = max(1, round(fraction * sizes[c]))
            assert counts[c] == (share if c in classes else 0)


def test_a_part_of_a_class_is_drawn_by_the_seed():
    draws = [
        tuple(
            forget_sets.forget_class(SIZES, [0], num_classes=4, fraction=0.2, seed=seed)
        )
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 8 and all(SIZES[list(draws[0])] == 0)
