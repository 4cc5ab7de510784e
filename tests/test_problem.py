"""The sets of a problem and the checks on a problem's arrays."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data, tiny_problem

from unlearn import make_problem
from unlearn.errors import InputError


def test_forget_and_retain_partition_the_training_set():
    p = tiny_problem()
    union = np.concatenate([p.forget, p.retain])
    assert sorted(union) == list(range(len(p.labels)))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x.astype(float), y), "uint8"),
        (lambda x, y: (x[..., 0], y), "uint8"),
        (lambda x, y: (x, y[:-1]), "one an image"),
        (lambda x, y: (x, y.astype(float)), "one an image"),
        (lambda x, y: (x, y + 1), "0..2"),
    ],
)
def test_bad_arrays_get_one_line(change, message):
    with pytest.raises(InputError, match=message):
        make_problem(*change(*tiny_data()), [1], plain_model(), num_classes=3)


def test_inputs_are_standardised():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
    p = make_problem(images, [0, 1, 1], [0], plain_model(), mean=0.2, std=0.1)
    got = np.ravel(p.inputs(jnp.arange(3)))
    np.testing.assert_allclose(got, [-2, 0, 8], atol=1e-6)
