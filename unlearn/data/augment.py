"""Augmentation on the device: pure functions of a key and standardised inputs.

Images move by gathers along one axis at a time; on CPU, inside `lax.scan`, this is
several times faster than slicing each image out of a padded one or selecting between an
image and its mirror image.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from unlearn.errors import InputError

Augment = Callable[[jax.Array, jax.Array], jax.Array]
"""`(key, inputs[B, H, W, C]) -> inputs[B, H, W, C]`."""


@functools.cache
def augmentation(*, flip: bool = False, crop: int = 0) -> Augment | None:
    """The augmentation with these options; None if there is nothing to do.

    The same options give the same function object, so that jit caches hit.

    Args:
      flip: mirror half of the images, left to right.
      crop: pixels of padding for `padded_crop`; 0 leaves images where they are.

    Raises:
      InputError: `crop` is negative.
    """
    if crop < 0:
        raise InputError(f"crop must be 0 or more pixels of padding; it is {crop}")
    steps = ([random_flip] if flip else []) + ([padded_crop(crop)] if crop else [])
    if not steps:
        return None

    def augment(key, inputs):
        keys = jax.random.split(key, len(steps))
        for step, key in zip(steps, keys, strict=True):
            inputs = step(key, inputs)
        return inputs

    return augment


def random_flip(key: jax.Array, inputs: jax.Array) -> jax.Array:
    """Mirrors each image, left to right, with probability 1/2."""
    batch, _, width, _ = inputs.shape
    columns = jnp.arange(width)[None]
    mirrored = jax.random.bernoulli(key, 0.5, (batch, 1))
    columns = jnp.where(mirrored, width - 1 - columns, columns)
    return jnp.take_along_axis(inputs, columns[:, None, :, None], axis=2)


@functools.cache
def padded_crop(padding: int) -> Augment:
    """Moves each image by up to `padding` pixels either way; 0 comes in at the edges.

    This is a crop of the original size at a random place of the padded image.
    """

    def crop(key, inputs):
        batch = len(inputs)
        key_rows, key_columns = jax.random.split(key)
        for axis, key in ((1, key_rows), (2, key_columns)):
            size = inputs.shape[axis]
            shift = jax.random.randint(key, (batch, 1), -padding, padding + 1)
            source = jnp.arange(size)[None] + shift
            others = (3 - axis, 3)
            inside = jnp.expand_dims((source >= 0) & (source < size), others)
            source = jnp.expand_dims(jnp.clip(source, 0, size - 1), others)
            inputs = jnp.where(inside, jnp.take_along_axis(inputs, source, axis), 0)
        return inputs

    return crop
