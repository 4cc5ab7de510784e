"""Whether tuning foretells an audit: shares of leaks, and ranks."""

import numpy as np
import pytest
from scipy.stats import norm

from unlearn.audit.agreement import agreement, chosen_leaks, leak_left
from unlearn.report.frontier_page import Interval, Point


def auc(distance):
    """Of two Gaussians so many standard deviations apart."""
    return norm.cdf(distance / np.sqrt(2))


def point(name, kind="method", width=0.01, **distances):
    leak = {
        key: Interval(auc(d), auc(d) - width, auc(d) + width)
        for key, d in distances.items()
    }
    return Point(name, kind, 0.1, 0.1, leak, Interval(0, 0, 0), 0.9)


ENDS = [
    point("original", "original", single=2.0, whole=1.0),
    point("retrain", "retraining", single=0.0, whole=0.0),
]


def test_what_is_left_is_a_mean_of_shares_of_distances():
    half = point("half", single=1.0, whole=0.25)
    assert leak_left(half, *ENDS) == pytest.approx((0.5 + 0.25) / 2)
    less = point("less", single=-1.0, whole=0.5)
    assert leak_left(less, *ENDS) == pytest.approx(0.25)


def test_an_attack_that_does_not_see_through_the_original_is_left_out():
    blind = [ENDS[0]._replace(leak=ENDS[0].leak | {"whole": Interval(0.5, 0.4, 0.6)})]
    half = point("half", single=1.0, whole=5.0)
    assert leak_left(half, *blind, ENDS[1]) == pytest.approx(0.5)


def test_ranks_agree_disagree_or_say_nothing():
    made = [point(f"m{i}", single=i / 10, whole=i / 20) for i in range(12)]
    points = [*ENDS, *made]
    same = agreement(points, {f"m{i}": i**3 for i in range(12)})
    assert same[:3] == pytest.approx((1, 1, 1)) and same.methods == 12
    assert str(same) == "1.00 (1.00 to 1.00) over 12 methods"
    turned = agreement(points, {f"m{i}": -float(i) for i in range(5)})
    assert turned[:3] == pytest.approx((-1, -1, -1)) and turned.methods == 5
    drawn = np.random.default_rng(0).permutation(12)
    mixed = agreement(points, {f"m{i}": float(drawn[i]) for i in range(12)})
    assert mixed.low < 0 < mixed.high and mixed.low < mixed.correlation < mixed.high
    assert agreement(points, {f"m{i}": 0.1 * i for i in range(4)}) is None
    assert agreement(points, {f"m{i}": 0.0 for i in range(12)}) is None
    alike = [*ENDS, *(point(f"m{i}", single=0.5, whole=0.5) for i in range(12))]
    assert agreement(alike, {f"m{i}": float(i) for i in range(12)}) is None


def test_the_chosen_trials_of_constants_that_are_still_there(tmp_path):
    path = tmp_path / "tuning.csv"
    assert chosen_leaks(path, {}) == {}
    path.write_text(
        "method,trial,chosen,leak,learning_rate,alpha\n"
        "finetune,0,False,0.9,0.1,\n"
        "finetune,1,True,0.4,0.2,\n"
        "scrub,1,True,0.3,0.2,0.5\n"
        "salun,1,True,,0.2,\n"
        "gone,1,True,0.7,0.2,\n"
    )
    constants = {
        "finetune": {"learning_rate": 0.2, "epochs": 5},
        "scrub": {"learning_rate": 0.2, "alpha": 0.6},
        "salun": {"learning_rate": 0.2},
    }
    assert chosen_leaks(path, constants) == {"finetune": 0.4}
    path.write_text("method,trial,chosen,avg_gap\nfinetune,1,True,0.4\n")
    assert chosen_leaks(path, constants) == {}
