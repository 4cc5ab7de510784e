"""What tests of data sets share."""

from os import fsencode
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from unlearn import data
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
    assert first.subclass_names == second.subclass_names
    for field in ("train_groups", "train_subclasses", "test_subclasses"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))


def recorded(dataset):
    """Returns what a deployment records of a data set."""
    ids, hashes, labels = (
        np.array([*first, *second])
        for first, second in (
            (dataset.train_ids.tolist(), dataset.test_ids.tolist()),
            map(data.content_hashes, (dataset.train_images, dataset.test_images)),
            (dataset.train_labels, dataset.test_labels),
        )
    )
    return data.make_known(ids, hashes, labels, dataset.class_names)


def random_images(count, shape=(4, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def arrays(count=20):
    return random_images(count), np.arange(count) % 3


IMAGES, LABELS = arrays()


def fill(root, *names, value=None):
    """Writes grey images of these names, each another; of one value, if given."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = random_images(1, (4, 4), seed=crc32(fsencode(name)))[0]
        if value is not None:
            image[:] = value
        Image.fromarray(image).save(path, "PNG")


def load_folder(tmp_path, **options):
    """Loads the folder `set`."""
    return data.load(f"folder:{tmp_path / 'set'}", cache_dir=tmp_path / "c", **options)


def several(*folders, count=6):
    """Returns the names of some files in each of these folders."""
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]
