"""A user's own data: npz files and folders of images."""

import os
from pathlib import Path

import numpy as np
import pytest
from data_cases import IMAGES, LABELS, arrays, equal, random_images, rejects
from PIL import Image

from unlearn import data

# npz files


def write_npz(tmp_path, **arrays):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


@pytest.mark.parametrize("names", [("train_{}s", "test_{}s"), ("{}_train", "{}_test")])
def test_npz(tmp_path, names):
    images, labels = arrays()
    short = {"image": "x", "label": "y"}
    split = [
        {
            name.format(key if name.endswith("s") else short[key]): value
            for key, value in {"image": images[part], "label": labels[part]}.items()
        }
        for name, part in zip(names, (np.s_[:15], np.s_[15:]), strict=True)
    ]
    loaded = data.load(write_npz(tmp_path, **split[0], **split[1]))
    np.testing.assert_array_equal(loaded.train_images, images[:15])
    np.testing.assert_array_equal(loaded.test_labels, labels[15:])
    assert loaded.train_labels.dtype == np.int32
    assert loaded.class_names == ("0", "1", "2")


def test_npz_floats_missing_channel_and_test_split(tmp_path):
    images = random_images(30, (4, 4))
    loaded = data.load(
        write_npz(
            tmp_path,
            x_train=(images / 255).astype(np.float32),
            y_train=np.arange(30)[:, None] % 3,
            class_names=["ant", "bee", "cat"],
        )
    )
    assert loaded.train_images.shape == (24, 4, 4, 1)
    assert loaded.test_images.shape == (6, 4, 4, 1)
    everything = np.concatenate([loaded.train_images, loaded.test_images])[..., 0]
    assert sorted(everything.tolist()) == sorted(images.tolist())
    assert loaded.class_names == ("ant", "bee", "cat")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES[0, 0], LABELS, ["shape [N, H, W, C]", "[5, 3]"]),
        (IMAGES[:, :0], LABELS, ["shape"]),
        (IMAGES[:0], LABELS[:0], ["empty"]),
        (IMAGES[:-1], LABELS, ["19", "[20]"]),
        (IMAGES, LABELS[:, None, None], ["labels of shape"]),
        (IMAGES.transpose(0, 3, 1, 2), LABELS, ["channels-first"]),
        (IMAGES.astype(int), LABELS, ["uint8", "int64"]),
        (IMAGES.astype(np.float32), LABELS, ["[0, 1]", "255"]),
        (np.where(IMAGES > 250, np.nan, 0.5), LABELS, ["NaN"]),
        (np.full(IMAGES.shape, np.inf), LABELS, ["[0, 1]"]),
        (IMAGES, LABELS / 2, ["integers", "float64"]),
        (IMAGES, LABELS - 1, ["found -1"]),
        (IMAGES, LABELS + 1, ["0 to K-1", "from 1 to 3"]),
        (IMAGES, np.where(LABELS == 2, 255, LABELS), ["255"]),
        (IMAGES, LABELS * 0, ["2 classes"]),
        (IMAGES[:4], LABELS[:4], ["too few images"]),
    ],
)
def test_unusable_arrays(tmp_path, images, labels, words):
    name = write_npz(tmp_path, train_images=images, train_labels=labels)
    rejects(lambda: data.load(name), name, *words)


def test_unusable_test_split(tmp_path):
    train = {"train_images": IMAGES, "train_labels": LABELS}

    def load(**test):
        return lambda: data.load(write_npz(tmp_path, **train, **test))

    rejects(load(test_images=IMAGES), "needs test_labels (or y_test)", "train_images")
    other = {"test_images": random_images(20, (4, 4, 3)), "test_labels": LABELS}
    rejects(load(**other), "4x5x3", "4x4x3")
    rejects(load(test_images=IMAGES, test_labels=LABELS + 7), "0 to 2", "found 9")
    rejects(load(class_names=["a", "b"]), "0 to 1", "found 2")


def test_unusable_npz_files(tmp_path):
    rejects(lambda: data.load("npz:nowhere.npz"), "no such file")
    rejects(lambda: data.load(write_npz(tmp_path, a=IMAGES)), "train_images", "found a")
    objects = np.array([None], object)
    name = write_npz(tmp_path, x_train=objects, y_train=LABELS)
    rejects(lambda: data.load(name), "plain arrays")
    path = Path(write_npz(tmp_path, x_train=IMAGES, y_train=LABELS)[4:])
    path.write_bytes(path.read_bytes()[:-100])
    rejects(lambda: data.load(f"npz:{path}"), "not a readable npz")
    np.save(tmp_path / "one.npy", IMAGES)
    rejects(lambda: data.load(f"npz:{tmp_path / 'one.npy'}"), "not a readable npz")


