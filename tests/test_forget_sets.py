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
    ],
)
def test_bad_forget_sets_get_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


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


def test_random_forgetting_of_whole_groups():
    """No group is torn, and the number is as near as the groups allow."""
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 6, 40)))
    labels = np.zeros(len(groups), int)
    drawn = set()
    for seed in range(5):
        chosen = forget_sets.forget_random(labels, count=20, seed=seed, groups=groups)
        rest = np.setdiff1d(np.arange(len(groups)), chosen)
        assert not set(groups[chosen]) & set(groups[rest])
        assert 16 <= len(chosen) <= 20
        drawn.add(tuple(chosen))
    assert len(drawn) == 5


def test_part_of_a_class_by_groups():
    labels, groups = np.repeat([0, 1], 30), np.arange(60) // 3
    chosen = forget_sets.forget_class(
        labels, [1], num_classes=2, fraction=0.2, groups=groups
    )
    assert len(chosen) == 6 and np.all(labels[chosen] == 1)
    assert len(np.unique(groups[chosen])) == 2


def test_groups_too_large_for_the_request():
    with pytest.raises(InputError, match="every group has more than the 3"):
        forget_sets.forget_random(LABELS, count=3, groups=np.arange(100) // 10)
