"""Signs, and what is fine-tuned from there."""

import jax
import numpy as np
import pytest
from conftest import trained
from trees import assert_close

from unlearn.methods import finetune, weight_negation

SHARED = dict(learning_rate=0.05, epochs=2, batch_size=16)
KEY = jax.random.key(3)


@pytest.fixture
def original(problem):
    return trained(problem, epochs=3)


@pytest.mark.slow
@pytest.mark.parametrize("layers, negated", [(1, ["trunk"]), (2, ["trunk", "head"])])
def test_it_is_fine_tuning_from_the_negated_net(problem, original, layers, negated):
    params = dict(original["params"])
    for name in negated:
        params[name] = {key: -value for key, value in params[name].items()}
    found, info = weight_negation(KEY, original, problem, **SHARED, layers=layers)
    expected, known = finetune(KEY, {"params": params}, problem, **SHARED)
    assert_close(found, expected)
    np.testing.assert_allclose(info["loss"], known["loss"], rtol=1e-5)
    if layers == 1:  # two signs cancel: tanh is odd
        _, without = finetune(KEY, original, problem, **SHARED)
        assert info["loss"][0, 0] > 2 * without["loss"][0, 0]  # it was damaged
