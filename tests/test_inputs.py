"""What examples may be, and how they become arrays that JAX keeps as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.inputs import (
    Standardize,
    are_images,
    as_arrays,
    as_they_are,
    check_examples,
    in_words,
    input_spec,
    on_device,
    preparation,
)

IMAGES = np.zeros((6, 4, 5, 3), np.uint8)
LABELS = np.zeros(6, np.int32)


@pytest.mark.parametrize(
    "given, found",
    [
        ([[1, 2]] * 6, "int32[2]"),
        (([1.5, 2.0],) * 6, "float32[2]"),
        (np.ones((6, 2)), "float32[2]"),
        (np.ones((6, 2), np.float16), "float16[2]"),
        (jnp.ones((6, 2), jnp.bfloat16), "bfloat16[2]"),
        (np.ones((6, 2), np.int64), "int32[2]"),
        (np.ones((6, 2), bool), "bool[2]"),
        (list(IMAGES), "uint8[4, 5, 3]"),
        (tuple(IMAGES), "uint8[4, 5, 3]"),
        ([np.ones((6, 2)), np.ones((6, 3), np.int8)], "float32[2], int8[3]"),
        ({"a": np.ones((6, 2)), "b": np.zeros(6, np.int8)}, "float32[2], int8[]"),
    ],
)
def test_what_is_given_becomes_arrays_that_jax_keeps(given, found):
    made = as_arrays(given, 6)
    check_examples(made, LABELS, "training")
    assert in_words(input_spec(made)) == found
    on_device = jax.tree.map(jnp.asarray, made)
    for before, after in zip(
        jax.tree.leaves(made), jax.tree.leaves(on_device), strict=True
    ):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i2", "i4", "i8", "u4", "c8"])
def test_big_endian_arrays_become_native(kind):
    given = np.arange(6).astype(f">{kind}")
    made = as_arrays({"a": given}, 6)["a"]
    assert made.dtype == as_arrays(given.astype(kind)).dtype and made.dtype.isnative
    np.testing.assert_array_equal(jnp.asarray(made), np.arange(6))
    np.testing.assert_array_equal(on_device(made), np.arange(6))


@pytest.mark.parametrize(
    "given, message",
    [
        ([[1, 2], [1]], "differ in length"),
        (np.array(["a", "b"]), "numbers, not <U1"),
        ([b"raw"] * 6, "numbers, not"),
        (np.array([{}, {}]), "numbers, not object"),
        (np.full((6, 1), 2**31), "2147483648 do not fit int32"),
        (np.full((6, 1), 2**32, np.uint64), "do not fit uint32"),
        (np.full((6, 1), 1e39), "not finite in float32"),
        (np.array([0, 1, 2, 3, 4, np.nan], np.float16), "not finite"),
        ({}, "axis of examples"),
        ({"a": np.ones(6), "b": np.ones(5)}, r"number of examples: \[5, 6\]"),
        (IMAGES[..., 0], "add the axis of channels"),
        (np.zeros((6, 3, 8, 9), np.uint8), "look channels-first"),
        (np.zeros((6, 13, 64, 64), np.uint8), "look channels-first"),
    ],
)
def test_what_is_certainly_wrong_gets_one_line(given, message):
    with pytest.raises(InputError, match=message) as error:
        check_examples(as_arrays(given, 6), LABELS, "training")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(6, 3, 3, 8), (6, 64, 64, 13), (6, 8, 9, 2)])
def test_images_with_any_number_of_channels_are_taken(shape):
    check_examples(np.zeros(shape, np.uint8), LABELS, "training")


def test_only_uint8_images_alone_are_standardised():
    assert preparation(IMAGES, 0.25, 0.5) == Standardize((0.25,) * 3, (0.5,) * 3)
    assert hash(preparation(IMAGES)) == hash(preparation(IMAGES.copy()))
    for others in (IMAGES.astype(np.float32), {"a": IMAGES}, IMAGES[:, 0, 0], [IMAGES]):
        assert preparation(others) is as_they_are
        assert not are_images(others)
    check_examples({"profile": IMAGES[..., 0]}, LABELS, "training")


def test_labels_as_one_hot_rows_are_told_how():
    with pytest.raises(InputError, match=r"give labels.argmax\(1\)"):
        check_examples(IMAGES, np.eye(6), "training")


@pytest.mark.parametrize(
    "labels, advice",
    [
        (LABELS[:, None], r"give labels\[:, 0\]"),
        (np.eye(6), "argmax"),
        (LABELS.astype(float), "number the classes from 0"),
        (LABELS.astype(str), "number the classes from 0"),
    ],
)
def test_labels_of_another_kind_come_with_the_remedy(labels, advice):
    with pytest.raises(InputError, match=advice):
        check_examples(IMAGES, labels, "training")


def test_constants_that_are_not_of_pixels_in_0_to_1():
    for mean, std in ((123.0, 58.0), ([0.5, 0.5, 100], 0.5), (0.5, 58)):
        with pytest.raises(InputError, match="divide them by 255"):
            preparation(IMAGES, mean, std)
    with pytest.raises(InputError, match="for uint8 images"):
        preparation(np.zeros((6, 2), np.float32), 0.3, 0.5)


@pytest.mark.parametrize("offset", [0, 1, 64])
def test_what_is_on_the_device_is_no_ones_to_write_to(offset):
    """A CPU could use an aligned array of NumPy's as it is."""
    memory = np.zeros(10_256, np.uint8)
    start = -memory.ctypes.data % 128 + offset
    examples = memory[start : start + 10_000].reshape(100, 100)
    placed = on_device({"a": examples})["a"]
    examples[:] = 7
    assert not np.asarray(placed).any()
