"""The most exposed examples are those with a leak of their own."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from unlearn.audit import exposure, games
from unlearn.metrics.lira import FORGET, OUT
from unlearn.shadows import balanced_states


def game(leaks, seed=0, models=80, examples=40):
    draw = np.random.default_rng(seed)
    states = balanced_states(draw, models, examples, (OUT, FORGET))
    margins = draw.normal(size=states.shape)
    for position, leak in leaks.items():
        margins[:, position] += leak * (states[:, position] == FORGET)
    return games.Game(margins, states, margins)


def test_an_advantage_is_that_of_the_margins_of_one_example():
    one = game({3: 1.0, 5: -1.0})
    values, _ = exposure.advantages(one)
    for position in (3, 5, 8):
        area = roc_auc_score(
            one.states[:, position] == FORGET, one.margins[:, position]
        )
        assert values[position] == pytest.approx(abs(2 * area - 1))


def test_each_example_once_with_the_method_that_exposes_it_most():
    games_of = {"weak": game({3: 2.0, 7: 1.5}), "strong": game({3: 9.0, 5: -4.0}, 1)}
    found = exposure.most_exposed(games_of, most=3)
    assert [(one.position, one.model) for one in found] == [
        (3, "strong"),
        (5, "strong"),
        (7, "weak"),
    ]
    assert found[0].advantage.value == 1 and found[0].advantage.low < 1
    assert len(exposure.most_exposed(games_of)) == exposure.MOST


def test_who_is_certainly_exposed_comes_before_who_seems_so_of_few_models():
    few, many = game({}, models=12), game({3: 1.5}, models=300)
    few.margins[:, 5] = few.states[:, 5] == FORGET
    first, second = exposure.most_exposed({"few": few, "many": many}, most=2)
    assert (first.position, first.model) == (3, "many") and first.advantage.low > 0
    assert (second.position, second.model) == (5, "few")
    assert second.advantage == (1, 0, 1) and first.advantage.value < 1
    same = {"few": many._replace(margins=many.margins), "many": few}
    swapped = exposure.most_exposed(same, most=2)
    assert [one.model for one in swapped] == ["few", "many"]


@pytest.mark.parametrize(("models", "methods"), [(12, 1), (24, 1), (24, 4)])
def test_perfect_methods_name_no_example_for_certain(models, methods):
    """In at most 5 % of the lists, of all examples and methods together."""
    named = 0
    for seed in range(20):
        games_of = {
            f"method {number}": game({}, 100 * number + seed, models, 60)
            for number in range(methods)
        }
        found = exposure.most_exposed(games_of)
        named += any(one.advantage.low > 0 for one in found)
    assert named <= 1


def test_where_nothing_leaks_nothing_is_shown_for_certain():
    lows = [
        one.advantage.low
        for seed in range(20)
        for one in exposure.most_exposed({"clean": game({}, seed)})
    ]
    assert np.mean(np.array(lows) > 0) < 0.02