# Folders of images


def write_folder(folder, images, labels, names=("ant", "bee", "cat")):
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(image)).save(path)


def test_folder_with_splits_and_cache(tmp_path):
    images, labels = arrays()
    order = np.argsort(labels[:15], kind="stable")
    write_folder(tmp_path / "set/train", images[:15], labels[:15])
    write_folder(tmp_path / "set/test", images[15:], labels[15:])
    (tmp_path / "set/train/ant/notes.txt").write_text("not an image")

    def load():
        return data.load(f"folder:{tmp_path / 'set'}", cache_dir=tmp_path / "cache")

    loaded = load()
    np.testing.assert_array_equal(loaded.train_images, images[:15][order])
    np.testing.assert_array_equal(loaded.train_labels, labels[:15][order])
    assert loaded.class_names == ("ant", "bee", "cat")
    equal(loaded, load())
    changed = tmp_path / "set/train/ant/000.png"
    Image.fromarray(255 - images[0]).save(changed)
    os.utime(changed, (1, 1))
    np.testing.assert_array_equal(load().train_images[0], 255 - images[0])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_folder_without_splits_mixed_colours_and_sizes(tmp_path):
    write_folder(tmp_path, random_images(10, (4, 4)), [0] * 10)
    write_folder(tmp_path, random_images(10, (6, 8, 3)), [1] * 10)
    name = f"folder:{tmp_path}"
    rejects(
        lambda: data.load(name, cache_dir=tmp_path / ".c"), "6x8", "4x4", "image_size"
    )
    loaded = data.load(name, cache_dir=tmp_path / ".c", image_size=4)
    assert loaded.train_images.shape == (16, 4, 4, 3)
    grey = loaded.train_images[loaded.train_labels == 0]
    assert (grey == grey[..., :1]).all()
    assert (loaded.train_images[loaded.train_labels == 1].std(axis=-1) > 0).any()


def test_folder_of_16_bit_grey(tmp_path):
    deep = np.array([[0, 256, 40_000, 65_535]], np.uint16)
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True)
        Image.fromarray(deep).save(tmp_path / "train" / name)
    (tmp_path / "test").symlink_to("train")
    loaded = data.load(f"folder:{tmp_path}", cache_dir=tmp_path / "c")
    np.testing.assert_array_equal(loaded.train_images[0, 0, :, 0], [0, 1, 156, 255])


def test_folder_whose_test_split_has_another_class(tmp_path):
    for split, names in (("train", ("ant", "bee")), ("test", ("ant", "cat"))):
        write_folder(tmp_path / split, random_images(4), [0, 0, 1, 1], names)
    rejects(lambda: data.load(f"folder:{tmp_path}"), "class cat is in test only")


def test_unusable_folders(tmp_path):
    def load(**options):
        return lambda: data.load(
            f"folder:{tmp_path}", cache_dir=tmp_path / ".c", **options
        )

    rejects(lambda: data.load("folder:nowhere"), "no such folder")
    rejects(load(), "2 or more classes", "found no folder")
    write_folder(tmp_path, random_images(6), [0] * 6)
    rejects(load(), "2 or more classes", "found ant")
    (tmp_path / "bee").mkdir()
    rejects(load(), "no images in", "bee")
    write_folder(tmp_path, random_images(6), [1] * 6)
    rejects(load(image_size=0), "image_size must be")
    rejects(load(image_size=(3, 3, 3)), "image_size must be")
    bad = tmp_path / "bee" / "003.png"
    assert load()().class_names == ("ant", "bee")
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    rejects(load(), "cannot read the image", str(bad))
    bad.write_bytes(b"")
    rejects(load(), "cannot read the image", str(bad))
    rejects(lambda: data.load("digits", image_size=8), "image_size")


def test_folder_whose_names_are_not_utf8(tmp_path):
    """As they come in old archives; the cache gives the same names."""
    names = ("$\\frac$", "caf\udce9")
    write_folder(tmp_path / "s", random_images(12), [0, 1] * 6, names)
    for _ in range(2):
        loaded = data.load(f"folder:{tmp_path / 's'}", cache_dir=tmp_path / "c")
        assert loaded.class_names == names
