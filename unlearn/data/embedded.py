"""Data that needs no download."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from unlearn.data.dataset import Dataset, make_dataset
from unlearn.errors import InputError


def digits() -> Dataset:
    """Loads the 1797 real handwritten digits, 8x8x1, that scikit-learn ships.

    Raises:
      InputError: scikit-learn is not installed.
    """
    pixels, labels = _read_digits()
    images = np.rint(pixels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return make_dataset("digits", (images, labels.astype(np.int32)))


def _read_digits():
    """Pixels [1797, 64] in 0..16 and labels; without the slow `import sklearn`."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise InputError("digits are part of scikit-learn: pip install scikit-learn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path) as file:
            table = np.array(file.read().replace(b"\n", b",").split(b",")[:-1], float)
        table = table.reshape(-1, 65)
        return table[:, :64], table[:, 64]
    except (OSError, ValueError):
        from sklearn.datasets import load_digits

        return load_digits(return_X_y=True)
