"""Augmentation against scipy, and its rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn.data.augment import (
    augmentation,
    colour_jitter,
    cut_out,
    padded_crop,
    random_flip,
    rotation,
)
from unlearn.errors import InputError


def inputs(batch=64, height=6, width=5, channels=2):
    """Distinct values, none of them 0."""
    size = batch * height * width * channels
    return jnp.arange(1.0, size + 1).reshape(batch, height, width, channels)


def test_flip_is_the_image_or_its_mirror_image():
    images = np.asarray(inputs())
    flipped = np.asarray(random_flip(jax.random.key(0), inputs()))
    same = (flipped == images).all(axis=(1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_crop_is_a_window_of_the_padded_image():
    padding, images = 2, np.asarray(inputs(batch=400))
    _, height, width, _ = images.shape
    cropped = np.asarray(jax.jit(padded_crop(padding))(jax.random.key(0), images))
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    seen = []
    for image, larger in zip(cropped, padded, strict=True):
        places = [
            (top, left)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            if (image == larger[top : top + height, left : left + width]).all()
        ]
        assert len(places) == 1
        seen += places
    assert len(set(seen)) == (2 * padding + 1) ** 2  # every place occurs


def test_crop_larger_than_the_image():
    cropped = padded_crop(9)(jax.random.key(0), inputs())
    assert cropped.shape == inputs().shape
    assert np.isin(cropped, np.append(inputs(), 0)).all()


def test_same_key_same_result_and_others_differ():
    augment = augmentation(flip=True, crop=2)
    first = augment(jax.random.key(3), inputs())
    assert (first == jax.jit(augment)(jax.random.key(3), inputs())).all()
    assert (first != augment(jax.random.key(4), inputs())).any()


@pytest.mark.slow
def test_vmap_over_keys_equals_a_loop():
    augment, keys = augmentation(flip=True, crop=1), jax.random.split(jax.random.key(0))
    together = jax.vmap(augment, (0, None))(keys, inputs())
    for key, one in zip(keys, together, strict=True):
        np.testing.assert_array_equal(one, augment(key, inputs()))


def test_options():
    assert augmentation(flip=False, crop=0) is None
    assert augmentation(flip=True, crop=4) is augmentation(flip=True, crop=4)
    with pytest.raises(InputError, match="crop must be 0 or more"):
        augmentation(flip=False, crop=-1)
    with pytest.raises(InputError, match="cutout must be 0 or more pixels"):
        augmentation(cutout=-1)


@pytest.mark.parametrize("side, rows, columns", [(3, 3, 3), (5, 5, 5)])
def test_a_square_of_each_image_is_cut_out(side, rows, columns):
    images = inputs(batch=200)
    cut = np.asarray(cut_out(side)(jax.random.key(0), images))
    gone = (cut == 0).all(-1)
    np.testing.assert_array_equal(cut[~gone], np.asarray(images)[~gone])
    assert (gone.any(2).sum(1) == rows).all() and (gone.any(1).sum(1) == columns).all()
    assert (gone.sum((1, 2)) == rows * columns).all()
    first = {(int(g.any(1).argmax()), int(g.any(0).argmax())) for g in gone}
    assert len(first) == max(1, 7 - side) * max(1, 6 - side)  # everywhere inside


@pytest.mark.parametrize("side", [6, 9])
def test_a_square_that_leaves_nothing_is_refused(side):
    with pytest.raises(InputError, match="cutout must be less than 6 pixels"):
        cut_out(side)(jax.random.key(0), inputs(batch=2))


def turned(images, degrees):
    """What scipy makes of them: bilinear, 0 outside."""
    from scipy.ndimage import rotate

    options = dict(axes=(1, 0), reshape=False, order=1, mode="grid-constant")
    return np.stack(
        [rotate(i, d, **options) for i, d in zip(images, degrees, strict=True)]
    )


@pytest.mark.parametrize("size", [(9, 9), (8, 11)])
def test_rotation_is_scipys(size):
    images = np.random.default_rng(0).normal(size=(6, *size, 2)).astype(np.float32)
    key = jax.random.key(0)
    rotated = np.asarray(jax.jit(rotation(170.0))(key, images))
    angles = np.asarray(jax.random.uniform(key, (6, 1, 1), minval=-1.0)).ravel() * 170
    assert np.ptp(angles) > 100
    expected = [turned(images, sign * angles) for sign in (1, -1)]
    errors = [np.abs(rotated - e).max() for e in expected]
    assert min(errors) < 1e-4 < max(errors)


def test_rotation_turns_both_ways_up_to_the_limit():
    """A pixel at some distance of the centre tells the angle."""
    images = jnp.zeros((300, 41, 41, 1)).at[:, 20, 38].set(1.0)
    rotated = np.asarray(jax.jit(rotation(30.0))(jax.random.key(0), images))[..., 0]
    places = np.array([np.unravel_index(i.argmax(), i.shape) for i in rotated]) - 20
    angles = np.rad2deg(np.arctan2(*places.T))
    assert -33 < angles.min() < -25 and 25 < angles.max() < 33
    assert abs(angles.mean()) < 3
    assert np.unique(angles).size > 10


def test_jitter_is_affine_in_the_channels():
    images = np.random.default_rng(0).normal(size=(400, 5, 4, 3)).astype(np.float32)
    strength = 0.3
    changed = np.asarray(colour_jitter(strength)(jax.random.key(0), images))
    brightness = changed.mean((1, 2, 3)) - images.mean((1, 2, 3))

    def spread(images):
        grey = images.mean(3)
        return grey.std((1, 2)), (images - grey[..., None]).std((1, 2, 3))

    (grey, colour), (new_grey, new_colour) = spread(images), spread(changed)
    contrast, saturation = (
        new_grey / grey - 1,
        new_colour / colour * grey / new_grey - 1,
    )
    drawn = np.stack([brightness, contrast, saturation])
    assert (abs(drawn) < strength + 1e-4).all()
    assert (abs(drawn).max(1) > 0.9 * strength).all()
    assert (abs(np.corrcoef(drawn) - np.eye(3)) < 0.2).all()
    # The grey image stays what it was, up to brightness and contrast.
    middle = images.mean((1, 2, 3), keepdims=True)
    expected = middle + (1 + contrast[:, None, None, None]) * (
        images.mean(3, keepdims=True) - middle
    )
    expected += brightness[:, None, None, None]
    np.testing.assert_allclose(changed.mean(3, keepdims=True), expected, atol=1e-4)


def test_jitter_of_grey_images():
    changed = colour_jitter(0.2)(jax.random.key(0), inputs(channels=1))
    assert changed.shape == inputs(channels=1).shape and np.isfinite(changed).all()


@pytest.mark.slow
def test_rotation_and_jitter_in_a_chain():
    options = dict(flip=True, crop=1, rotate=20.0, jitter=0.2)
    augment = augmentation(**options)
    assert augment is augmentation(**options)
    first = augment(jax.random.key(3), inputs())
    assert first.dtype == jnp.float32 and first.shape == inputs().shape
    again = jax.jit(augment)(jax.random.key(3), inputs())
    np.testing.assert_allclose(first, again, rtol=1e-4, atol=1e-2)
    assert augmentation(rotate=0.0, jitter=0.0) is None
    for bad in (dict(rotate=-1.0), dict(rotate=181.0)):
        with pytest.raises(InputError, match="rotate must lie in"):
            augmentation(**bad)
    with pytest.raises(InputError, match="jitter must lie in"):
        augmentation(jitter=1.5)
