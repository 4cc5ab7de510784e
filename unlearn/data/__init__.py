"""Data sets by name, in memory or in files, and augmentation on the device."""

from collections.abc import Sequence
from pathlib import Path

from unlearn.data import embedded, folders, medmnist, npz, synthetic, tables, tfds
from unlearn.data.augment import augmentation
from unlearn.data.dataset import Dataset, fingerprint, standardised_by
from unlearn.data.identical import content_hashes, copies
from unlearn.data.known import Known, make_known
from unlearn.errors import InputError

__all__ = [
    "OWN",
    "Dataset",
    "Known",
    "augmentation",
    "content_hashes",
    "copies",
    "fingerprint",
    "load",
    "location",
    "make_known",
]

OWN = "digits", "synthetic", "medmnist", "npz", "folder", "table"
"""Kinds of data sets that are not those of tensorflow-datasets."""


def load(
    name: str,
    *,
    data_dir: str | None = None,
    cache_dir: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    known: Known | None = None,
    resident: bool | None = True,
) -> Dataset:
    """Loads a data set; decoded images are kept in `cache_dir` for the next time.

    Names are
      `digits`, the handwritten digits that scikit-learn ships;
      `synthetic` or `synthetic:28x28x1,classes=10,train=1000,test=200,seed=0`;
      `npz:PATH`, a file of arrays, see below;
      `folder:PATH`, with a folder of images for each class, see below;
      `table:PATH`, images and CSV files that say what they are, see below;
      `medmnist:dermamnist` and its like, of the package `medmnist`;
      an image classification name of tensorflow-datasets, such as `mnist`, `cifar10`
      or `emnist/letters`, prepared on first use;
      `ham10000`, prepared likewise from a download by hand: see `ham10000.py`.

    Ids. Every example has the user's own name: the row number in the npz file or in
    the digits, from 0, or its entry in the array `ids`; the name of its file relative
    to PATH, such as `train/cat/1.png`; the feature `image_id`, `id` or `file_name` of
    tensorflow-datasets if it tells examples apart, `row/0`, `row/1`, ... in the order
    in which they are stored if it does not, and the row number in that order if there
    is no such feature. Rows of a test split that was given are `test/0`, `test/1`, ...;
    so are those whose feature says what it says of a training example too. Ids that
    differ only in white space around them or in how Unicode writes a letter, and ids
    with control characters, are refused.

    Second labels, such as sub-classes, are what `forget.kind=subclass` goes by; models
    do not see them. `cifar20` is `cifar100` with its 20 super-classes for labels and
    the 100 classes for second labels.

    Test split. Without one, a fixed fifth of every class of the training split is
    taken, of whole groups if there are groups, and with all exact copies; ids stay what
    they were. A held-out
    split is found under any usual name, in small or capital letters: test or testing,
    else holdout or eval, else valid, validation, val or dev. Others are left alone,
    and a note says so. Two of the same rank are refused.

    npz. `train_images` or `x_train` (`X`, `data`, ... alone is the training split),
    `train_labels` or `y_train`, the same for a held-out split, and if wanted
    `class_names`, `train_ids`, `test_ids`, `train_groups`. Two arrays that may be the
    same are refused. `train_subclasses` (and `test_subclasses`, `subclass_names`) are
    second labels. Images are [N, H, W, C] with any number of bands, or [N, H, W];
    [N, C, H, W] is turned if its shape leaves no doubt. Whole numbers in 0..255 are
    taken as they are whatever their type, 0 and 1 alone as black and white, floats in
    [0, 1] are scaled by 255, wider whole numbers by the range of all images that were
    loaded, which a note gives; other values are refused. `x_train` of shape [N, D] and
    `train_inputs` of any shape are no images: float32 (features) or int32 (whole
    numbers, such as tokens), with their values. Labels are whole numbers from 0, or
    from 1 (then the classes are named 1 to K), text, truth values, or one-hot rows.

    folder. Class folders lie in PATH or in a folder train or Train or training; images
    may lie in folders below them. Classes are in natural order: 2 comes before 10.
    If every training image lies in a folder below its class folder, and a class has
    several, the first of these folders is a second label (`CLASS/NAME` if two classes
    have one of that name). `groups.csv` in PATH, with the columns file and group, says
    which images belong together, and must have a line for every training image. Files
    are PNG, JPEG, BMP, GIF, WebP, TIFF or PPM. They are turned upright as their EXIF
    data says; transparency is laid over white, or over black if nothing could be seen
    on white; of several frames the first is taken. Files with 16 bits, 32 bits or
    floats a pixel follow the rule for arrays, with floats past [0, 1] scaled by the
    range; all images must be alike in this. Files that are not used are counted in
    notes, but for those of operating systems and those whose names start with a dot.

    Tiny-ImageNet's archive, unpacked, is such a folder: `val/` is its test split.

    table. PATH is a folder with a CSV file for each split, named by it, or the files
    are given: `table:TRAIN.csv` or `table:TRAIN.csv,TEST.csv`. Columns are the image's
    file (`image_path`, `file`, ...), beside the table or in a folder such as
    `train_images`; its `label` (`class`, `age_class`); and if wanted a `group`
    (`family_id`, `patient_id`, ...) and a `subclass`. MUFAC comes like this.

    Limits. Examples may take 8 GiB of memory (the environment variable UNLEARN_DATA_GIB
    says another number), an image 89 million pixels, an image file 1 GiB. Examples that
    stay in a file take as much as the disk has: in `cache_dir` twice their size while
    they are decoded, then their size.

    Args:
      name: see above.
      data_dir: where tensorflow-datasets keeps its data; by default the environment
        variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
      cache_dir: by default ~/.cache/unlearn/data.
      image_size: (height, width), or both as one number, that the images of a folder
        or of tensorflow-datasets are resized to; needed if theirs differ.
      mean, std: what images are standardised by, in units of [0, 1]: one number, or one
        of each channel; by default the constants of the set, 0.5 if it has none.
      resident: True: examples are arrays in memory. False: they are `stored.Stored`
        and stay in the npz file or, once decoded, in the cache; an npz file for that
        has uint8[N, H, W, C] images or float32 or int32 inputs and is not compressed.
        They are decoded into a file as well; only those with more than 8 bits, which
        are scaled together, are in memory for that. None: those that would take more
        than a quarter of the memory, or more than they may, stay there.
      known: what a deployment has recorded of these data; examples may have been
        deleted since, whole classes too, and others have come. No test split is drawn
        and groups and second labels are not read. Files are decoded as those that were
        deployed; those that do not fit are left out, and so are lines of a table
        without an image or a label, and tables of a folder that name no image that is
        deployed. An npz file may have -1, NaN or empty text for labels of erased rows.

    Returns:
      The data set; its `notes` say in a line each what was changed or left out.

    Raises:
      InputError: the name is unknown, or the data cannot be had, is not usable, or
        leaves in doubt what is meant.
    """
    dataset = _load(name, data_dir, cache_dir, image_size, known, resident)
    return standardised_by(dataset, mean, std)


