"""Two-way clustered variances against simulations with known effects."""

import numpy as np
import pytest
from scipy.stats import beta

from unlearn.errors import InputError
from unlearn.metrics import clustered


def crossed(rng, size, count, model=0.3, example=0.5):
    """Values with an effect of each model and of each example."""
    effects = rng.normal(0, model, (size, 1)) + rng.normal(0, example, (1, count))
    return effects + rng.normal(size=(size, count))


def test_the_variance_is_that_of_the_mean():
    rng = np.random.default_rng(0)
    means, found = [], []
    for _ in range(400):
        values = crossed(rng, 30, 40)
        means.append(values.mean())
        found.append(clustered.variance((values - values.mean()) / values.size))
    exact = 0.3**2 / 30 + 0.5**2 / 40 + 1 / 1200
    assert np.var(means) == pytest.approx(exact, rel=0.25)
    assert np.mean(found) == pytest.approx(exact, rel=0.07)


def test_pairs_that_do_not_count_do_not_count():
    rng = np.random.default_rng(1)
    hits = (crossed(rng, 30, 40) > 0) * 1.0
    used = np.arange(40) < 25
    part = clustered.share(hits, np.tile(used, (30, 1)))
    assert part == pytest.approx(clustered.share(hits[:, used]))
    assert clustered.share(hits, np.ones(hits.shape, bool)) == clustered.share(hits)


def test_it_is_not_far_below_that_of_independent_pairs():
    influences = np.tile([[1.0, -1.0]], (6, 4))  # every model's sum is 0
    influences[1::2] *= -1  # and every example's
    assert clustered.variance(influences) == np.sum(influences**2)
    many = np.tile(influences, (5, 5))
    assert clustered.variance(many) == np.sum(many**2) / 2
    assert np.isnan(clustered.variance(influences[:1]))


def covered(repeats, difference):
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(repeats):
        hard = rng.normal(1, 2, 120)
        ours, theirs = (
            (hard + rng.normal(0, 0.2, (m, 1)) + rng.normal(size=(m, 120)) > 0) * 1.0
            for m in (40, 30)
        )
        if difference:
            one, truth = clustered.difference(ours, theirs), 0.0
        else:
            one, truth = clustered.share(ours), 0.6715
        hits += one.low <= truth <= one.high
    return hits / repeats


@pytest.mark.parametrize("difference", [True, False])
def test_accuracies_over_other_models_and_other_examples(difference):
    """How hard examples are cancels in the difference, so it is much narrower."""
    assert covered(150, difference) > 0.89
    rng = np.random.default_rng(3)
    hard = rng.normal(1, 2, 120)
    hits = [(hard + rng.normal(size=(30, 120)) > 0) * 1.0 for _ in range(2)]
    gap, share = clustered.difference(*hits), clustered.share(hits[0])
    assert gap.high - gap.low < 0.4 * (share.high - share.low)


@pytest.mark.slow
@pytest.mark.parametrize("difference", [True, False])
def test_coverage(difference):
    assert 0.925 <= covered(1000, difference) <= 0.975


def test_what_few_never_showed_may_still_be():
    """By the exact binomial interval of none in as many; of many nothing is added."""
    for count in (1, 5, 23):
        assert clustered.unseen(count) == pytest.approx(beta.ppf(0.975, 1, count))
    assert clustered.unseen(24) == 0
    assert clustered.share(np.ones((5, 7))) == (1.0, 1.0, 1.0)


def test_what_is_not_of_one_set_is_refused():
    with pytest.raises(InputError, match="on one set"):
        clustered.difference(np.ones((5, 7)), np.ones((5, 6)))
    with pytest.raises(InputError, match=r"\[S, N\]"):
        clustered.share(np.ones(7))


def test_intervals_of_several_comparisons_are_wider():
    assert clustered.quantile(10**6) == pytest.approx(1.96, abs=1e-3)
    assert clustered.quantile(10**6, 3) == pytest.approx(2.394, abs=1e-3)
    assert clustered.quantile(12) == pytest.approx(2.201, abs=1e-3)


def test_an_interval_is_cut_to_what_is_possible():
    influences = np.ones((30, 30))
    one = clustered.estimate(0.9, influences, bounds=(0, 1))
    assert (one.low, one.high) == (0, 1)


def test_what_groups_have_in_common_is_taken_from_pairs_alone():
    rng = np.random.default_rng(4)
    groups = np.argsort(rng.random((9, 12)), axis=0) % 3
    positive, negative = groups == 0, groups == 1
    easy = rng.normal(size=12)
    influences = np.where(positive, easy, np.where(negative, -easy, 0))
    found = clustered.without_common(influences, positive, negative)
    np.testing.assert_allclose(found, 0, atol=1e-12)
    noise = np.where(positive | negative, rng.normal(size=(9, 12)), 0)
    found = clustered.without_common(noise + influences, positive, negative)
    np.testing.assert_allclose(found.sum(0), noise.sum(0), atol=1e-12)


def test_examples_that_all_answer_are_drawn_too():
    """A class with two hard images of 36: two groups of models that are alike."""
    rng = np.random.default_rng(4)
    within = []
    for _ in range(60):
        hard = rng.random(36) < 2 / 36
        ours, theirs = ((rng.random((66, 36)) > 0.5 * hard) * 1.0 for _ in range(2))
        one = clustered.difference(ours, theirs, comparisons=10)
        assert one.high - one.low < 0.05
        within.append(one.low <= 0 <= one.high)
    assert np.mean(within) > 0.95
