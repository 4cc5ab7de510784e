"""What is particular to the fourth of the NeurIPS 2023 challenge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import (
    FULL,
    ce,
    changed,
    conv_case,
    outputs,
    prepare,
    step,
    uneven_class_problem,
)
from trees import assert_close, flat


@pytest.fixture(scope="module")
def conv():
    return conv_case()


@pytest.mark.slow
def test_prune_reinit_entropy_renews_the_globally_smallest(conv):
    problem, variables = conv
    constants = dict(FULL, epochs=1, quantise=False)
    after = prepare("prune_reinit_entropy", problem, variables, **constants)(
        learning_rate=0.0, fraction=0.6
    )
    layers = {k: v for k, v in variables["params"].items() if "Norm" not in k}
    magnitudes = np.abs(flat(layers))
    renewed = flat(layers) != flat({k: after["params"][k] for k in layers})
    assert renewed.sum() == round(0.6 * magnitudes.size)
    assert magnitudes[renewed].max() <= magnitudes[~renewed].min()
    assert all("Norm" not in path for path in changed(variables, after))


@pytest.mark.slow
def test_prune_reinit_entropy_matches_entropies(variables):
    """A full-batch step on a class-forgetting problem, from the renewed weights."""
    problem, rate = uneven_class_problem(), 0.2
    labels = problem.labels[problem.retain]
    weights = jnp.where(labels == 0, 14**-0.1, 5**-0.1)

    def entropies(variables):
        p = jax.nn.softmax(outputs(problem, variables, problem.retain)[0])
        return -jnp.sum(p * jnp.log(p), -1)

    def loss(variables_):
        logits, variables_ = outputs(problem, variables_, problem.retain)
        weighted = jnp.sum(weights * ce(logits, labels)) / weights.sum()
        gaps = entropies(variables_) - entropies(variables)
        return weighted + jnp.mean(gaps**2), variables_

    constants = dict(FULL, epochs=1, quantise=False)
    fn = prepare("prune_reinit_entropy", problem, variables, **constants)
    start = fn(learning_rate=0.0, fraction=0.5)
    after = fn(learning_rate=rate, fraction=0.5)
    assert_close(after, step(loss, start, rate), 1e-4, 1e-6)
    rounded = prepare(
        "prune_reinit_entropy", problem, variables, **constants | {"quantise": True}
    )(learning_rate=rate, fraction=0.5)
    half = flat(after).astype(np.float16).astype(np.float32)
    assert np.any(half != flat(after))
    np.testing.assert_allclose(flat(rounded), half, rtol=0, atol=6.2e-5)
    normal = np.abs(half) > 6.2e-5
    np.testing.assert_array_equal(flat(rounded)[normal], half[normal])
