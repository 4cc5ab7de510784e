"""What amnesiac unlearning takes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_time_cases import GONE, KEY, SETTINGS
from trees import assert_close, assert_equal, distance, pick

from unlearn import InputError, training_time
from unlearn.training_time import amnesiac


def amnesiac_fit(problem, **changes):
    settings = SETTINGS["amnesiac"] | dict(repair_epochs=0) | changes
    return training_time.METHODS["amnesiac"].fit(KEY, problem, **settings)


def test_amnesiac_with_everything_subtracted_is_the_fresh_model(problem):
    """One example a class, asked for in turn, until no update is stored."""
    state = amnesiac_fit(problem)
    assert len(state.batches) == 15
    fresh = problem.model.init(jax.random.split(KEY)[0], problem.inputs(jnp.arange(1)))
    assert distance(state.variables, fresh) > 0.1
    for i in range(30):
        state, info = training_time.METHODS["amnesiac"].forget(KEY, state, [i])
        if not info["stored"]:
            break
    assert info["stored"] == 0
    assert_close(state.variables, fresh, 1e-4, 1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_who_fills_the_last_batch_up_is_in_two_of_an_epoch(problem, seed):
    state = training_time.METHODS["amnesiac"].fit(
        jax.random.key(seed), problem, epochs=3, batch_size=16, sensitive=[3]
    )
    updates = jax.tree.leaves(state.updates)[0]
    assert len(updates) == len(state.batches) >= 3
    assert (state.batches == 3).any(axis=1).all()
    state, info = training_time.METHODS["amnesiac"].forget(KEY, state, [3])
    assert info["stored"] == 0


@pytest.mark.parametrize("name", ["amnesiac", "sisa"])
def test_batches_of_nothing_are_refused(problem, name):
    with pytest.raises(InputError, match="batch_size must be at least 1; it is 0"):
        training_time.METHODS[name].fit(KEY, problem, batch_size=0)
    with pytest.raises(InputError, match="flat list of whole numbers"):
        training_time.METHODS[name].fit(KEY, problem, indices=[0.0, 1.5])


@pytest.mark.parametrize("together", [False, True])
def test_amnesiac_subtracts_the_batches_of_the_example_alone(problem, together):
    """Against the difference of weights before and after each of its batches."""
    everything = amnesiac_fit(problem)
    state = everything
    if together:
        state = amnesiac_fit(problem, sensitive=GONE, together=True)
        assert_equal(state.variables, everything.variables)
        assert len(state.batches) == 1
    holds = np.array([bool(set(GONE) & set(b)) for b in everything.batches])
    assert 3 <= holds.sum() <= 6
    deltas = np.flatnonzero(holds)
    expected = state.variables["params"]
    for i in deltas:
        expected = jax.tree.map(jnp.subtract, expected, pick(everything.updates, i))
    after, info = training_time.METHODS["amnesiac"].forget(KEY, state, GONE)
    assert_close(after.variables["params"], expected, 1e-4, 1e-6)
    if not together:
        assert info["subtracted"] == holds.sum()
        np.testing.assert_array_equal(after.batches, everything.batches[~holds])


def test_amnesiac_updates_are_steps_of_the_gradient(problem):
    """The first stored update is a step of SGD on its batch."""
    state = amnesiac_fit(problem)
    fresh = problem.model.init(jax.random.split(KEY)[0], problem.inputs(jnp.arange(1)))
    inputs, labels = problem.inputs(state.batches[0]), problem.labels[state.batches[0]]

    def loss(params):
        logits, _ = problem.model.apply({"params": params}, inputs)
        decay = sum(jnp.sum(p**2) for p in jax.tree.leaves(params) if p.ndim > 1)
        right = jax.nn.log_softmax(logits)[jnp.arange(8), labels]
        return -right.mean() + 5e-4 / 2 * decay

    expected = jax.tree.map(
        lambda g: -0.1 * g, jax.jit(jax.grad(loss))(fresh["params"])
    )
    assert_close(pick(state.updates, 0), expected, 1e-3, 1e-6)


def test_amnesiac_repair_is_recorded(problem):
    """What the repair learns from an example can be taken back later."""
    state = amnesiac_fit(problem, repair_epochs=2, repair_learning_rate=0.1)
    after, info = training_time.METHODS["amnesiac"].forget(KEY, state, [5])
    assert info["retrained_examples"] == 2 * 39
    assert info["stored"] == 15 - info["subtracted"] + 2 * 5
    assert not np.isin(after.batches, 5).any()
    again, _ = training_time.METHODS["amnesiac"].forget(KEY, after, [6])
    assert not np.isin(again.batches, [5, 6]).any()


def test_amnesiac_says_what_it_cannot_take_back(problem):
    forget = training_time.METHODS["amnesiac"].forget
    state = amnesiac_fit(problem, sensitive=GONE, together=True)
    with pytest.raises(InputError, match="example 6 were not stored"):
        forget(KEY, state, [5, 6])
    with pytest.raises(InputError, match="request all"):
        forget(KEY, state, [5])
    with pytest.raises(InputError, match="GB"):
        amnesiac_fit(problem, max_gigabytes=1e-6)


@pytest.mark.parametrize("epochs", [1, 2])
def test_amnesiac_never_refuses_for_storage(problem, epochs):
    """Room for the training alone; a repair without room is one update, taken whole."""
    forget, free = training_time.METHODS["amnesiac"].forget, 15
    limit = amnesiac.gigabytes(amnesiac_fit(problem).variables["params"], free)
    with pytest.raises(InputError, match="15 batches take"):
        amnesiac_fit(problem, max_gigabytes=limit * 0.99)
    state = amnesiac_fit(problem, repair_epochs=epochs, max_gigabytes=limit * 1.01)
    summed = []
    for i in range(39):
        whole = np.flatnonzero((state.batches == amnesiac.EVERYONE).all(1))
        before, (state, info) = state, forget(jax.random.key(i), state, [i])
        assert info["subtracted"] >= 1 and info["stored"] <= free
        assert info["gigabytes"] <= limit * 1.01
        assert len(jax.tree.leaves(state.updates)[0]) == len(state.batches)
        assert not np.isin(state.batches, range(i + 1)).any()
        summed.append(bool((state.batches == amnesiac.EVERYONE).any()))
        assert len(whole) <= 1 and info["subtracted"] >= len(whole)
    assert any(summed) and not all(summed)
    assert np.isfinite(jax.tree.leaves(before.variables)[0]).all()


def test_amnesiac_sums_the_updates_of_a_repair(problem):
    """What is stored as one is what the repair moved, and is taken back."""
    limit = 15.5 * amnesiac.gigabytes(amnesiac_fit(problem).variables["params"], 1)
    state = amnesiac_fit(problem, repair_epochs=3, max_gigabytes=limit)
    after, _ = training_time.METHODS["amnesiac"].forget(KEY, state, [5])
    unrepaired, _ = training_time.METHODS["amnesiac"].forget(
        KEY, amnesiac_fit(problem), [5]
    )
    assert (after.batches[-1] == amnesiac.EVERYONE).all()
    moved = jax.tree.map(
        jnp.subtract, after.variables["params"], unrepaired.variables["params"]
    )
    assert distance(moved, jax.tree.map(jnp.zeros_like, moved)) > 1e-3
    assert_close(pick(after.updates, -1), moved, 1e-3, 1e-6)


def test_amnesiac_compiles_one_program_for_all_requests(problem):
    forget = training_time.METHODS["amnesiac"].forget
    state = amnesiac_fit(problem, repair_epochs=1)
    state, _ = forget(KEY, state, [0])
    before = amnesiac._run._cache_size()
    for i in range(1, 25, 3):
        state, _ = forget(KEY, state, [i, i + 1, i + 2][: 1 + i % 3])
    assert amnesiac._run._cache_size() == before


@pytest.mark.slow
def test_a_serving_copy_has_no_updates(problem):
    state = amnesiac_fit(problem)
    small = amnesiac.for_serving(state)
    assert not len(small.batches) and small.updates is None
    logits = amnesiac.predict(small, problem.examples)
    assert_equal(logits, amnesiac.predict(state, problem.examples))
    with pytest.raises(InputError, match="for serving"):
        amnesiac.forget(KEY, small, [0])
