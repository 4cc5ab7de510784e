"""What is in a user's folder of images, and whose file an example is."""

import os

import numpy as np
import pytest
from data_cases import equal, fill, rejects, several
from data_cases import load_folder as load
from PIL import Image


def test_ids_are_file_names_and_name_their_images(tmp_path):
    root = tmp_path / "set"
    for number, name in enumerate(several("cat", "dog/small", "dog/big")):
        fill(root, name, value=number)
    for _ in range(2):
        loaded = load(tmp_path)
        seen = []
        for part in ("train", "test"):
            for id, image in zip(
                getattr(loaded, f"{part}_ids").tolist(),
                getattr(loaded, f"{part}_images"),
                strict=True,
            ):
                file = np.asarray(Image.open(root / id))
                np.testing.assert_array_equal(image[..., 0], file)
                seen.append(id)
        assert sorted(seen) == sorted(several("cat", "dog/small", "dog/big"))
        assert loaded.class_names == ("cat", "dog")


def test_classes_and_files_are_in_natural_order(tmp_path):
    root = tmp_path / "set"
    for split in ("train", "val"):
        for label in range(12):
            fill(root, *several(f"{split}/{label}", count=12), value=label * 20)
    loaded = load(tmp_path)
    assert loaded.class_names == tuple(map(str, range(12)))
    for part, folder in (("train", "train"), ("test", "val")):
        images = getattr(loaded, f"{part}_images")[:, 0, 0, 0]
        np.testing.assert_array_equal(images, getattr(loaded, f"{part}_labels") * 20)
        ids = getattr(loaded, f"{part}_ids").tolist()
        assert ids == several(*(f"{folder}/{label}" for label in range(12)), count=12)


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize(
    "held_out",
    ["test", "Test", "testing", "valid", "val", "Validation", "dev", "eval", "holdout"],
)
def test_held_out_folders_of_any_name(tmp_path, train, held_out):
    root = tmp_path / "set"
    fill(root, *several(f"{train}/cat", f"{train}/dog"), value=50)
    fill(root, *several(f"{held_out}/cat", f"{held_out}/dog", count=2), value=200)
    loaded = load(tmp_path)
    assert set(loaded.train_images.flat) == {50}
    assert set(loaded.test_images.flat) == {200}
    assert loaded.train_ids[0] == f"{train}/cat/0.png"
    assert loaded.test_ids[-1] == f"{held_out}/dog/1.png"
    assert not loaded.notes


def test_another_held_out_folder_is_not_dropped_in_silence(tmp_path):
    root = tmp_path / "set"
    fill(root, *several("train/a", "train/b", "val/a", "val/b", "Test/a", "Test/b"))
    fill(root, *several("eval"))
    loaded = load(tmp_path)
    assert set(loaded.test_ids) == set(several("Test/a", "Test/b"))
    assert any("12 images in val/" in note for note in loaded.notes)
    assert any("6 images in eval/ (no class folders)" in n for n in loaded.notes)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train/a", "train/b", "Test/a", "test/a"], ["Test", "test", "both"]),
        (["train/a", "train/b", "val/a", "dev/a"], ["dev", "val", "both"]),
        (["train/a", "train/b", "Training/a"], ["Training/", "train/", "both"]),
        (["train/a", "train/b", "cat"], ["cat/ is beside train/"]),
        (["train/a", "train/b", "more/cat"], ["more/ is beside train/"]),
        (["a", "b", "test/a"], ["test/ may be a class or a split"]),
        (["a", "b", "val"], ["val/ may be a class or a split"]),
        (["test/a", "test/b"], ["test/ may be a class or a split", "train/"]),
        (["train/a", "train/b", "test/a", "test/c"], ["class c is in test only"]),
        (["a"], ["2 or more classes", "found a"]),
        (["data/a", "data/b"], ["found data; if they lie in it, give folder:"]),
        (["my_train/a", "my_test/a"], ["my_train/ and my_test/ may be classes or"]),
        (["seg_train/s/a", "seg_pred/a", "seg_test/s/a"], ["classes or splits"]),
        (["é", "e\u0301"], ["Unicode"]),
        (["a", "a "], ["spaces"]),
    ],
)
def test_folders_in_doubt(tmp_path, names, words):
    fill(tmp_path / "set", *several(*names))
    rejects(lambda: load(tmp_path), *words)


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("training_set", "test_set"),
        ("trainset", "testset"),
        ("Train Images", "Val Images"),
        ("train_data", "validation-data"),
    ],
)
def test_words_that_go_with_the_names_of_splits(tmp_path, train, held_out):
    names = several(*(f"{s}/{c}" for s in (train, held_out) for c in "ab"))
    fill(tmp_path / "set", *names)
    loaded = load(tmp_path)
    assert loaded.class_names == ("a", "b")
    assert {name.partition("/")[0] for name in loaded.test_ids} == {held_out}


