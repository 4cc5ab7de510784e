"""What is particular to the fifth of the NeurIPS 2023 challenge."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import (
    FULL,
    changed,
    conv_case,
    outputs,
    prepare,
    retain_loss,
    step,
    wide_case,
)
from trees import assert_close, assert_equal

from unlearn import make_problem
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.models import create
from unlearn.optimizers import sgd
from unlearn.training import batch_shape


@pytest.fixture(scope="module")
def conv():
    return conv_case()


@pytest.fixture(scope="module")
def wide():
    return wide_case()


@pytest.mark.slow
def test_conv_transpose_transposes_square_filters_only(conv):
    problem, variables = conv
    after = prepare("conv_transpose", problem, variables, epochs=1, **FULL)(
        learning_rate=0.0
    )
    expected = {k: dict(v) for k, v in variables["params"].items()}
    for layer in ("Conv_0", "Conv_2"):
        kernel = np.array(expected[layer]["kernel"])
        for i, j in np.ndindex(3, 3):
            expected[layer]["kernel"] = (
                expected[layer]["kernel"].at[i, j].set(kernel[j, i])
            )
    assert_equal(after["params"], expected)
    assert changed(variables, after).keys() == {"Conv_0/kernel", "Conv_2/kernel"}


@pytest.mark.slow
def test_conv_transpose_of_a_dense_net_sees_transposed_images(wide):
    problem, variables = wide
    turned = problem.replace(examples=jnp.swapaxes(problem.examples, 1, 2))
    fn = prepare("conv_transpose", problem, variables, epochs=1, **FULL)
    after = fn(learning_rate=0.0)
    assert changed(variables, after).keys() == {"Dense_0/kernel"}
    before, _ = outputs(problem, variables, problem.retain)
    assert_close(outputs(turned, after, problem.retain)[0], before, 1e-4, 1e-5)
    start, loss = after, retain_loss(problem)
    assert_close(fn(learning_rate=0.1), step(loss, start, 0.1), 1e-4, 1e-5)


def test_conv_transpose_says_when_there_is_nothing_to_transpose():
    images = np.zeros((6, 4, 2, 1), np.uint8)
    problem = make_problem(images, np.arange(6) % 3, [0], create("mlp", 3, widths=(4,)))
    variables = problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))
    with pytest.raises(InputError, match="another method"):
        prepare("conv_transpose", problem, variables)()


CHALLENGE = "conv_transpose", "noise_reset", "reset_head_distill"


@pytest.mark.parametrize("name", CHALLENGE)
@pytest.mark.slow
def test_the_cosine_goes_by_the_epoch(name, conv, monkeypatch):
    """Epochs of two steps: one rate an epoch, half of the first in the second."""
    problem, variables = conv
    rates, module = [], importlib.import_module(f"unlearn.methods.{name}")

    def spy(rate, **options):
        rates.append(rate)
        return sgd(rate, **options)

    monkeypatch.setattr(module, "sgd", spy)
    constants = dict(learning_rate=0.1, epochs=2, batch_size=14)
    jax.eval_shape(
        lambda: METHODS[name].fn(jax.random.key(0), variables, problem, **constants)
    )
    steps, _ = batch_shape(len(problem.retain), 14)
    assert steps == 2
    found = [float(rates[-1](step)) for step in range(2 * steps)]
    np.testing.assert_allclose(found, [0.1, 0.1, 0.05, 0.05], rtol=1e-5)
