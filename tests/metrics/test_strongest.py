"""The strongest attack is found, whatever kind of trace is left."""

import numpy as np
import pytest
from attack_studies import study

from unlearn.metrics import lira, rmia, roc, ruli
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.lira import FORGET, OUT
from unlearn.metrics.strongest import EFFICACY, attack_all, largest, strongest


def test_each_attack_is_itself_with_bonferroni_intervals():
    rng = np.random.default_rng(0)
    x, states = study(rng, 30, 40, 0.5)
    unseen = rng.normal(0, 3, (30, 100))
    groups = states == FORGET, states == OUT
    found = attack_all(x, states, unseen)
    by_hand = {
        "U-LiRA": lira.u_lira(x, states),
        "LiRA offline": lira.lira_offline(x, states, positive=FORGET),
        "RMIA": rmia.rmia(x, states, positive=FORGET, population=unseen),
    }
    for name, scores in by_hand.items():
        one = roc.evaluate(scores, *groups, comparisons=3)
        assert found[name][:2] == one[:2] and found[name][6:] == one[6:]
        signs = (1,) if name == "U-LiRA" else (1, -1)
        both = [roc.evaluate(s * scores, *groups, comparisons=5) for s in signs]
        assert found[name].tpr_at_1fpr == max(one.tpr_at_1fpr for one in both)
        ends = np.array([one.tpr_at_1fpr_interval for one in both])
        assert found[name].tpr_at_1fpr_interval == tuple(ends.max(axis=0))
        alone = roc.evaluate(scores, *groups).auc_interval
        assert found[name].auc_interval[0] < alone[0]
    two = attack_all(x, states, attacks=EFFICACY)
    scores = ruli.ruli_privacy(x, states)
    one = roc.evaluate(scores, *groups, comparisons=2)
    assert two["kernel ratio"][:4] == one[:4]


def test_a_weak_trace_is_found_by_lira_offline_and_a_sharp_one_by_u_lira():
    rng = np.random.default_rng(1)
    x, states = study(rng, 60, 200, 0.25, spread=(1, 1))
    found = attack_all(x, states, rng.normal(0, 3, (60, 100)))
    assert strongest(found) != "U-LiRA"
    forgotten = states == FORGET
    narrow = np.where(
        forgotten, 0.2 * rng.normal(size=x.shape), rng.normal(size=x.shape)
    )
    found = attack_all(narrow, states, rng.normal(0, 3, (60, 100)))
    assert strongest(found) == "U-LiRA" and found["U-LiRA"].auc > 0.8


def test_a_rate_is_found_in_the_direction_that_the_auc_is_not():
    """A few examples far too confident, all others a little too unsure."""
    rng = np.random.default_rng(3)
    x, states = study(rng, 48, 100, 0.0, spread=(1, 1))
    x += np.where(np.arange(100) < 10, 6.0, -0.8) * (states == FORGET)
    groups = states == FORGET, states == OUT
    scores = lira.lira_offline(x, states, positive=FORGET)
    found = attack_all(x, states)["LiRA offline"]
    assert found.auc == roc.evaluate(-scores, *groups).auc > 0.55
    assert found.tpr_at_1fpr == roc.evaluate(scores, *groups).tpr_at_1fpr > 0.09
    assert roc.evaluate(-scores, *groups).tpr_at_1fpr < 0.09


def test_the_largest_has_the_largest_ends():
    narrow, wide = Estimate(0.52, 0.51, 0.53), Estimate(0.50, 0.40, 0.60)
    assert largest([narrow, wide]) == (0.52, 0.51, 0.60)
    unknown = largest([narrow, Estimate(np.nan, np.nan, np.nan)])
    assert np.isnan(unknown).all()


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_too_unsure_is_found_as_well_as_too_confident(shift):
    rng = np.random.default_rng(2)
    x, states = study(rng, 48, 100, shift, spread=(1, 1))
    found = attack_all(x, states, rng.normal(0, 3, (48, 100)))
    assert min(one.auc for one in found.values()) > 0.6
