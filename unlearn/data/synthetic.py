"""Procedural images: any shape and size, learnable, the same on every machine."""

import re

import numpy as np

from unlearn.data.dataset import Dataset, make_dataset
from unlearn.errors import InputError

FORM = "synthetic:28x28x1,classes=10,train=1000,test=200,seed=0"
HARD = 0.1  # share of examples that are nearly half another class


def synthetic(name: str, options: str = "") -> Dataset:
    """Makes noisy, shifted copies of smooth random patterns, one a class.

    Args:
      name: what the user called it.
      options: the part of `name` behind the colon, see `FORM`.

    Raises:
      InputError: an option that is unknown or out of range.
    """
    shape, numbers = _parse(name, options)
    random = np.random.RandomState(numbers["seed"])
    classes = numbers["classes"]
    patterns = _patterns(random, classes, shape)
    train, test = (
        _examples(random, patterns, shape, numbers[split])
        for split in ("train", "test")
    )
    return make_dataset(name, train, test, [str(label) for label in range(classes)])


def _parse(name, options):
    shape, numbers = (28, 28, 1), {"classes": 10, "train": 1000, "test": 200, "seed": 0}
    least = {"classes": 2, "train": 1, "test": 1, "seed": 0}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", option):
            shape = tuple(int(side) for side in option.split("x"))
        elif key in numbers and value.isdecimal() and int(value) >= least[key]:
            numbers[key] = int(value)
        else:
            raise InputError(f"{name}: bad option {option!r}; write it like {FORM}")
    if numbers["seed"] >= 2**32 or numbers["train"] < numbers["classes"]:
        raise InputError(
            f"{name}: needs an image of every class to train on, and a seed below 2**32"
        )
    return shape, numbers


def _patterns(random, classes, shape):
    """Draws float32[K, H + 2m, W + 2m, C] in [0, 1]; m is the largest shift."""
    height, width, channels = shape
    bases = []
    for side in (height, width):
        places = (np.arange(-_margin(side), side + _margin(side)) + 0.5) / side
        bases.append(np.cos(np.pi * np.outer(places, np.arange(5))))
    weights = random.standard_normal((classes, 5, 5, channels))
    weights[:, 0, 0] = 0
    patterns = np.einsum("yi,xj,kijc->kyxc", *bases, weights, optimize=True)
    low = patterns.min(axis=(1, 2, 3), keepdims=True)
    high = patterns.max(axis=(1, 2, 3), keepdims=True)
    return ((patterns - low) / (high - low)).astype(np.float32)


def _margin(side):
    return side // 8


def _examples(random, patterns, shape, count):
    """Draws uint8[count, H, W, C] and int32[count], every class equally often."""
    height, width, channels = shape
    classes = len(patterns)
    labels = random.permutation(np.arange(count) % classes)
    others = (labels + random.randint(1, classes, count)) % classes
    blend = np.where(random.uniform(size=count) < HARD, 0.45, 0.0)
    contrast = random.uniform(0.5, 1.0, count)
    top = random.randint(0, 2 * _margin(height) + 1, count)
    left = random.randint(0, 2 * _margin(width) + 1, count)
    images = np.empty((count, *shape), np.uint8)
    for i in range(count):
        window = np.s_[top[i] : top[i] + height, left[i] : left[i] + width]
        image = (1 - blend[i]) * patterns[labels[i]][window]
        if blend[i]:
            image = image + blend[i] * patterns[others[i]][window]
        noise = np.frombuffer(random.bytes(image.size), np.uint8).reshape(image.shape)
        image = 128 + contrast[i] * 180 * (image - 0.5) + 0.3 * (noise - 127.5)
        images[i] = np.clip(image, 0, 255)
    return images, labels.astype(np.int32)
