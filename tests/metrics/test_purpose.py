"""Whether a method does what it is for."""

import pytest

from unlearn.metrics.purpose import shortfall


def row(forget, test, gap=0.0):
    return {"forget_accuracy": forget, "test_accuracy": test, "avg_gap": gap}


@pytest.mark.parametrize(
    "forget, test, misses",
    [
        (0.0, 0.96, ""),
        (0.049, 0.9401, ""),
        (0.051, 0.96, "forgets too little"),
        (1.0, 0.96, "forgets too little"),  # doing nothing
        (0.0, 0.939, "loses accuracy"),
        (0.3, 0.5, "forgets too little, loses accuracy"),
        (0.0, 0.99, ""),  # better than retraining on test data
    ],
)
def test_of_a_class(forget, test, misses):
    original, retrain = row(1.0, 0.96), row(0.0, 0.96)
    found = shortfall(row(forget, test), original, retrain, whole_classes=True)
    assert found == misses


@pytest.mark.parametrize(
    "gap, test, misses",
    [
        (0.005, 0.96, ""),
        (0.009, 0.96, ""),  # as doing nothing
        (0.010, 0.96, "no nearer than doing nothing"),
        (0.200, 0.50, "no nearer than doing nothing, loses accuracy"),
    ],
)
def test_of_random_examples(gap, test, misses):
    original, retrain = row(1.0, 0.96, 0.009), row(0.98, 0.96)
    found = shortfall(row(0.9, test, gap), original, retrain, whole_classes=False)
    assert found == misses
