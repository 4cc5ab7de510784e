"""What tests of data sets share."""

import numpy as np
import pytest

from unlearn.errors import InputError


def rejects(call, *words):
    """The call raises an InputError of one line with these words in it."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def equal(first, second):
    assert first.class_names == second.class_names
    for one, other in zip(first[1:5], second[1:5], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.train_groups, second.train_groups)


def random_images(count, shape=(4, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def arrays(count=20):
    return random_images(count), np.arange(count) % 3


IMAGES, LABELS = arrays()
