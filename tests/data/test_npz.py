"""A user's own arrays."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_cases import IMAGES, LABELS, arrays, random_images, rejects

from unlearn import data


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
        (IMAGES, LABELS[:, None, None], ["labels", "[20, 1, 1]"]),
        (np.zeros((20, 8, 8, 8), np.uint8), LABELS, ["channels-first"]),
        (IMAGES.astype(complex), LABELS, ["complex128"]),
        (IMAGES.astype(np.float32) + 0.5, LABELS, ["[0, 1]", "255"]),
        (np.where(IMAGES > 250, np.nan, 0.5), LABELS, ["NaN"]),
        (np.full(IMAGES.shape, np.inf), LABELS, ["infinity"]),
        (np.full_like(IMAGES, 7), LABELS, ["every value", "7"]),
        (IMAGES, LABELS / 2, ["integers", "float64"]),
        (IMAGES, LABELS - 1, ["found -1"]),
        (IMAGES, LABELS + 2, ["0 to K-1", "from 2 to 4"]),
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
    rejects(load(test_images=IMAGES, test_labels=LABELS + 7), "0 to 2", "found 7")
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


# Any usual names


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("x_val", "y_val"),
        ("X_val", "Y_val"),
        ("val_images", "val_labels"),
        ("valid_images", "valid_labels"),
        ("test_x", "test_y"),
        ("X_Test", "y_test"),
        ("dev_x", "dev_y"),
        ("evaluation_images", "evaluation_targets"),
        ("holdout_images", "holdout_labels"),
        ("testImages", "testLabels"),
        ("xtest", "ytest"),
        ("imgs_testing", "labels_testing"),
    ],
)
def test_held_out_arrays_of_any_name(tmp_path, x, y):
    arrays = {"X_train": IMAGES, "y_train": LABELS, x: 255 - IMAGES[:6], y: LABELS[:6]}
    loaded = data.load(write_npz(tmp_path, **arrays))
    np.testing.assert_array_equal(loaded.train_images, IMAGES)
    np.testing.assert_array_equal(loaded.test_images, 255 - IMAGES[:6])
    assert loaded.train_ids.tolist() == list(range(20))
    assert loaded.test_ids.tolist() == [f"test/{row}" for row in range(6)]
    assert not loaded.notes


def test_arrays_that_are_not_used_are_named(tmp_path):
    loaded = data.load(
        write_npz(
            tmp_path,
            **dict(train_images=IMAGES, train_labels=LABELS, weights=np.ones(20)),
            **dict(val_images=IMAGES[:7], val_labels=LABELS[:7]),
            **dict(test_images=IMAGES[:9], test_labels=LABELS[:9]),
        )
    )
    assert len(loaded.test_labels) == 9
    assert any("7 examples in val_images" in note for note in loaded.notes)
    assert any("weights" in note for note in loaded.notes)


@pytest.mark.parametrize(
    "names", [("x", "y"), ("data", "target"), ("images", "labels")]
)
def test_arrays_without_a_split_in_their_name(tmp_path, names):
    x, y = names
    loaded = data.load(write_npz(tmp_path, **{x: IMAGES, y: LABELS}))
    assert len(loaded.train_labels) == 17


def test_arrays_in_doubt(tmp_path):
    def load(**arrays):
        return lambda: data.load(write_npz(tmp_path, **arrays))

    train = dict(x_train=IMAGES, y_train=LABELS)
    rejects(load(**train, train_images=IMAGES), "x_train", "train_images", "both")
    rejects(load(**train, X_train=IMAGES), "X_train", "both")
    rejects(load(**train, x=IMAGES), "x_train", "both")
    held_out = dict(x_val=IMAGES, y_val=LABELS, x_dev=IMAGES, y_dev=LABELS)
    rejects(load(**train, **held_out), "dev", "val", "both")
    rejects(load(**train, x_val=IMAGES), "val_labels (or y_val)")
    rejects(load(**train, y_test=LABELS), "test_images (or x_test)")
    rejects(load(**train, ids=np.arange(20), train_ids=np.arange(20)), "ids", "both")
    rejects(load(**train, class_names=["a"], label_names=["b"]), "twice")
    rejects(load(x_train=IMAGES, y_train=LABELS, test_inputs=IMAGES, test_y=LABELS))


# Ids and groups


def test_row_numbers_stay_the_users_own(tmp_path):
    images = np.zeros((200, 8, 8, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(200)
    labels = np.random.default_rng(0).permutation(np.arange(200) % 4)
    loaded = data.load(write_npz(tmp_path, x_train=images, y_train=labels))
    for part in ("train", "test"):
        ids = getattr(loaded, f"{part}_ids")
        np.testing.assert_array_equal(
            getattr(loaded, f"{part}_images")[:, 0, 0, 0], ids
        )
        np.testing.assert_array_equal(getattr(loaded, f"{part}_labels"), labels[ids])
    both = np.concatenate([loaded.train_ids, loaded.test_ids])
    assert sorted(both.tolist()) == list(range(200))


@pytest.mark.parametrize("kind", ["U8", "S8", np.uint16])
def test_ids_of_the_file(tmp_path, kind):
    ids = (np.arange(20) * 7 + 3).astype(kind)
    train = dict(train_images=IMAGES, train_labels=LABELS, ids=ids)
    loaded = data.load(write_npz(tmp_path, **train))
    both = np.concatenate([loaded.train_ids, loaded.test_ids]).tolist()
    text = np.dtype(kind).kind in "US"
    assert set(both) == {str(i * 7 + 3) if text else i * 7 + 3 for i in range(20)}
    row = (int(loaded.train_ids[3]) - 3) // 7
    np.testing.assert_array_equal(loaded.train_images[3], IMAGES[row])
    test = dict(x_test=IMAGES[:3], y_test=LABELS[:3])
    given = data.load(write_npz(tmp_path, **train, **test, test_ids=["a", "b", "c"]))
    assert given.test_ids.tolist() == ["a", "b", "c"]
    assert not set(data.load(write_npz(tmp_path, **train, **test)).test_ids) & set(ids)


def test_unusable_ids_and_groups(tmp_path):
    train = dict(train_images=IMAGES, train_labels=LABELS)

    def load(**more):
        return lambda: data.load(write_npz(tmp_path, **train, **more))

    rejects(load(ids=np.arange(20) % 19), "train ids", "0 is given twice")
    rejects(load(ids=np.arange(19)), "[20]", "[19]")
    test = dict(x_test=IMAGES[:1], y_test=LABELS[:1])
    rejects(load(**test, test_ids=[3]), "3", "in the training and in the test split")
    rejects(load(groups=np.arange(19)), "groups", "[20]", "[19]")
    rejects(load(groups=np.where(LABELS == 0, np.nan, 1)), "groups", "float64")
    rejects(load(groups=[""] * 20), "20 groups are empty")


@pytest.mark.parametrize("array", ["groups", "train_groups"])
def test_no_group_is_on_both_sides_of_the_fifth(tmp_path, array):
    groups = np.array([f"person {row // 3}" for row in range(120)])
    images, labels = random_images(120), np.arange(120) // 3 % 2
    loaded = data.load(write_npz(tmp_path, x=images, y=labels, **{array: groups}))
    train, test = set(groups[loaded.train_ids]), set(groups[loaded.test_ids])
    assert not train & test
    assert 18 <= len(loaded.test_ids) <= 30
    users = groups[loaded.train_ids]
    same = users[:, None] == users
    np.testing.assert_array_equal(
        loaded.train_groups[:, None] == loaded.train_groups, same
    )


# Inputs that are no images


def test_tabular_floats_and_bits_and_tokens(tmp_path):
    floats = np.random.default_rng(0).normal(size=(20, 5)) * 100
    for name, given, kind in (
        ("x_train", floats, np.float32),
        ("train_inputs", floats, np.float32),
        ("X", floats.astype(np.float16), np.float32),
        ("x_train", floats > 0, np.float32),
        ("x_train", (floats > 0).astype(np.uint8), np.int32),
        ("train_inputs", floats.astype(np.int64), np.int32),
        ("train_tokens", floats.astype(np.int16), np.int32),
        (
            "train_inputs",
            np.ones((20, 4, 4, 3)) * floats[:, :1, None, None],
            np.float32,
        ),
    ):
        loaded = data.load(write_npz(tmp_path, **{name: given}, train_labels=LABELS))
        assert loaded.train_images.dtype == loaded.test_images.dtype == kind
        np.testing.assert_array_equal(
            loaded.train_images, given[loaded.train_ids].astype(kind)
        )
        assert loaded.mean.shape == loaded.std.shape == (0,)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.where(np.eye(20) > 0, np.nan, 1.0), ["NaN"]),
        (np.where(np.eye(20) > 0, np.inf, 1.0), ["infinity"]),
        (np.eye(20) * 1e300, ["float32"]),
        (np.eye(20).astype(np.int64) * 2**40, ["int32"]),
        (np.eye(20).astype(complex), ["complex128"]),
        (np.eye(20).astype(str), ["numbers"]),
        (np.arange(20.0), ["[N, ...]"]),
        (np.zeros((20, 0)), ["[20, 0]"]),
        (np.ones((20, 3)), ["every value"]),
        (np.eye(20)[:19], ["19", "labels of shape"]),
    ],
)
def test_unusable_inputs(tmp_path, inputs, words):
    name = write_npz(tmp_path, train_inputs=inputs, train_labels=LABELS)
    rejects(lambda: data.load(name), name, *words)


def test_flat_bytes_are_said_to_be_no_images(tmp_path):
    rows = random_images(20, (16,))
    loaded = data.load(write_npz(tmp_path, x_train=rows, y_train=LABELS))
    assert any("16 whole numbers" in note for note in loaded.notes)
    name = write_npz(tmp_path, train_images=rows, train_labels=LABELS)
    rejects(lambda: data.load(name), "shape [N, H, W, C]", "train_inputs")


# Files made to do harm


def test_files_that_are_too_large_are_not_inflated(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(
        path, x_train=np.zeros((2**10, 2**18), np.uint8), y_train=np.zeros(2**10)
    )
    assert path.stat().st_size < 2**20
    monkeypatch.setenv("UNLEARN_DATA_GIB", "0.2")
    monkeypatch.setattr(np.lib.format, "read_array", lambda *a, **k: 1 / 0)
    rejects(lambda: data.load(f"npz:{path}"), "0.2", "limit", "UNLEARN_DATA_GIB=1")


def test_headers_that_lie(tmp_path):
    path = tmp_path / "lie.npz"
    for shape in ("(1000000000000, 8, 8)", f"({2**62}, 4)"):
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x_train.npy", content + header.encode() + bytes(100))
            file.writestr("y_train.npy", content + header.encode() + bytes(100))
        rejects(lambda: data.load(f"npz:{path}"), "x_train is damaged")


def test_paths_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    rejects(lambda: data.load(f"npz:{tmp_path / 'pipe'}"), "not a regular file")
    rejects(lambda: data.load(f"npz:{tmp_path / 'loop'}"), "no such file")
    rejects(lambda: data.load(f"npz:{tmp_path}"), "not a regular file")
    rejects(lambda: data.load("npz:/dev/zero"), "not a regular file")
    rejects(lambda: data.load("npz:~nobody-such/x.npz"), "no such file")
    rejects(lambda: data.load("npz:"), "npz:")
