"""A user's own images in class folders."""

import os

import numpy as np
import pytest
from data_cases import arrays, equal, fill, random_images, rejects, several
from data_cases import load_folder as load
from PIL import Image

from unlearn import data


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


# What the files hold


def write(tmp_path, images, suffix="png"):
    for number, image in enumerate(images):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


@pytest.mark.parametrize("factor", [257, 16, 4, 1])
def test_wide_images_are_scaled_by_the_range_of_the_set(tmp_path, factor):
    images = random_images(12, (4, 4))
    images[0, 0, 0], images[7, 0, 0] = 0, 255
    write(tmp_path, images.astype(np.uint16) * factor)
    for _ in range(2):
        loaded = load(tmp_path)
        for id, image in zip(loaded.train_ids, loaded.train_images, strict=True):
            number = int(id.split("/")[1].removesuffix(".png"))
            np.testing.assert_array_equal(image[..., 0], images[number])
        assert bool(loaded.notes) == (factor > 1)


def test_images_that_cannot_be_compared(tmp_path):
    write(tmp_path, random_images(12, (4, 4)))
    deep = random_images(1, (4, 4))[0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "set/b/99.png")
    rejects(lambda: load(tmp_path), "a/0.png has 8 bits", "b/99.png 16 bits", "alike")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("value", [0, 1, 200, 3000])
def test_a_constant_set_is_refused(tmp_path, kind, value):
    if kind == np.uint8 and value > 255:
        value = 255
    write(tmp_path, np.full((12, 4, 4), value, kind), "tif")
    rejects(lambda: load(tmp_path), "every")


def test_what_was_done_is_said(tmp_path):
    drawing = np.zeros((12, 4, 4, 4), np.uint8)
    drawing[..., 3] = random_images(12, (4, 4))
    drawing[:2, ..., :3] = 255
    write(tmp_path, drawing)
    frames = [Image.fromarray(i) for i in random_images(2, (4, 4))]
    frames[0].save(tmp_path / "set/a/x.gif", save_all=True, append_images=frames[1:])
    loaded = load(tmp_path)
    assert len(np.unique(loaded.train_images.reshape(len(loaded.train_ids), -1))) > 9
    assert "10 transparent images: laid over white" in loaded.notes
    assert "2 white and transparent images: laid over black" in loaded.notes
    assert any("1 file of several images" in note for note in loaded.notes)


def test_a_set_past_the_limit(tmp_path, monkeypatch):
    fill(tmp_path / "set", *several("a", "b"))
    monkeypatch.setenv("UNLEARN_DATA_GIB", "1e-7")
    rejects(lambda: load(tmp_path), "UNLEARN_DATA_GIB")


def test_damaged_images_are_named(tmp_path):
    fill(tmp_path / "set", *several("a", "b"))
    bad = tmp_path / "set/b/3.png"
    for content in (b"", b"no image", bad.read_bytes()[:60]):
        bad.write_bytes(content)
        rejects(lambda: load(tmp_path), "cannot read the image", "b/3.png", "mend it")


def test_a_file_that_is_no_image_says_what_is_read(tmp_path):
    fill(tmp_path / "set", *several("a", "b"))
    (tmp_path / "set/b/3.png").write_text("<html>")
    rejects(lambda: load(tmp_path), "b/3.png", "none of PNG, JPEG")


def test_floats_in_files(tmp_path):
    fill(tmp_path / "set", *several("a", "b"))
    rng = np.random.default_rng(0)
    for path in (tmp_path / "set").rglob("*.png"):
        values = rng.random((8, 8), np.float32)
        Image.fromarray(values).save(path.with_suffix(".tif"))
        path.unlink()
    assert load(tmp_path).notes == (
        "train floats in [0, 1] are taken as images, rounded to 8 bits",
    )
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "set/b/1.tif")
    rejects(lambda: load(tmp_path), "b/1.tif", "it has NaN or infinity")


