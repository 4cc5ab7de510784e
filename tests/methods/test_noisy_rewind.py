"""Noisy rewinding: what it starts from, and what chains of methods certify."""

import jax
import numpy as np
import pytest
from trees import assert_close, flat

from unlearn import methods, training
from unlearn.errors import InputError
from unlearn.methods import noisy_rewind, noisy_steps
from unlearn.methods.noisy_steps import Steps

KEY = jax.random.key(3)
SMALL = dict(epochs=1, batch_size=16, noisy_steps=4)


@pytest.fixture
def rewindable(problem, variables):
    """The start, and weights from early on: not those that are there now."""
    early = jax.tree.map(lambda x: 1.1 * x + 0.1, variables)
    return problem.replace(early={0: variables, 1: early})


@pytest.mark.slow
def test_it_is_the_noisy_steps_towards_the_start_and_then_fine_tuning(
    rewindable, variables
):
    """Put together anew of its parts."""
    constants = dict(epsilon=64.0, kept=0.5, radius=3.0, warmup_epochs=0)
    found, info = noisy_rewind(KEY, {}, rewindable, **SMALL, **constants)
    plan = Steps(count=4, kept=0.5, rate=1e-3, limit=1.0, radius=3.0)
    sigma = plan.apart() / noisy_steps.separation(64.0, 1e-5) / plan.noise_at_end(1.0)
    key_noisy, key_fit = jax.random.split(KEY)
    objective = training.classification(rewindable.model)
    early, start = rewindable.early[1], rewindable.early[0]
    args = rewindable, objective, plan, sigma, 16
    params = noisy_steps.take(key_noisy, early["params"], start, *args)
    recipe = training.Recipe(epochs=1, batch_size=16, learning_rate=0.05)
    recipe = recipe._replace(warmup_epochs=0)
    expected, _ = training.fit(
        key_fit,
        {**start, "params": params},
        rewindable,
        rewindable.retain,
        objective,
        recipe.optimizer(len(rewindable.retain)),
        epochs=1,
        batch_size=16,
    )
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(info["certificate"], [64.0, 1e-5])


@pytest.mark.slow
def test_where_nothing_is_kept_neither_end_nor_early_weights_have_an_effect(
    rewindable, variables
):
    other = jax.tree.map(lambda x: x - 1, rewindable.early[1])
    changed = rewindable.replace(early=rewindable.early | {1: other})
    calls = ((variables, rewindable), (other, rewindable), (variables, changed))
    first, *others = (noisy_rewind(KEY, v, p, **SMALL, kept=0.0)[0] for v, p in calls)
    for found in others:
        assert_close(found, first)
    kept, _ = noisy_rewind(KEY, variables, changed, **SMALL, kept=0.5)
    assert np.abs(flat(kept) - flat(first)).max() > 1e-3


@pytest.mark.parametrize(("left", "missing"), [((1,), 0), ((0,), 1)])
def test_it_needs_the_start_too(rewindable, variables, left, missing):
    problem = rewindable.replace(early=dict.fromkeys(left, variables))
    with pytest.raises(InputError, match=f"noisy_rewind needs .* epoch {missing} of"):
        noisy_rewind(KEY, variables, problem, **SMALL)


CHAINS = {
    "noisy_finetune": 1.0,
    "noisy_rewind": 2.0,
    "salun+noisy_finetune": 1.0,  # whatever was before: it is hidden
    "noisy_rewind+noisy_finetune": 1.0,
    "noisy_finetune+finetune": 1.0,
    "noisy_finetune+salun": None,  # looks at the forget set again
    "noisy_finetune+rewind": None,  # and at weights that have seen it
    "finetune": None,
    "salun": None,
}


@pytest.mark.parametrize("chain", CHAINS)
def test_the_certificate_of_a_chain_is_of_what_hides_last(chain):
    constants = {
        "noisy_finetune": {"epsilon": 1.0, "delta": 1e-5},
        "noisy_rewind": {"epsilon": 2.0, "delta": 1e-5},
    }
    expected = CHAINS[chain] and (CHAINS[chain], 1e-5)
    assert methods.certificate(chain.split("+"), constants) == expected
