"""Where rewinding starts, and how it goes on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import trained
from trees import assert_close, flat

from unlearn.errors import InputError
from unlearn.methods import finetune, rewind
from unlearn.training import Recipe, train

RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=0.1)
SHARED = dict(learning_rate=0.05, epochs=2, batch_size=16)
KEY = jax.random.key(3)
KEY_FIT = jax.random.split(KEY)[0]


@pytest.fixture
def rewindable(problem):
    """The problem of `trained(problem)` with two of its early epochs."""
    everything = jnp.arange(len(problem.labels))
    kept = {
        epoch: train(jax.random.key(0), problem, everything, RECIPE, epoch)[0]
        for epoch in (1, 6)
    }
    return problem.replace(early=kept)


@pytest.mark.slow
def test_the_early_weights_lie_on_the_way_of_the_training(problem, rewindable):
    assert_close(rewindable.early[6], trained(problem))


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 6])
def test_it_is_fine_tuning_from_the_early_weights(rewindable, epoch):
    """Back to the end: plain fine-tuning. The original itself is not looked at."""
    start = rewindable.early[epoch]
    nothing = jax.tree.map(jnp.zeros_like, start)
    found, _ = rewind(KEY, nothing, rewindable, **SHARED, epoch=epoch)
    assert_close(found, finetune(KEY_FIT, start, rewindable, **SHARED)[0])


@pytest.mark.slow
def test_noise_at_the_end_is_of_its_size(rewindable):
    start = rewindable.early[1]
    plain, _ = rewind(KEY, start, rewindable, **SHARED)
    noisy, _ = rewind(KEY, start, rewindable, **SHARED, sigma=0.2)
    moved = flat(noisy["params"]) - flat(plain["params"])
    assert moved.std() == pytest.approx(0.2, rel=0.15) and np.all(moved != 0)


def test_weights_that_were_not_kept(problem, rewindable):
    with pytest.raises(InputError, match=r"after epoch 2 .* which has \[1, 6\]"):
        rewind(KEY, rewindable.early[1], rewindable, epoch=2)
    with pytest.raises(InputError, match="problem.early, which has none: keep it"):
        rewind(KEY, rewindable.early[1], problem)
