"""What is no model, or none of such inputs, is said before anything is compiled."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn import Model, make_problem
from unlearn.errors import InputError

INPUTS, LABELS = np.ones((6, 5), np.float32), np.arange(6) % 3


def init(key, inputs):
    return {"params": {"w": jnp.zeros((5, 3))}}


def apply(variables, inputs, *, train=False, key=None):
    return inputs @ variables["params"]["w"], variables


def refused(message, *, model=None, labels=LABELS, **options):
    with pytest.raises(InputError, match=message) as caught:
        make_problem(INPUTS, labels, [1], model or Model(init, apply), **options)
    assert "\n" not in str(caught.value)


def test_a_model_of_functions_is_taken():
    problem = make_problem(INPUTS, LABELS, [1], Model(init, apply))
    assert problem.num_classes == 3
    free = Model(init, lambda *args, **options: apply(*args, **options))
    assert make_problem(INPUTS, LABELS, [1], free).num_classes == 3


@pytest.mark.parametrize(
    "model, kind", [(apply, "function"), ("mlp", "str"), (nn.Dense(3), "Dense")]
)
def test_what_is_no_model(model, kind):
    refused(f"model must be a Model, and this is a {kind}: make one by", model=model)


def test_a_model_that_cannot_be_told_to_train():
    refused("takes no key", model=Model(init, lambda v, x, train=False: apply(v, x)))
    refused("takes no train and no key", model=Model(init, lambda v, x: apply(v, x)))


def test_variables_without_parameters_of_floats():
    bare = Model(
        lambda key, x: {"w": jnp.zeros((5, 3))},
        lambda v, x, *, train=False, key=None: (x @ v["w"], v),
    )
    refused("init must return", model=bare)
    whole = Model(lambda key, x: {"params": {"w": jnp.zeros((5, 3), int)}}, apply)
    refused("parameters of int32: they must be floats", model=whole)


def test_numbers_of_classes():
    for wrong in (0, 1, 3.0):
        refused("num_classes must be a whole number", num_classes=wrong)
    refused("3 outputs for 4 classes", num_classes=4)
    refused("labels go from 1 to 3, .* give labels - 1", labels=LABELS + 1)


def test_a_validation_set_is_a_pair():
    refused("must be a pair", validation=(INPUTS,))
    refused("must be a pair", validation=INPUTS)
