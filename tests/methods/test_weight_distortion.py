"""The noise, the push, and fine-tuning where there is neither."""

import jax
import numpy as np
import pytest
from conftest import trained
from trees import assert_close, flat

from unlearn.methods import finetune, weight_distortion

SHARED = dict(learning_rate=0.05, epochs=2, batch_size=16)
ONE_STEP = dict(epochs=1, batch_size=1000, momentum=0.0, weight_decay=0.0)
KEY = jax.random.key(3)
KEY_FIT = jax.random.split(KEY)[1]


@pytest.fixture
def original(problem):
    return trained(problem, epochs=3)


@pytest.mark.slow
def test_without_noise_it_is_fine_tuning(problem, original):
    found, _ = weight_distortion(KEY, original, problem, **SHARED, sigma=0.0)
    assert_close(found, finetune(KEY_FIT, original, problem, **SHARED)[0])


def test_the_noise_is_on_all_weights_and_of_its_size(problem, original):
    options = SHARED | dict(learning_rate=0.0, sigma=0.3)
    found, _ = weight_distortion(KEY, original, problem, **options)
    moved = flat(found["params"]) - flat(original["params"])
    assert np.all(moved != 0)
    assert moved.std() == pytest.approx(0.3, rel=0.15)


@pytest.mark.slow
def test_the_push_is_away_from_the_original(problem, original):
    """A step with and without it differ by rate * alpha along the way so far."""
    away = dict(learning_rate=0.1, sigma=0.3)
    with_push, info = weight_distortion(
        KEY, original, problem, **ONE_STEP, **away, alpha=2.0
    )
    without, known = weight_distortion(KEY, original, problem, **ONE_STEP, **away)
    still = dict(learning_rate=0.0, sigma=0.3)
    noisy, _ = weight_distortion(KEY, original, problem, **ONE_STEP, **still)
    way = flat(noisy["params"]) - flat(original["params"])
    length = np.linalg.norm(way)
    np.testing.assert_allclose(
        flat(with_push["params"]) - flat(without["params"]),
        0.1 * 2.0 * way / length,
        atol=1e-6,
    )
    difference = known["loss"][0, 0] - info["loss"][0, 0]
    assert difference == pytest.approx(2.0 * length, rel=1e-5)
