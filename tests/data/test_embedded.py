"""The digits that scikit-learn ships."""

import io
import sys
import types

import numpy as np

from unlearn import data


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    assert digits.train_images.shape[1:] == (8, 8, 1)
    images = np.concatenate([digits.train_images, digits.test_images]).reshape(-1, 64)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    pixels, target = load_digits(return_X_y=True)
    expected = np.rint(pixels * 255 / 16).astype(np.uint8)
    found = np.column_stack([labels, images]).tolist()
    assert sorted(found) == sorted(np.column_stack([target, expected]).tolist())
    share = np.bincount(digits.test_labels) / np.bincount(labels)
    assert np.all(abs(share - 0.2) < 0.01)
    assert len(digits.class_names) == 10


def test_digits_without_the_shipped_file(monkeypatch):
    expected = data.load("digits")
    monkeypatch.setattr("gzip.open", lambda path: io.BytesIO(b"no,numbers\n"))
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    fake = types.ModuleType("sklearn.datasets")
    pixels = np.tile([0, 16], (20, 32))
    fake.load_digits = lambda return_X_y: (pixels, np.arange(20) % 2)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", fake)
    digits = data.load("digits")
    assert set(digits.train_images.flat) == {0, 255}
    assert len(expected.train_images) != len(digits.train_images)
