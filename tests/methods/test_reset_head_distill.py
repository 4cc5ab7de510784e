"""What is particular to the sixth of the NeurIPS 2023 challenge."""

import jax
import numpy as np
import pytest
from references import FULL, changed, conv_case, kl, outputs, prepare, retain_loss, step
from trees import assert_close


@pytest.fixture(scope="module")
def conv():
    return conv_case()


@pytest.mark.slow
def test_reset_head_distill_step_by_step(conv):
    """First layer and head are new; then a warm-up step and a repair step."""
    problem, variables = conv
    warmup_rate, rate, temperature = 0.5, 0.1, 3.0
    fn = prepare(
        "reset_head_distill", problem, variables, epochs=1, warmup_epochs=1, **FULL
    )
    reset = fn(learning_rate=0.0, warmup_learning_rate=0.0)
    layers = {"Conv_0/kernel", "Conv_0/bias", "Dense_0/kernel", "Dense_0/bias"}
    assert changed(variables, reset).keys() == layers
    for layer in ("Conv_0", "Dense_0"):
        pair = variables["params"][layer]["kernel"], reset["params"][layer]["kernel"]
        assert abs(np.corrcoef(*map(np.ravel, pair))[0, 1]) < 0.4

    def distil(variables_):
        wanted, _ = outputs(problem, variables, problem.retain, train=False)
        logits, variables_ = outputs(problem, variables_, problem.retain)
        p, q = (
            jax.nn.softmax(wanted / temperature),
            jax.nn.softmax(logits / temperature),
        )
        return kl(p, q).mean(), variables_

    def repair(variables_):
        # The soft cross-entropy is the KL but for a constant.
        entropy, (loss, after) = distil(variables_)[0], retain_loss(problem)(variables_)
        return loss + 2 * entropy, after

    expected = step(distil, {**variables, "params": reset["params"]}, warmup_rate)
    expected = step(repair, expected, rate)
    after = fn(
        learning_rate=rate, warmup_learning_rate=warmup_rate, temperature=temperature
    )
    assert_close(after, expected, 1e-4, 1e-5)
