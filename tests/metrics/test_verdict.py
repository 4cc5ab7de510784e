"""An interval and a tolerance: within, outside, inconclusive."""

import math

import numpy as np
import pytest

from unlearn.metrics.verdict import Judged, judge, together


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.50, 0.47, 0.53, "within"),
        (0.54, 0.53, 0.549, "within"),  # significantly not 0.5, and as good as equal
        (0.60, 0.56, 0.64, "outside"),
        (0.40, 0.36, 0.44, "outside"),  # forgotten more than by retraining
        (0.53, 0.49, 0.57, "inconclusive"),
        (0.50, 0.40, 0.60, "inconclusive"),  # no difference found is none shown
        (math.nan, math.nan, math.nan, "inconclusive"),
    ],
)
def test_verdicts(value, low, high, verdict):
    found = judge(value, low, high, null=0.5, tolerance=0.05, models=100)
    assert found.verdict == verdict


@pytest.mark.parametrize("value", [0.5, 0.53, 0.58])
def test_with_the_models_needed_it_is_decided(value):
    """The interval of that many models just fits: with fewer it does not."""

    def interval(models):
        half = 1.0 / math.sqrt(models)
        return judge(
            value, value - half, value + half, null=0.5, tolerance=0.05, models=models
        )

    needed = interval(50).models_needed
    assert interval(50).verdict == "inconclusive"
    assert interval(needed + 1).verdict != "inconclusive"
    assert interval(math.floor(0.9 * needed)).verdict == "inconclusive"


def test_on_the_border_no_number_of_models_decides():
    found = judge(0.25, 0.125, 0.375, null=0.0, tolerance=0.25, models=10)
    assert found == Judged("inconclusive", None)


def test_a_perfect_method_is_seldom_outside():
    """Null experiments: values around 0.5 with right intervals, 2.5 % a side."""
    draw, outside = np.random.default_rng(0), 0
    for value in draw.normal(0.5, 0.02, 1000):
        one = judge(
            value, value - 0.0392, value + 0.0392, null=0.5, tolerance=0.0, models=9
        )
        outside += one.verdict == "outside"
    assert 25 <= outside <= 75


def test_together():
    within, outside = Judged("within", None), Judged("outside", None)
    some, more = Judged("inconclusive", 20), Judged("inconclusive", 90)
    assert together([within, within]) == within
    assert together([within, some, outside]) == outside
    assert together([within, some, more]) == more
    assert together([some, Judged("inconclusive", None)]).models_needed is None


def test_only_more_counts_where_that_is_said():
    options = dict(null=0.5, tolerance=0.05, models=100, upper=True)
    assert judge(0.3, 0.2, 0.4, **options).verdict == "within"
    assert judge(0.50, 0.40, 0.54, **options).verdict == "within"
    assert judge(0.50, 0.40, 0.60, **options) == Judged("inconclusive", 400)
    assert judge(0.60, 0.56, 0.64, **options).verdict == "outside"
    assert judge(0.50, 0.40, 0.60, **options | {"upper": False}).models_needed == 400


def test_more_models_than_a_hundred_times_are_not_counted():
    """0.96 - 0.97 is not quite -0.01: once this gave 4e32 models."""
    found = judge(0.96 - 0.97, -0.08, 0, null=0, tolerance=0.01, models=128)
    assert found == Judged("inconclusive", None)
    near = judge(-0.0101, -0.08, 0, null=0, tolerance=0.01, models=128)
    assert near == Judged("inconclusive", 12_800, capped=True)
    assert together([near, Judged("inconclusive", 90)]) == near


def test_rounding_is_not_outside():
    edge = 0.1 + 0.2  # not 0.3
    assert judge(0.3, 0.3, edge, null=0, tolerance=0.3, models=9).verdict == "within"
