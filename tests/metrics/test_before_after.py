"""An attacker who has both versions, on simulated margins."""

import numpy as np
import pytest
from scipy import stats

from unlearn.errors import InputError
from unlearn.metrics.before_after import before_after, margin_falls
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.shadows import balanced_states


def study(leak, models=60, targets=40, seed=1):
    """Originals know what they were trained with; what is forgotten falls by `leak`."""
    rng = np.random.default_rng(seed)
    states = balanced_states(rng, models, targets)
    before = rng.normal(0, 1, states.shape) + 4.0 * (states != OUT)
    after = before - leak * (states == FORGET) + rng.normal(0, 1, states.shape)
    return before, after, states


@pytest.mark.parametrize("against", [OUT, RETAIN])
@pytest.mark.parametrize("leak", [0.0, 1.0, 3.0])
def test_the_auc_of_shifted_gaussians(leak, against):
    before, after, states = study(leak)
    found = before_after(before, after, states, against=against)
    falls = before - after
    groups = falls[states == FORGET], falls[states == against]
    rank_sum = stats.mannwhitneyu(*groups).statistic
    assert found.auc == pytest.approx(rank_sum / np.prod([len(g) for g in groups]))
    assert found.auc == pytest.approx(stats.norm.cdf(leak / np.sqrt(2)), abs=0.03)
    assert found.auc_interval[0] < found.auc < found.auc_interval[1]


def test_perfect_forgetting_is_seen_and_doing_nothing_is_not():
    """The other way round than every other attack: so it must not judge."""
    before, perfect, states = study(4.0)
    assert before_after(before, perfect, states).auc > 0.98
    assert before_after(before, before, states).auc == pytest.approx(0.5)


def test_only_the_chosen_pairs_count():
    before, after, states = study(3.0)
    mask = np.arange(40) < 10
    changed = np.where(mask, after, np.random.default_rng(1).normal(size=after.shape))
    found = before_after(before, changed, states, mask=mask)
    assert found.auc == before_after(before, after, states, mask=mask).auc
    assert found.positives == 10 * 20


def test_bad_input():
    before, after, states = study(1.0)
    with pytest.raises(InputError, match="alike"):
        margin_falls(before, after[:-1])
    with pytest.raises(InputError, match="OUT or RETAIN; it is 2"):
        before_after(before, after, states, against=FORGET)
