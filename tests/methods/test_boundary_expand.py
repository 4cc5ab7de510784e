"""What is particular to boundary expand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_problem, trained
from references import heavy_ball
from trees import assert_close

from unlearn.models import from_linen
from unlearn.surgery import replace

KEY = jax.random.key(3)

WHOLE = dict(batch_size=40, momentum=0.9)


class ConvHead(nn.Module):
    """A 1x1 convolution pooled to logits."""

    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Conv(4, (3, 3), strides=2, name="trunk")(x))
        return nn.Conv(3, (1, 1), name="head")(x).mean((1, 2))


class WideConvHead(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Conv(4, (3, 3), strides=2, name="trunk")(x))
        return nn.Conv(4, (1, 1), name="head")(x).mean((1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_boundary_expand_is_a_widened_head_then_cut(kind, problem, variables):
    """The reference trains a net that really has one class more."""
    wide = problem.model.apply
    if kind == "convolution":
        problem = tiny_problem(from_linen(ConvHead()))
        variables = trained(problem, epochs=2)
        wide = from_linen(WideConvHead()).apply
    head = variables["params"]["head"]
    width = head["kernel"].shape[-2]
    neuron = jax.random.normal(jax.random.split(KEY)[0], (width, 1))
    neuron = neuron * np.sqrt(2 / (width + 4))
    neuron = neuron.reshape(*head["kernel"].shape[:-1], 1)
    widened = {
        "kernel": jnp.concatenate([head["kernel"], neuron], -1),
        "bias": jnp.append(head["bias"], 0.0),
    }

    def loss(params):
        logits, _ = wide({"params": params}, problem.inputs(problem.forget))
        assert logits.shape[-1] == 4
        return -jax.nn.log_softmax(logits)[:, 3].mean()

    params = replace(variables["params"], ("head",), widened)
    expected = heavy_ball(params, [jax.grad(loss)] * 3, 0.2)
    cut = jax.tree.map(lambda w: w[..., :3], expected["head"])
    fn, seen = case("boundary_expand", problem, learning_rate=0.2, epochs=3, **WHOLE)
    after, _ = fn(KEY, variables, seen)
    assert_close(after["params"], replace(expected, ("head",), cut), 1e-4, 1e-5)