def test_no_folder_is_no_folder():
    rejects(lambda: data.load("folder:"), "give folder:PATH")
    rejects(lambda: data.load("npz: "), "give npz:PATH")


# Groups


def test_groups_stay_together(tmp_path):
    names = several("a", "b", count=30)
    fill(tmp_path / "set", *names)
    groups = {name: f"person {number // 3}" for number, name in enumerate(names)}
    lines = ["group,file,age", *(f'{g},"{name}",9' for name, g in groups.items())]
    table = tmp_path / "set/groups.csv"
    table.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    for _ in range(2):
        loaded = load(tmp_path)
        train = [groups[id] for id in loaded.train_ids.tolist()]
        test = [groups[id] for id in loaded.test_ids.tolist()]
        assert test and not set(train) & set(test) and not loaded.notes
        same = np.array(train)[:, None] == np.array(train)
        found = loaded.train_groups[:, None] == loaded.train_groups
        np.testing.assert_array_equal(found, same)
    # The table is part of what the cache goes by.
    table.write_text("file,group\n" + "".join(f"{n},{n}\n" for n in names))
    assert len(set(load(tmp_path).train_groups.tolist())) == len(load(tmp_path)[2])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["file,group"]),
        ("a/0.png,1\n", ["first line must be file,group", "a/0.png"]),
        ("file;group\na/0.png;1\n", ["11 images have no line"]),
        ("file,group\nfile.png,1\n", ["line 2", "'file.png'", "a/0.png"]),
        ("file,group\na/0.png,1\n", ["11 images have no line", "a/1.png"]),
        ("file,group\na/0.png,\n", ["line 2 lacks"]),
        ("file,group\na/0.png\n", ["line 2 lacks"]),
        ("file,group\na/0.png,1\na/0.png,2\n", ["a/0.png has two groups"]),
        ('file,group\n"a/0.png,1\n', ["line 2 names"]),
    ],
)
def test_unusable_groups(tmp_path, text, words):
    fill(tmp_path / "set", *several("a", "b"))
    (tmp_path / "set/groups.csv").write_text(text)
    rejects(lambda: load(tmp_path), "groups.csv", *words)


@pytest.mark.parametrize(
    ("separator", "encoding"), [(",", "utf-16"), (";", "utf-8-sig"), (",", "utf-8")]
)
def test_groups_as_programs_write_them(tmp_path, separator, encoding):
    names = several("a", "b", count=10)
    fill(tmp_path / "set", *names, "a/caf\u00e9.png")
    groups = [
        *((name, n // 2) for n, name in enumerate(names)),
        ("a/cafe\u0301.png", 0),
    ]
    lines = ["file,group", *(f"{name},{group}" for name, group in groups)]
    text = "\r\n".join(lines).replace(",", separator)
    (tmp_path / "set/groups.csv").write_bytes(text.encode(encoding))
    loaded = load(tmp_path)
    by_id = dict(zip(loaded.train_ids.tolist(), loaded.train_groups, strict=True))
    together = {"a/0.png", "a/1.png", "a/caf\u00e9.png"} & by_id.keys()
    assert len({int(by_id[name]) for name in together}) <= 1
    assert len(together) in (0, 3)


@pytest.mark.parametrize("place", ["Groups.csv", "a/../train/groups.csv"])
def test_groups_in_another_place_are_not_passed_over(tmp_path, place):
    fill(tmp_path / "set", *several("train/a", "train/b"), "a/x.txt")
    (tmp_path / "set" / place).write_text("file,group\n")
    rejects(lambda: load(tmp_path), "groups are read from")


def test_groups_of_the_training_split_alone(tmp_path):
    names = several("train/a", "train/b")
    fill(tmp_path / "set", *names, *several("test/a", "test/b"))
    lines = [
        "file,group",
        *(f"{name},{number // 4}" for number, name in enumerate(names)),
    ]
    (tmp_path / "set/groups.csv").write_text("\n".join(lines))
    assert load(tmp_path).train_groups.tolist() == [n // 4 for n in range(12)]
