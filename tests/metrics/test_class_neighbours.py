"""Attacks by neighbour classes, where what is to be told is known."""

import numpy as np
import pytest
from scipy.special import softmax

from unlearn.errors import InputError
from unlearn.metrics import class_neighbours

CLASSES, GONE = 5, 2


def models(rng, preference, count=40, examples=60):
    """Answers of models that prefer classes so: int[count, examples]."""
    return rng.choice(CLASSES, (count, examples), p=preference)


def test_shares_and_distance_against_loops():
    rng = np.random.default_rng(0)
    answers = models(rng, np.ones(CLASSES) / CLASSES, count=4)
    shares = class_neighbours.answer_shares(answers, CLASSES)
    for row, own in zip(answers, shares, strict=True):
        np.testing.assert_allclose(own, np.bincount(row, minlength=CLASSES) / 60)
    reference = np.array([[0.5, 0.5, 0, 0, 0], [0.5, 0, 0.5, 0, 0]])
    one = np.array([[0.5, 0.25, 0.25, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]])
    found = class_neighbours.total_variation(one, reference)
    np.testing.assert_allclose(found, [0, 1, 0.5])
    assert class_neighbours.nearest_class(reference, 0) in (1, 2)
    assert class_neighbours.nearest_class(reference, 1) == 0
    np.testing.assert_array_equal(reference[1], [0.5, 0, 0.5, 0, 0])


def test_other_neighbours_are_told_apart_and_the_same_ones_are_not():
    rng = np.random.default_rng(1)
    near, spread_out = [0.05, 0.8, 0, 0.1, 0.05], [0.25, 0.25, 0, 0.25, 0.25]
    retrained, oracle, relabelled, original = (
        class_neighbours.answer_shares(models(rng, p), CLASSES)
        for p in (near, near, spread_out, [0, 0, 1, 0, 0])
    )
    for leaky in (relabelled, original):
        assert class_neighbours.told_apart(leaky, retrained) > 0.99
    null_sd = np.sqrt(81 / (12 * 40 * 40))
    floor = class_neighbours.told_apart(oracle, retrained)
    assert abs(floor - 0.5) < 3 * null_sd
    assert class_neighbours.nearest_class(retrained, GONE) == 1


@pytest.mark.slow
def test_nothing_is_told_where_there_is_nothing_in_the_mean():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pair = rng.dirichlet(np.ones(CLASSES), (2, 30))
        found.append(class_neighbours.told_apart(*pair))
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)


def test_margins_are_those_of_the_classes_that_are_left():
    logits = np.random.default_rng(2).normal(0, 3, (50, CLASSES))
    found = class_neighbours.neighbour_margins(logits, GONE, 4)
    left = softmax(np.delete(logits, GONE, axis=1), axis=1)[:, 3]
    np.testing.assert_allclose(found, np.log(left / (1 - left)))
    suppressed = logits.copy()
    suppressed[:, GONE] = -1e9  # never answered: changes nothing
    again = class_neighbours.neighbour_margins(suppressed, GONE, 4)
    np.testing.assert_array_equal(found, again)


def test_bad_input():
    shares = np.ones((5, CLASSES)) / CLASSES
    with pytest.raises(InputError, match="needs 6 models"):
        class_neighbours.told_apart(shares, shares)
    with pytest.raises(InputError, match="three classes"):
        class_neighbours.neighbour_margins(np.zeros((4, 2)), 0, 1)
    with pytest.raises(InputError, match="not the same"):
        class_neighbours.neighbour_margins(np.zeros((4, 3)), 1, 1)
