"""What is particular to SalUn."""

import jax
import numpy as np
import pytest
from cases import case
from trees import flat

from unlearn.methods.salun import saliency_mask
from unlearn.training import cross_entropy


@pytest.mark.slow
def test_salun_masked_weights_keep_their_bits(norm_problem, norm_variables):
    """Momentum and weight decay move nothing that the mask holds."""
    fn, seen = case("salun", norm_problem, epochs=5, weight_decay=0.1, fraction=0.3)
    after, info = fn(jax.random.key(0), norm_variables, seen)
    mask = saliency_mask(norm_variables, seen, 0.3)
    trees = mask, norm_variables["params"], after["params"]
    for m, old, new in zip(*map(jax.tree.leaves, trees), strict=True):
        m = np.asarray(m)
        np.testing.assert_array_equal(np.asarray(new)[~m], np.asarray(old)[~m])
        assert np.mean(np.asarray(new)[m] != np.asarray(old)[m]) > 0.9 or not m.any()
    np.testing.assert_allclose(info["trained"], 0.3, atol=0.02)


@pytest.mark.slow
def test_salun_mask_holds_the_largest_gradients(problem, variables):
    def loss(params):
        logits, _ = problem.model.apply(
            {"params": params}, problem.inputs(problem.forget)
        )
        return cross_entropy(logits, problem.labels[problem.forget]).mean()

    gradient = np.abs(flat(jax.grad(loss)(variables["params"])))
    for batch_size in (3, 7):  # a ragged last batch has no extra say
        mask = flat(saliency_mask(variables, problem, 0.25, batch_size=batch_size))
        assert mask.sum() == round(0.25 * gradient.size)
        assert gradient[mask].min() >= gradient[~mask].max()
