"""Sets of the optional package `medmnist`: `medmnist:dermamnist`.

Yang et al., 2023, "MedMNIST v2", Scientific Data 10:41.
"""

import contextlib
import difflib
import importlib
import sys
from typing import Any

import numpy as np

from unlearn.data.dataset import Dataset, make_dataset
from unlearn.errors import InputError, typed_line


def load(name: str, flag: str) -> Dataset:
    """Loads a set of images with a class each, downloaded by the package at first use.

    `train` and `test` are used; what is for validation is left out, and a note says so.

    Raises:
      InputError: the package or the set is not there, or it has several labels an
        image, or three dimensions.
    """
    package = _import(name)
    if flag not in package.INFO:
        close = difflib.get_close_matches(flag, package.INFO, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"{name}: {hint}sets are {', '.join(sorted(package.INFO))}")
    info = package.INFO[flag]
    if "multi-label" in info["task"] or flag.endswith("3d"):
        raise InputError(f"{name}: not a set of flat images with a class each")
    make = getattr(package, info["python_class"], None)
    if make is None:
        raise InputError(
            f"{name}: medmnist is there without its sets ({_what_it_lacks()}): "
            "pip install medmnist torch torchvision"
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            train, held_out, test = (
                make(split=split, download=True) for split in ("train", "val", "test")
            )
    except Exception as error:  # the package raises what its download raises
        raise InputError(
            f"{name}: cannot be had ({typed_line(error)}); download {flag}.npz by hand "
            "and give npz:PATH"
        ) from error
    pairs = [_pair(part) for part in (train, test)]
    names = info["label"]
    return make_dataset(
        name,
        *pairs,
        class_names=[names[key] for key in sorted(names, key=int)],
        notes=[f"not used: {len(held_out.labels)} examples for validation"],
    )


def _pair(part: Any) -> tuple[np.ndarray, np.ndarray]:
    images = np.asarray(part.imgs)
    images = images[..., None] if images.ndim == 3 else images
    return images, np.asarray(part.labels).reshape(len(images))


def _import(name: str) -> Any:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module("medmnist")
    except ImportError as error:
        missing = (error.name or "medmnist").partition(".")[0]
        raise InputError(
            f"{name} needs a package ({typed_line(error)}): pip install {missing}"
        ) from error
    except Exception as error:  # torchvision may be of another torch
        raise InputError(
            f"{name}: medmnist cannot be imported ({typed_line(error)}); install torch "
            "and torchvision of versions that go together"
        ) from error


def _what_it_lacks() -> str:
    """Imports the part of the package that holds its sets, for what that raises."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module("medmnist.dataset")
    except Exception as error:
        return typed_line(error)
    return "its version may be another"
