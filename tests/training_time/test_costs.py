"""What SISA requests cost, counted and expected."""

import jax
import numpy as np
import pytest
from training_time_cases import KEY

from unlearn.errors import InputError
from unlearn.training_time import costs, sisa


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("requests", [1, 7, 60])
def test_expected_cost_is_the_mean_of_simulations(requests, one_by_one):
    parts = dict(shards=4, slices=3, epochs=4, one_by_one=one_by_one)
    counted = [costs.simulated_cost(i, 203, requests, **parts) for i in range(300)]
    expected = costs.expected_cost(203, requests, **parts)
    error = np.std(counted) / np.sqrt(300)
    assert abs(np.mean(counted) - expected) < 4 * error + 1e-9
    full = costs.full_cost(203, requests, epochs=4, one_by_one=one_by_one)
    assert 0 < expected < 1.05 * full


@pytest.mark.parametrize("slices", [1, 3, 9])
def test_cost_of_one_request_is_the_formula_of_the_paper(slices):
    size, shards, epochs = 90_000, 10, 10 * (slices + 1) // 2
    got = costs.expected_cost(size, 1, shards=shards, slices=slices, epochs=epochs)
    formula = epochs * size / shards * (2 / 3 + 1 / (3 * slices))
    np.testing.assert_allclose(got, formula, rtol=1e-3)


def test_counted_cost_is_what_forgetting_reports(problem):
    """The simulation's own request, answered by training."""
    parts = dict(shards=3, slices=2, epochs=3)
    state = sisa.fit(jax.random.key(8), problem, batch_size=8, **parts)
    rng = costs.common.random(costs.common.key_bits(jax.random.key(8)), 1)
    removed = rng.choice(40, 4, replace=False)
    _, info = sisa.forget(KEY, state, removed)
    assert info["retrained_examples"] == costs.simulated_cost(8, 40, 4, **parts)
    assert info["full_examples"] == costs.full_cost(40, 4, epochs=3)


def test_no_more_are_requested_than_there_are():
    rows = costs.cost_table(50, trials=2)
    assert max(row["requests"] for row in rows) == 20
    with pytest.raises(InputError, match="requests must be from 1 to 20; they are 30"):
        costs.expected_cost(20, 30, shards=2, slices=2, epochs=4)


def test_cost_table_has_both_ways_of_answering():
    rows = costs.cost_table(1000, requests=(1, 100), trials=5)
    assert [r["answered"] for r in rows] == ["at once", "one by one"] * 2
    assert rows[0]["expected"] == rows[1]["expected"]
    assert rows[0]["speed_up"] > 5 > rows[2]["speed_up"] > 1
