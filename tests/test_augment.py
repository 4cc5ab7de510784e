import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn.data.augment import augmentation, padded_crop, random_flip
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