def test_images_below_class_folders_are_counted(tmp_path):
    fill(tmp_path / "set", *several("fold1/a", "fold1/b", "fold2/a", "c"))
    loaded = load(tmp_path)
    assert loaded.class_names == ("c", "fold1", "fold2")
    assert any(
        note.endswith("below the class folders, such as fold1/a/0.png")
        and note.startswith("used: 18 images")
        for note in loaded.notes
    )


def test_train_may_be_a_class(tmp_path):
    fill(tmp_path / "set", *several("bus", "car", "train"))
    assert load(tmp_path).class_names == ("bus", "car", "train")


def test_unicode_forms_of_a_class_agree_between_splits(tmp_path):
    names = several("train/é", "train/b", "test/e\u0301", "test/b")
    fill(tmp_path / "set", *names)
    loaded = load(tmp_path)
    assert loaded.class_names == ("b", "é")
    assert set(loaded.test_ids) == set(names[12:])
    for id, label in zip(loaded.test_ids, loaded.test_labels, strict=True):
        assert (label == 1) == ("e\u0301" in id)


def test_files_that_are_not_used_are_counted_and_named(tmp_path):
    root = tmp_path / "set"
    fill(root, *several("a", "b"), "a/x.JPG", "a/x.jfif", "b/deep/er/x.jpe", "b/x.Tiff")
    fill(root, "top.png", "a/y.avif", "a/z.heic", "b/no_suffix")
    (root / "empty/er").mkdir(parents=True)
    (root / "b/broken.png").symlink_to("nowhere")
    (root / "b/loop.png").symlink_to("loop.png")
    (root / "b/up").symlink_to("..")
    os.mkfifo(root / "b/pipe.png")
    loaded = load(tmp_path)
    ids = {*loaded.train_ids.tolist(), *loaded.test_ids.tolist()}
    others = {"a/x.JPG", "a/x.jfif", "b/deep/er/x.jpe", "b/x.Tiff"}
    assert ids == {*several("a", "b"), *others}
    for words in (
        "3 files of other kinds, such as a/y.avif",
        "1 files beside the class folders, such as top.png",
        "1 empty class folders, such as empty",
        "2 broken links, such as b/broken.png",
        "1 links to folders that are read already, such as b/up",
        "1 entries that are no regular files, such as b/pipe.png",
    ):
        assert any(words in note for note in loaded.notes), loaded.notes
    equal(loaded, load(tmp_path))
    assert load(tmp_path).notes == loaded.notes


def test_files_of_operating_systems_are_passed_over(tmp_path):
    root = tmp_path / "set"
    fill(root, *several("a", "b"))
    for name in (
        "a/._0.png",
        "a/.DS_Store",
        "b/Thumbs.db",
        "b/desktop.ini",
        "__MACOSX/a/._0.png",
        ".git/x.png",
        "a/.thumbnails/0.png",
        "a/@eaDir/0.png",
        "._a",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("no image")
    loaded = load(tmp_path)
    assert loaded.class_names == ("a", "b") and not loaded.notes
    assert len(loaded.train_ids) + len(loaded.test_ids) == 12


def test_a_class_whose_files_cannot_be_read_is_no_empty_one(tmp_path):
    fill(tmp_path / "set", *several("a", "b"), "c/1.avif", "c/2.avif")
    rejects(lambda: load(tmp_path), "no images in", "/c", "2 files of other kinds")


def test_folders_linked_in_circles(tmp_path):
    root = tmp_path / "set"
    fill(root, *several("a", "b"))
    for one in range(12):
        (root / f"a/{one}").mkdir()
    for one in range(12):
        for other in range(12):
            (root / f"a/{one}/{other}").symlink_to(root / f"a/{other}")
    loaded = load(tmp_path)
    assert len(loaded.train_ids) + len(loaded.test_ids) == 12


@pytest.mark.parametrize(
    "odd", ["a\nb.png", "a\tb.png", "a\x1b[31m.png", "caf\udce9\n.png"]
)
def test_names_no_list_can_hold_are_refused_in_a_line(tmp_path, odd):
    fill(tmp_path / "set", *several("a", "b"), f"a/{odd}")
    rejects(lambda: load(tmp_path), "control character")


def test_odd_names_are_ids_too(tmp_path):
    odd = [
        "a/caf\udce9.png",
        "a/日本 1.png",
        "a/x,y;'z'.png",
        'a/"q".png',
        "a/#1~*.png",
        "a/ b.png",
    ]
    fill(tmp_path / "set", *several("a", "b"), *odd)
    for _ in range(2):
        loaded = load(tmp_path)
        assert set(odd) <= {*loaded.train_ids.tolist(), *loaded.test_ids.tolist()}
    fill(tmp_path / "set", "a/é.png", "a/e\u0301.png")
    rejects(lambda: load(tmp_path), "spelling")
