"""Augmentation on the device: pure functions of a key and standardised inputs.

Images move by gathers, along one axis at a time where that will do; on CPU, inside
`lax.scan`, this is several times faster than slicing each image out of a padded one or
selecting between an image and its mirror image.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from unlearn.errors import InputError

Augment = Callable[[jax.Array, jax.Array], jax.Array]
"""A function `(key, inputs[B, H, W, C]) -> inputs[B, H, W, C]`.

One that depends on the epoch has a method `in_epoch(key, number, indices)` as well, see
`Alternating`.
"""

OPTIONS = "flip", "alternate_flip", "crop", "rotate", "jitter"
"""Those of `augmentation` that are in the section `data` of a config."""

FLIPS = 2**31 - 1  # folded into the key of a training: no epoch has this number


@functools.cache
def augmentation(
    *,
    flip: bool = False,
    alternate_flip: bool = False,
    crop: int = 0,
    rotate: float = 0.0,
    jitter: float = 0.0,
    cutout: int = 0,
) -> Augment | None:
    """Makes the augmentation with these options; None if there is nothing to do.

    The same options give the same function object, so that jit caches hit.

    Args:
      flip: mirror half of the images, left to right.
      alternate_flip: with `flip`: mirror each image in every other epoch, see
        `Alternating`.
      crop: pixels of padding for `padded_crop`; 0 leaves images where they are.
      rotate: largest angle of `rotation`, in degrees.
      jitter: strength of `colour_jitter`.
      cutout: pixels of the side of the square of `cut_out`.

    Raises:
      InputError: a negative `crop` or `cutout`, a `rotate` past 180, a `jitter` past 1,
        `alternate_flip` without `flip`.
    """
    if alternate_flip and not flip:
        raise InputError("alternate_flip is a way to flip: set flip as well")
    if crop < 0:
        raise InputError(f"crop must be 0 or more pixels of padding; it is {crop}")
    if cutout < 0:
        raise InputError(f"cutout must be 0 or more pixels; it is {cutout}")
    if not 0 <= rotate <= 180:
        raise InputError(f"rotate must lie in [0, 180] degrees; it is {rotate}")
    if not 0 <= jitter <= 1:
        raise InputError(f"jitter must lie in [0, 1]; it is {jitter}")
    steps = [random_flip] if flip else []
    steps += [rotation(rotate)] if rotate else []
    steps += [padded_crop(crop)] if crop else []
    steps += [colour_jitter(jitter)] if jitter else []
    steps += [cut_out(cutout)] if cutout else []
    if alternate_flip:
        return Alternating(steps[1:])
    return chain(steps) if steps else None


def of_config(section: Mapping[str, Any]) -> Augment | None:
    """Makes the augmentation of a section `data`; what it does not name is off."""
    return augmentation(**{name: section[name] for name in OPTIONS if name in section})


def chain(steps: Sequence[Augment]) -> Augment:
    """Makes an augmentation of several, one after another."""

    def augment(key, inputs):
        keys = jax.random.split(key, len(steps))
        for step, key in zip(steps, keys, strict=True):
            inputs = step(key, inputs)
        return inputs

    return augment


class Alternating:
    """An augmentation that mirrors each image in every other epoch, then goes on.

    Jordan, 2024, https://arxiv.org/abs/2404.00498: chance decides which images are
    mirrored in the first epoch; so two epochs see both sides of every image. Called as
    it is, where nobody says which epoch it is, it mirrors at random.
    """

    def __init__(self, steps: Sequence[Augment]):
        """Takes what comes after the flip."""
        self.steps = tuple(steps)
        self.at_random = chain((random_flip, *steps))

    def __call__(self, key: jax.Array, inputs: jax.Array) -> jax.Array:
        return self.at_random(key, inputs)

    def in_epoch(
        self, key: jax.Array, number: jax.Array, indices: jax.Array
    ) -> Augment:
        """Returns what a batch of the examples at `indices` gets.

        Args:
          key: of the whole training.
          number: int32[], of the epoch, from 0.
          indices: int32[B].
        """
        of_each = jax.vmap(jax.random.fold_in, (None, 0))
        keys = of_each(jax.random.fold_in(key, FLIPS), indices)
        first = jax.vmap(lambda key: jax.random.bernoulli(key, jnp.float32(0.5)))(keys)
        mirrored = first ^ (number % 2 == 1)
        return chain((lambda _, inputs: mirror(inputs, mirrored), *self.steps))


def random_flip(key: jax.Array, inputs: jax.Array) -> jax.Array:
    """Mirrors each image, left to right, with probability 1/2."""
    draws = jax.random.bernoulli(key, jnp.float32(0.5), (len(inputs), 1))
    return mirror(inputs, draws[:, 0])


def mirror(inputs: jax.Array, mirrored: jax.Array) -> jax.Array:
    """Mirrors the images [B, H, W, C] where bool[B] says so, left to right."""
    width = inputs.shape[2]
    columns = jnp.arange(width)[None]
    columns = jnp.where(mirrored[:, None], width - 1 - columns, columns)
    return jnp.take_along_axis(inputs, columns[:, None, :, None], axis=2)


@functools.cache
def padded_crop(padding: int) -> Augment:
    """Makes a crop of the original size at a random place of the padded image.

    It moves each image by up to `padding` pixels either way; 0 comes in at the edges.
    """

    def crop(key, inputs):
        batch = len(inputs)
        key_rows, key_columns = jax.random.split(key)
        for axis, key in ((1, key_rows), (2, key_columns)):
            size = inputs.shape[axis]
            shift = jax.random.randint(
                key, (batch, 1), -padding, padding + 1, jnp.int32
            )
            source = jnp.arange(size)[None] + shift
            others = (3 - axis, 3)
            inside = jnp.expand_dims((source >= 0) & (source < size), others)
            source = jnp.expand_dims(jnp.clip(source, 0, size - 1), others)
            inputs = jnp.where(inside, jnp.take_along_axis(inputs, source, axis), 0)
        return inputs

    return crop


@functools.cache
def rotation(degrees: float) -> Augment:
    """Makes a rotation of each image about its centre by up to `degrees` either way.

    Bilinear; 0 comes in at the corners.
    """

    def rotate(key, inputs):
        batch, height, width, channels = inputs.shape
        angle = jax.random.uniform(key, (batch, 1, 1), jnp.float32, -1.0) * degrees
        cos, sin = jnp.cos(jnp.deg2rad(angle)), jnp.sin(jnp.deg2rad(angle))
        y = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
        x = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
        rows = cos * y - sin * x + (height - 1) / 2
        columns = sin * y + cos * x + (width - 1) / 2
        top, left = jnp.floor(rows), jnp.floor(columns)
        pixels = inputs.reshape(batch, height * width, channels)

        def part(row, column):
            weight = (1 - jnp.abs(rows - row)) * (1 - jnp.abs(columns - column))
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = jnp.where(inside, weight, 0).reshape(batch, -1, 1)
            row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
            source = (row * width + column).astype(jnp.int32).reshape(batch, -1, 1)
            return weight * jnp.take_along_axis(pixels, source, axis=1)

        parts = [part(top + i, left + j) for i in (0, 1) for j in (0, 1)]
        return sum(parts).reshape(inputs.shape)

    return rotate


@functools.cache
def colour_jitter(strength: float) -> Augment:
    """Makes a change of brightness, contrast and saturation, random for each image.

    Saturation scales the distances to the grey image (the mean over channels), contrast
    those to the mean of the image, each by a factor in 1 ± strength; brightness adds up
    to ± strength standard deviations. Nothing is clipped.
    """

    def jitter(key, inputs):
        shape = (3, len(inputs), 1, 1, 1)
        drawn = jax.random.uniform(key, shape, jnp.float32, -strength, strength)
        brightness, contrast, saturation = drawn
        channels = inputs.shape[3]
        # On CPU several times faster than a mean over the last axis.
        grey = sum(inputs[..., c : c + 1] for c in range(channels)) / channels
        middle = inputs.mean(axis=(1, 2, 3), keepdims=True)
        inputs = grey + (1 + saturation) * (inputs - grey)
        return middle + (1 + contrast) * (inputs - middle) + brightness

    return jitter


@functools.cache
def cut_out(side: int) -> Augment:
    """Makes a square of `side` pixels at a random place of each image 0.

    DeVries & Taylor, 2017, https://arxiv.org/abs/1708.04552; here the square lies
    within the image.

    Raises:
      InputError: it covers the images, when they are there.
    """

    def cut(key, inputs):
        if side >= max(inputs.shape[1:3]):
            raise InputError(
                f"cutout must be less than {max(inputs.shape[1:3])} pixels, the side "
                f"of these images, or nothing of them is left; it is {side}"
            )
        inside = jnp.ones((), bool)
        for axis, of_axis in zip((1, 2), jax.random.split(key), strict=True):
            size = inputs.shape[axis]
            places = (len(inputs), 1), 0, max(1, size - side + 1)
            first = jax.random.randint(of_axis, *places, jnp.int32)
            along = jnp.arange(size)[None] - first
            along = (along >= 0) & (along < side)
            inside &= jnp.expand_dims(along, (3 - axis, 3))
        return jnp.where(inside, 0, inputs)

    return cut
