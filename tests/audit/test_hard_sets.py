"""Harder forget sets, where what they should find was put in."""

import numpy as np
import pytest
from small_audits import prepared

from unlearn.audit import hard_sets, studies
from unlearn.errors import InputError


def simulated(models=300, targets=30, seed=0):
    draw = np.random.default_rng(seed)
    states = draw.integers(0, 3, (models, targets))
    margins = draw.normal(0, 0.5, (models, targets)) + np.linspace(-3, 3, targets)
    return margins, states


def test_memorization_is_the_difference_of_two_means():
    margins, states = simulated()
    margins[:, 7] += 6 * (states[:, 7] != 0)
    scores = hard_sets.memorization(margins, states)
    assert np.argmax(scores) == 7
    p = 1 / (1 + np.exp(-margins[:, 7]))
    expected = p[states[:, 7] != 0].mean() - p[states[:, 7] == 0].mean()
    np.testing.assert_allclose(scores[7], expected)
    assert np.all(np.abs(np.delete(scores, 7)) < 0.2)


def test_memorization_without_a_group_is_not_a_number():
    margins, states = simulated(10, 3)
    states[:, 1] = 2
    assert np.isnan(hard_sets.memorization(margins, states)).tolist() == [0, 1, 0]


def test_strata_have_one_size_and_are_ordered():
    scores = np.random.default_rng(0).normal(size=31)
    groups = hard_sets.strata(scores)
    assert np.bincount(groups).tolist() == [11, 10, 10]
    assert scores[groups == 0].max() < scores[groups == 1].min()
    assert scores[groups == 1].max() < scores[groups == 2].min()


def test_the_worst_case_is_what_models_know_unseen():
    margins, states = simulated()
    margins[:, 0] += 20 * (states[:, 0] != 0)  # trained with it, it is surest of all
    assert sorted(hard_sets.worst_case(margins, states, 3)) == [27, 28, 29]


def test_a_confused_pair():
    labels = np.repeat([0, 1, 2], 40)
    changed, forget = hard_sets.confused_pair(labels, 0, 2, count=10)
    assert np.array_equal(np.flatnonzero(changed != labels), forget)
    assert np.bincount(labels[forget], minlength=3).tolist() == [10, 0, 10]
    assert set(zip(labels[forget], changed[forget], strict=True)) == {(0, 2), (2, 0)}
    with pytest.raises(InputError, match="class 5 has 0 examples"):
        hard_sets.confused_pair(labels, 0, 5, count=10)
    with pytest.raises(InputError, match="two different classes"):
        hard_sets.confused_pair(labels, 1, 1, count=10)


def test_sequential_requests_are_disjoint():
    forget = hard_sets.sequential_requests(200)
    assert forget.shape == (10, 2) and len(np.unique(forget)) == 20
    with pytest.raises(InputError, match="each needs one"):
        hard_sets.sequential_requests(40)


@pytest.mark.parametrize("count", [0, 31])
def test_counts_are_checked(count):
    margins, states = simulated()
    with pytest.raises(InputError, match="1..30 targets"):
        hard_sets.worst_case(margins, states, count)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def shadow(run):
    return studies.shadow_study(run)


@pytest.mark.slow
def test_harder_sets_have_one_size_and_fit_their_names(run, shadow):
    stress = studies.stress_study(run)
    sets = hard_sets.harder_sets(run, shadow, stress)
    labels = np.asarray(run.problem.labels)
    assert {len(forget) for forget, _ in sets.values()} == {8}
    for name in ("memorised", "not memorised", "worst case"):
        assert set(sets[name][0]) <= set(shadow.targets) and sets[name][1] is None
    assert not set(sets["memorised"][0]) & set(sets["not memorised"][0])
    for name in ("confused pair", "mislabelled"):
        forget, changed = sets[name]
        assert np.all(changed[forget] != labels[forget])
    assert np.sum(sets["confused pair"][1] != labels) == 8
    without = hard_sets.harder_sets(run, shadow, None)
    assert sets.keys() - without.keys() == {"mislabelled"}
