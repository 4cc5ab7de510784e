"""Arrays of images in any type and layout."""

import numpy as np
import pytest
from data_cases import random_images, rejects

from unlearn.data import arrays

BYTES = random_images(30, (6, 6, 3))


def images(train, **others):
    made, notes = arrays.as_images("n", {"train": train, **others})
    return made["train"], notes


@pytest.mark.parametrize(
    "kind", ["u1", "i2", ">u2", "u4", "i8", "u8", "f4", "f8", ">f4", "f2"]
)
def test_whole_numbers_up_to_255_are_bytes_whatever_their_type(kind):
    made, notes = images(BYTES.astype(kind))
    assert made.dtype == np.uint8 and not notes
    np.testing.assert_array_equal(made, BYTES)


@pytest.mark.parametrize("kind", ["u1", "i4", "u8"])
def test_zeros_and_ones_are_black_and_white(kind):
    made, notes = images((BYTES > 99).astype(kind))
    np.testing.assert_array_equal(made, np.where(BYTES > 99, 255, 0))
    assert "black and white" in notes[0]
    made, notes = images(BYTES > 99)
    np.testing.assert_array_equal(made, np.where(BYTES > 99, 255, 0))


@pytest.mark.parametrize(
    "wide",
    [
        BYTES.astype(np.uint16) * 257,
        BYTES.astype(np.uint16) * 16,
        BYTES.astype(np.int32) * 4000 - 500_000,
        BYTES.astype(np.int64) * 2**54 - 2**62,
        BYTES.astype(np.uint64) * 2**56,
        BYTES.astype(np.int16) - 300,
    ],
)
def test_wide_whole_numbers_are_scaled_by_the_range_of_all(wide):
    assert (BYTES.min(), BYTES.max()) == (0, 255)
    made, notes = images(wide)
    np.testing.assert_array_equal(made, BYTES)
    assert "range" in notes[0]
    # The range is of both splits, whichever has the extremes.
    low, high = np.sort(wide.ravel())[[0, -1]]
    middle = np.full((1, 6, 6, 3), (int(low) + int(high)) // 2, wide.dtype)
    made, _ = arrays.as_images("n", {"train": middle, "test": wide})
    np.testing.assert_array_equal(made["test"], BYTES)
    assert abs(made["train"].astype(int) - 128).max() <= 1


def test_floats_between_0_and_1():
    made, notes = images(BYTES / 255)
    np.testing.assert_array_equal(made, BYTES)
    assert not notes
    made, _ = arrays.to_bytes("n", {"train": BYTES / 255 * 7 - 3}, stretch=True)
    np.testing.assert_array_equal(made["train"], BYTES)


def test_splits_of_different_types():
    made, _ = arrays.as_images("n", {"train": BYTES, "test": BYTES / 255})
    np.testing.assert_array_equal(made["test"], BYTES)
    wide = BYTES.astype(np.uint16) * 16
    rejects(lambda: images(BYTES, test=wide), "uint8", "uint16", "alike")
    rejects(lambda: images(BYTES / 255, test=BYTES * 1.0 + 0.5), "[0, 1]")


@pytest.mark.parametrize(
    "bad", [np.nan, np.inf, -np.inf, -1.0, 255.5, 256.0, 1e30, 1.5]
)
def test_floats_that_could_mean_anything(bad):
    given = BYTES / 255
    given[3, 2, 1, 0] = bad
    rejects(lambda: images(given), "n: ")


@pytest.mark.parametrize(
    "shape",
    [(8, 8, 2), (8, 8, 13), (16, 14, 13), (5, 9, 1), (1, 9, 1), (5, 9, 3), (4, 4, 3)],
)
def test_channels_last_stays(shape):
    given = random_images(3, shape)
    made, notes = images(given)
    np.testing.assert_array_equal(made, given)
    assert not notes


@pytest.mark.parametrize(
    "shape",
    [(1, 8, 8), (2, 8, 8), (3, 8, 8), (4, 8, 8), (13, 8, 8), (13, 64, 64), (3, 9, 7)],
)
def test_channels_first_is_turned(shape):
    given = random_images(3, shape)
    made, notes = images(given)
    np.testing.assert_array_equal(made, np.moveaxis(given, 1, -1))
    assert "channels-first" in notes[0]


@pytest.mark.parametrize("shape", [(8, 8, 8), (3, 4, 4), (28, 3, 3), (2, 9, 2)])
def test_layouts_in_doubt(shape):
    rejects(lambda: images(random_images(3, shape)), "channels-first", "channels-last")


def test_floats_that_lose_by_8_bits_are_said_to():
    levels = np.arange(64).reshape(4, 4, 4) / 255
    for exact in (levels, levels.astype(np.float32), levels.astype(np.float16)):
        assert images(exact)[1] == []
    _, notes = images(levels, test=levels + 0.3 / 255)
    assert len(notes) == 1 and "test floats" in notes[0] and "test_inputs" in notes[0]
