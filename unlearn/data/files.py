"""A user's own data: an npz file, or a folder of images for each class."""

from pathlib import Path

import numpy as np

from unlearn.data.cache import cached
from unlearn.data.dataset import Dataset, first_line, make_dataset
from unlearn.data.images import decode
from unlearn.errors import InputError

ARRAYS = {
    "train_images": "x_train",
    "train_labels": "y_train",
    "test_images": "x_test",
    "test_labels": "y_test",
}
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"} | {
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
}


def from_npz(name: str, path: str | Path) -> Dataset:
    """Loads the data set in an npz file.

    Raises:
      InputError: the file or an array in it is missing or not usable.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{name}: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files if key in _wanted()}
            names = ", ".join(file.files) or "nothing"
    except Exception as error:  # zip, zlib and numpy each have their own
        raise InputError(
            f"{name}: not a readable npz file of plain arrays ({first_line(error)})"
        ) from error
    arrays = {key: found.get(key, found.get(other)) for key, other in ARRAYS.items()}
    train_images, train_labels, test_images, test_labels = arrays.values()
    test_missing = test_images is None and test_labels is None
    required = list(arrays)[:2] if test_missing else list(arrays)
    missing = [f"{key} (or {ARRAYS[key]})" for key in required if arrays[key] is None]
    if missing:
        raise InputError(f"{name}: needs {' and '.join(missing)}; found {names}")
    test = None if test_missing else (test_images, test_labels)
    class_names = found.get("class_names")
    if class_names is not None:
        class_names = [str(entry) for entry in np.ravel(class_names)]
    return make_dataset(name, (train_images, train_labels), test, class_names)


def _wanted():
    return {*ARRAYS, *ARRAYS.values(), "class_names"}


def from_folder(
    name: str,
    path: str | Path,
    image_size: tuple[int, int] | None = None,
    cache_dir: str | None = None,
) -> Dataset:
    """Loads `path/CLASS/*`, or `path/train/CLASS/*` and `path/test/CLASS/*`.

    Classes are numbered in the order of their names. A missing `test` is looked for
    under `validation` and `val`. Images are grey if all of them are.

    Raises:
      InputError: no such folder, no classes, a class without images, images of
        different sizes, or one that cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise InputError(f"{name}: there is no such folder")
    train, test = path, None
    if any(child.is_dir() for child in path.glob("train/*")):
        train = path / "train"
        tests = [path / other for other in ("test", "validation", "val")]
        test = next((folder for folder in tests if folder.is_dir()), None)
    class_names = _classes(train)
    if len(class_names) < 2:
        raise InputError(
            f"{name}: needs a folder of images for each of 2 or more classes; "
            f"found {', '.join(class_names) or 'no folder'}"
        )
    listed = {"train": _list(name, train, class_names)}
    if test is not None:
        unknown = sorted(set(_classes(test)) - set(class_names))
        if unknown:
            raise InputError(f"{name}: class {unknown[0]} is in {test.name} only")
        listed["test"] = _list(name, test, class_names)

    def make():
        images = {key: _read(name, files, image_size) for key, files in listed.items()}
        channels = max(image.shape[-1] for split in images.values() for image in split)
        splits = {}
        for key, split in images.items():
            split = [np.broadcast_to(i, (*i.shape[:2], channels)) for i in split]
            splits[key] = np.stack(split), np.array([label for _, label in listed[key]])
        return make_dataset(name, splits["train"], splits.get("test"), class_names)

    files = [file for split in listed.values() for file, _ in split]
    return cached(make, name, path, files, image_size, cache_dir)


def _classes(folder: Path) -> list[str]:
    return sorted(
        child.name
        for child in folder.iterdir()
        if child.is_dir() and not child.name.startswith(".")
    )


def _list(name, folder, class_names) -> list[tuple[Path, int]]:
    """Image files and their labels."""
    files = []
    for label, class_name in enumerate(class_names):
        paths = sorted((folder / class_name).glob("*"))
        paths = [path for path in paths if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise InputError(f"{name}: no images in {folder / class_name}")
        files += [(path, label) for path in paths]
    return files


def _read(name, files, image_size) -> list[np.ndarray]:
    images = []
    for file, _ in files:
        try:
            image = decode(file.read_bytes(), None, image_size)
        except Exception as error:  # Pillow raises a dozen types
            raise InputError(
                f"{name}: cannot read the image {file} ({first_line(error)})"
            ) from error
        images.append(image)
        size, expected = image.shape[:2], images[0].shape[:2]
        if size != expected:
            raise InputError(
                f"{name}: {file} is {size[0]}x{size[1]}, others are "
                f"{expected[0]}x{expected[1]}; give an image_size"
            )
    return images
