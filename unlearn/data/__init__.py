"""Data sets by name, as uint8 arrays in memory, and augmentation on the device."""

from unlearn.data import embedded, files, synthetic, tfds
from unlearn.data.augment import augmentation
from unlearn.data.dataset import Dataset, fingerprint
from unlearn.errors import InputError

__all__ = ["Dataset", "augmentation", "fingerprint", "load"]


def load(
    name: str,
    *,
    data_dir: str | None = None,
    cache_dir: str | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Dataset:
    """Loads a data set; decoded images are kept in `cache_dir` for the next time.

    Args:
      name: one of
        `digits`, the handwritten digits that scikit-learn ships;
        `synthetic` or `synthetic:28x28x1,classes=10,train=1000,test=200,seed=0`;
        `npz:PATH`, a file with `train_images`, `train_labels` and, if there is a test
        split, `test_images`, `test_labels` (or `x_train`, `y_train`, ...);
        `folder:PATH`, with a folder of images for each class, or `train` and `test`
        with such folders in them;
        an image classification name of tensorflow-datasets, such as `mnist`,
        `cifar10` or `emnist/letters`, prepared on first use;
        `ham10000`, prepared likewise from a download by hand: see `ham10000.py`.
        Without a test split, a fixed fifth of every class is the test split.
      data_dir: where tensorflow-datasets keeps its data; by default the environment
        variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
      cache_dir: by default ~/.cache/unlearn/data.
      image_size: (height, width), or both as one number, that the images of a folder
        or of tensorflow-datasets are resized to; needed if theirs differ.

    Raises:
      InputError: the name is unknown, or the data cannot be had or is not usable.
    """
    kind, _, rest = name.partition(":")
    if image_size is not None:
        image_size = _size(image_size)
        if kind in ("digits", "synthetic", "npz"):
            raise InputError(
                f"image_size is for folder:PATH and tensorflow-datasets; {name} has "
                "the size it has"
            )
    if name == "digits":
        return embedded.digits()
    if kind == "synthetic":
        return synthetic.synthetic(name, rest)
    if kind == "npz":
        return files.from_npz(name, rest)
    if kind == "folder":
        return files.from_folder(name, rest, image_size, cache_dir)
    return tfds.load(name, data_dir, image_size, cache_dir)


def _size(image_size) -> tuple[int, int]:
    try:
        height, width = image_size
    except TypeError:
        height = width = image_size
    except ValueError:
        height = width = 0
    if not all(isinstance(side, int) and side > 0 for side in (height, width)):
        raise InputError(
            "image_size must be a positive number of pixels or (height, width); "
            f"it is {image_size!r}"
        )
    return height, width
