"""What holds for all data sets."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_cases import recorded
from PIL import Image

from unlearn import data
from unlearn.errors import InputError


def test_import_stays_light():
    code = "import sys, unlearn.data; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    heavy = {"PIL", "sklearn", "tensorflow_datasets", "scipy.io", "requests"}
    assert "unlearn.data.tfds" in loaded.stdout.split(), loaded.stderr
    assert not heavy & set(loaded.stdout.split())


def test_location(tmp_path):
    for name in ("digits", "synthetic", "synthetic:4x4x1", "mnist", "no such set"):
        assert data.location(name, tmp_path) is None
    assert data.location("folder:a/b", tmp_path) == Path("a/b")
    assert data.location("npz:~/x.npz") == Path.home() / "x.npz"
    (tmp_path / "mnist/3.0.1").mkdir(parents=True)
    assert data.location("mnist", tmp_path) == tmp_path / "mnist/3.0.1"


# What is deployed: whole classes may have been deleted since


def pictures(count=9):
    return np.random.default_rng(0).integers(0, 256, (count, 4, 4, 1), np.uint8)


def write_npz(root: Path, gone: set[int], labels, **more) -> str:
    """Nine training images with ids and three of a test split, by their rows."""
    rows = np.array([i for i in range(9) if i not in gone])
    held_out = np.array([i for i in range(9, 12) if i not in gone], int)
    x, y = pictures(12), np.asarray(labels)
    np.savez(
        root / "set.npz",
        x_train=x[rows],
        y_train=y[rows % 3],
        x_test=x[held_out],
        y_test=y[held_out % 3],
        train_ids=np.array([f"p{i}" for i in rows]),
        test_ids=np.array([f"p{i}" for i in held_out], "U4"),
        **more,
    )
    return f"npz:{root / 'set.npz'}"


def write_folder(root: Path, gone: set[int], names) -> str:
    for i, image in enumerate(pictures()):
        path = root / "images" / names[i % 3] / f"p{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i not in gone:
            Image.fromarray(image[..., 0]).save(path)
        elif path.exists():
            path.unlink()
    return f"folder:{root / 'images'}"


def write_table(root: Path, gone: set[int], names) -> str:
    """A line an image, also of images that are gone."""
    write_folder(root, gone, ["train"] * 3)
    lines = [f"train/p{i}.png,{names[i % 3]}" for i in range(9)]
    text = "\n".join(["file,label", *lines])
    (root / "images" / "train.csv").write_text(text)
    return f"table:{root / 'images' / 'train.csv'}"


def named(dataset) -> dict[str, str]:
    """The class of each id, without folders."""
    ids = [*dataset.train_ids, *dataset.test_ids]
    labels = [*dataset.train_labels, *dataset.test_labels]
    return {
        os.path.basename(str(one)): dataset.class_names[label]
        for one, label in zip(ids, labels, strict=True)
    }


WRITERS = {
    "numbers": lambda *a: write_npz(*a, [0, 1, 2]),
    "numbers from 1": lambda *a: write_npz(*a, [1, 2, 3]),
    "named numbers": lambda *a: write_npz(*a, [0, 1, 2], class_names=["b", "a", "c"]),
    "named from 1": lambda *a: write_npz(*a, [1, 2, 3], class_names=["b", "a", "c"]),
    "text": lambda *a: write_npz(*a, ["b", "a", "c"]),
    "folder": lambda *a: write_folder(*a, ["b", "a", "c"]),
    "table": lambda *a: write_table(*a, ["b", "a", "c"]),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("left", [{0, 1}, {0, 2}, {1, 2}, {1}, {2}])
def test_of_what_is_known_whole_classes_may_be_gone(kind, left, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole = data.load(WRITERS[kind](tmp_path, set()))
    before, known = named(whole), recorded(whole)
    gone = {i for i in range(12) if i % 3 not in left}
    found = named(data.load(WRITERS[kind](tmp_path, gone), known=known))
    assert found and found == {one: before[one] for one in found}
    whole = {f"p{i}" for i in range(len(before)) if i not in gone}
    assert {one.removesuffix(".png") for one in found} == whole


@pytest.mark.parametrize("kind", ["numbers", "text"])
def test_of_what_is_known_the_test_split_may_be_gone(kind, tmp_path):
    known = recorded(data.load(WRITERS[kind](tmp_path, set())))
    found = data.load(WRITERS[kind](tmp_path, {9, 10, 11}), known=known)
    assert len(found.train_labels) == 9 and not len(found.test_labels)
    with pytest.raises(InputError, match="the test split is empty"):
        data.load(WRITERS[kind](tmp_path, {9, 10, 11}))


@pytest.mark.parametrize(
    "kind, words",
    [
        ("numbers", "without a gap"),
        ("folder", "each of 2 or more classes"),
        ("table", "no image"),
    ],
)
def test_of_what_is_new_none_may(kind, words, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gone = {i for i in range(12) if i % 3 == 1 or (kind != "numbers" and i % 3)}
    with pytest.raises(InputError, match=words):
        data.load(WRITERS[kind](tmp_path, gone))
