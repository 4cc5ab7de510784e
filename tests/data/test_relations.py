"""Which examples belong together."""

import numpy as np
from data_cases import random_images

from unlearn.data.relations import copies, joined, with_others


def test_copies_are_those_with_the_same_content():
    train, test = random_images(6), random_images(3, seed=1)
    train[4], test[0], test[2] = train[1], train[1], test[1]
    numbers, others = copies(train, test)
    assert numbers[4] == numbers[1] == others[0] and others[1] == others[2]
    assert len(set(numbers) | set(others)) == 6
    nearly = train.copy()
    nearly[1, 0, 0, 0] ^= 1
    assert len(np.unique(copies(nearly, test)[0])) == 6


def test_chains_of_relations_are_followed():
    """By hand: 0-1 a group, 1-2 copies, 2-3 a group, 4-5 copies, 6 alone."""
    groups = np.array([7, 7, 3, 3, 1, 2, 9])
    same = np.array([0, 1, 1, 2, 3, 3, 4])
    units = joined(7, groups, same)
    assert len(set(units[:4])) == 1 and units[4] == units[5]
    assert len(set(units)) == 3
    assert with_others(np.array([0]), groups, same).tolist() == [0, 1, 2, 3]
    assert with_others(np.array([0]), groups, None).tolist() == [0, 1]
    assert with_others(np.array([6, 4]), None, same).tolist() == [4, 5, 6]
    assert with_others(np.array([6, 4])).tolist() == [4, 6]
    assert len(set(joined(7))) == 7 and not len(joined(0))
