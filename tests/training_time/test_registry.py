"""Every training-time method through the same protocol."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_time_cases import GONE, KEY, SETTINGS, numpy_copy
from trees import assert_equal, distance

from unlearn import InputError, store, training_time
from unlearn.training_time import with_data, without_data


@pytest.fixture(params=SETTINGS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def state(name, problem):
    return training_time.METHODS[name].fit(KEY, problem, **SETTINGS[name])


@pytest.fixture(scope="module")
def after(name, state):
    return training_time.METHODS[name].forget(jax.random.key(7), state, GONE)


def test_declaration():
    assert SETTINGS.keys() == training_time.METHODS.keys()
    for name, info in training_time.METHODS.items():
        assert info.name == name and info.paper and isinstance(info.differs, str)
    guarantees = {n: info.guarantee for n, info in training_time.METHODS.items()}
    assert guarantees == dict(sisa="exact", amnesiac="none", certified="certified")


def test_protocol(name, state, after, problem):
    """Deterministic; arguments keep their bits; logits finite; forgetting changes."""
    method = training_time.METHODS[name]
    before = numpy_copy((state, problem))
    again = method.fit(KEY, problem, **SETTINGS[name])
    assert_equal(numpy_copy(again), before[0])
    after, info = after
    twin, _ = method.forget(jax.random.key(7), state, GONE)
    assert_equal(numpy_copy((state, problem)), before)
    assert_equal(numpy_copy(twin), numpy_copy(after))
    logits = [method.predict(s, problem.images) for s in (state, after)]
    for values in logits:
        assert values.shape == (40, 3) and values.dtype == jnp.float32
        assert np.isfinite(values).all()
    assert distance(*logits) > 0
    assert all(np.ndim(value) == 0 for value in info.values())
    removed = np.flatnonzero(~np.asarray(after.active))
    np.testing.assert_array_equal(removed, GONE)
    labels = np.asarray(problem.labels)
    assert np.mean(np.argmax(logits[0], -1) == labels) > 0.5


def test_works_with_batch_statistics(name, norm_problem, norm_variables):
    settings = dict(SETTINGS[name])
    if name == "certified":
        settings["variables"] = norm_variables
    state = training_time.METHODS[name].fit(KEY, norm_problem, **settings)
    state, _ = training_time.METHODS[name].forget(KEY, state, [0])
    assert np.isfinite(
        training_time.METHODS[name].predict(state, norm_problem.images)
    ).all()


@pytest.mark.parametrize(
    ("indices", "says"),
    [
        ([], "nothing to forget"),
        ([40], "out of range"),
        ([-1], "out of range"),
        ([3, 3], "repeated"),
        ([0.5], "whole numbers"),
        ([2, 5], "5 is not in the training set"),
        ([i for i in range(40) if i not in GONE], "every example that is left"),
    ],
)
def test_requests_are_checked(name, indices, says, after):
    with pytest.raises(InputError, match=says) as error:
        training_time.METHODS[name].forget(KEY, after[0], indices)
    assert "\n" not in str(error.value)


def test_state_survives_a_checkpoint(name, state, after, problem, tmp_path):
    small = without_data(state)
    store.save_checkpoint(tmp_path / "state", small, {})
    loaded, _ = store.load_checkpoint(tmp_path / "state", small)
    loaded, _ = training_time.METHODS[name].forget(
        jax.random.key(7), with_data(loaded, problem), GONE
    )
    assert_equal(
        training_time.METHODS[name].predict(without_data(loaded), problem.images),
        training_time.METHODS[name].predict(after[0], problem.images),
    )
    assert small.problem.images is None