def _load(name, data_dir, cache_dir, image_size, known, resident) -> Dataset:
    kind, _, rest = name.partition(":")
    if image_size is not None:
        image_size = _size(image_size)
        if kind in ("digits", "synthetic", "npz", "medmnist"):
            raise InputError(
                f"image_size is for files of images and tensorflow-datasets; {name} "
                "has the size it has"
            )
    if kind in ("folder", "npz", "table") and not rest.strip():
        raise InputError(f"{name} names no {kind}: give {kind}:PATH")
    if resident is False and kind in ("digits", "synthetic", "medmnist"):
        raise InputError(
            f"{name} has no file that examples could stay in: set data.resident=True"
        )
    if name == "digits":
        return embedded.digits()
    if kind == "synthetic":
        return synthetic.synthetic(name, rest)
    if kind == "npz":
        return npz.from_npz(name, rest, resident, known)
    if kind == "folder":
        return folders.from_folder(name, rest, image_size, cache_dir, known, resident)
    if kind == "table":
        return tables.from_table(name, rest, image_size, cache_dir, known, resident)
    if kind == "medmnist":
        return medmnist.load(name, rest)
    return tfds.load(name, data_dir, image_size, cache_dir, resident)


def location(name: str, data_dir: str | None = None) -> Path | None:
    """Returns the user's file or folder that `load` reads; None if there is none.

    For a set of tensorflow-datasets: the folder that was prepared. `cache.forget` takes
    it.
    """
    kind, _, rest = name.partition(":")
    if kind in ("npz", "folder"):
        return Path(rest).expanduser()
    if kind == "table":
        table = Path(rest.partition(",")[0].strip()).expanduser()
        return table if table.is_dir() else table.parent
    if kind in OWN:
        return None
    return (
        tfds.find(name, tfds.root_folder(data_dir))
        if tfds.NAME.fullmatch(name)
        else None
    )


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
