"""What a net is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_problem
from trees import assert_close, assert_equal

from unlearn import surgery
from unlearn.errors import InputError
from unlearn.models import create


def test_layers_come_in_the_order_of_the_forward_pass(norm_problem, norm_variables):
    paths = surgery.layers(norm_problem, norm_variables)
    assert paths == [("Dense_0",), ("BatchNorm_0",), ("Dense_1",)]
    weighted = surgery.weighted_layers(norm_problem, norm_variables)
    assert weighted == [("Dense_0",), ("Dense_1",)]
    assert surgery.last(norm_problem, norm_variables, 1) == [("Dense_1",)]
    assert surgery.last(norm_problem, norm_variables, 9) == paths
    mask = surgery.mask(norm_variables["params"], [("Dense_1",)])
    assert mask["Dense_1"] == {"bias": True, "kernel": True}
    assert not any(jax.tree.leaves(mask["Dense_0"]))


@pytest.mark.slow
@pytest.mark.parametrize("net", ["mlp", "cnn", "allcnn"])
def test_the_head_of_the_features_gives_the_logits(net):
    """So it is also where the head is a 1x1 convolution before the pooling."""
    options = {"mlp": dict(widths=(8,)), "cnn": dict(widths=(4,), dense=8)}.get(net, {})
    problem = tiny_problem(create(net, 3, **options))
    variables = surgery.fresh(jax.random.key(0), problem)
    inputs = problem.inputs(problem.forget)
    features, logits, _ = surgery.features(problem.model, variables, inputs)
    head = surgery.at(variables["params"], surgery.head(problem, variables))
    kernel = head["kernel"].reshape(-1, 3)
    np.testing.assert_allclose(
        features @ kernel + head["bias"], logits, rtol=1e-4, atol=1e-4
    )
    plain, _ = problem.model.apply(variables, inputs)
    assert_close(logits, plain)


def test_a_model_without_activations_is_told_what_is_missing(variables):
    problem = tiny_problem(plain_model()._replace(activations=None))
    with pytest.raises(InputError, match="activations"):
        surgery.layers(problem, variables)


def test_largest_takes_the_share_asked_for_even_with_ties():
    scores = {"a": jnp.array([[0.0, 3.0], [0.0, 1.0]]), "b": jnp.array([0.0, 2.0])}
    half = surgery.largest(scores, 0.5)
    expected = [[False, True], [False, True]], [False, True]
    assert_equal(half, dict(zip("ab", map(jnp.array, expected), strict=True)))
    assert sum(x.sum() for x in jax.tree.leaves(surgery.largest(scores, 5 / 6))) == 5
