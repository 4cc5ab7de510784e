"""What is particular to pruning before fine-tuning."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import flat, pick

from unlearn import methods
from unlearn.methods.prune_finetune import magnitude_mask

KEY = jax.random.key(3)


@pytest.mark.slow
def test_pruned_weights_are_the_smallest_and_stay_zero(norm_problem, norm_variables):
    """With a traced sparsity, and against weight decay and momentum."""
    constants = dict(epochs=3, batch_size=16, weight_decay=0.1)
    fn = functools.partial(methods.METHODS["prune_finetune"].fn, **constants)
    many = jax.jit(
        jax.vmap(lambda s: fn(KEY, norm_variables, norm_problem, sparsity=s))
    )
    sparsities = np.array([0.4, 0.9], np.float32)
    after, info = many(sparsities)
    old = norm_variables["params"]
    sizes = np.sort(np.abs(flat([w for w in jax.tree.leaves(old) if w.ndim > 1])))
    for i, sparsity in enumerate(sparsities):
        limit = sizes[round(float(sparsity) * sizes.size)]
        pruned = jax.tree.map(lambda w, low=limit: (abs(w) < low) & (w.ndim > 1), old)
        pruned, new = flat(pruned), flat(pick(after["params"], i))
        assert np.all(new[pruned] == 0)
        assert np.mean(new[~pruned] != flat(old)[~pruned]) > 0.5
        np.testing.assert_allclose(info["kept"][i], np.mean(~pruned), rtol=1e-6)


@pytest.mark.slow
def test_pruning_counts_ties_exactly():
    params = {"a": {"kernel": jnp.ones((4, 5)), "bias": jnp.zeros(5)}}
    mask = magnitude_mask(params, 0.35)["a"]
    assert mask["kernel"].sum() == 13 and mask["bias"].all()
