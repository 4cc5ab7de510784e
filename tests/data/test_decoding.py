"""Data sets that are decoded into a file: the same as in memory, byte for byte."""

import csv
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_cases import equal, random_images, recorded, rejects
from PIL import Image

from unlearn import data, devices, stored
from unlearn.data import cache, folders, spool, streaming
from unlearn.stored import Stored

NAMES = [f"{folder}/{number}" for folder in "ab" for number in range(7)]
TRAIN, TEST = ([f"{split}/{name}" for name in NAMES] for split in ("train", "test"))
COLOURED = {
    "grey": lambda name: False,
    "colour": lambda name: True,
    "grey, then colour": lambda name: "b/" in name,
    "colour in one of the test split": lambda name: name == "test/b/6",
}


def write(root, names, coloured=lambda name: False, size=(5, 4)):
    """Writes images, the last as the first: exact copies go along."""
    for number, name in enumerate(names):
        shape = (*size, 3) if coloured(name) else size
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = random_images(1, shape, seed=number % (len(names) - 1))[0]
        Image.fromarray(image).save(path)


def members(folder):
    """Returns what is in the file of a cache, by name, less the header of the file."""
    (path,) = folder.iterdir()
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def check_same(name, tmp_path, **options):
    """Loads a set in memory and streamed, from the files and from the cache."""
    whole = data.load(name, cache_dir=tmp_path / "here", **options)
    for _ in range(2):
        options |= {"cache_dir": tmp_path / "there"}
        stays = data.load(name, resident=False, **options)
        equal(stays, whole)
        for field in ("mean", "std", "train_ids", "test_ids", "notes", "name"):
            np.testing.assert_array_equal(getattr(stays, field), getattr(whole, field))
        for kept, loaded in ((stays, Stored), (whole, np.ndarray)):
            assert isinstance(kept.train_images, loaded)
            assert isinstance(kept.test_images, loaded)
    assert members(tmp_path / "there") == members(tmp_path / "here")
    return whole


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """Counts the files that are opened beside a cache; blocks are small."""
    monkeypatch.setattr(stored, "BLOCK", 100)
    monkeypatch.setattr(devices, "cores", lambda: 3)
    paths, real = [], spool.open_beside

    def open_beside(path):
        paths.append(path)
        return real(path)

    monkeypatch.setattr(spool, "open_beside", open_beside)
    return paths


@pytest.mark.parametrize("kind", COLOURED)
@pytest.mark.parametrize("names", [TRAIN + TEST, NAMES], ids=["given", "drawn"])
def test_folders(kind, names, tmp_path, opened):
    write(tmp_path / "set", names, COLOURED[kind])
    whole = check_same(f"folder:{tmp_path / 'set'}", tmp_path)
    coloured = [*map(COLOURED[kind], names)]
    assert whole.train_images.shape[-1] == (3 if any(coloured) else 1)
    assert len(opened) == 1 + (any(coloured) and not coloured[0])


def test_a_folder_that_is_resized(tmp_path):
    write(tmp_path / "set", TRAIN, size=(9, 4))
    write(tmp_path / "set", TEST, lambda name: True)
    check_same(f"folder:{tmp_path / 'set'}", tmp_path, image_size=(6, 3))


def test_a_table(tmp_path, opened):
    write(tmp_path / "set", TRAIN + TEST, COLOURED["grey, then colour"])
    for split, names in (("train", TRAIN), ("test", TEST)):
        with open(tmp_path / "set" / f"{split}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "label", "group"])
            rows.writerows([f"{x}.png", x.split("/")[1], x[-1]] for x in names)
    check_same(f"table:{tmp_path / 'set'}", tmp_path)
    assert opened


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_wide_images_are_scaled_in_memory_and_stay_in_the_cache(kind, tmp_path, opened):
    for number, name in enumerate(TRAIN + TEST):
        path = tmp_path / "set" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = random_images(1, (5, 4), seed=number)[0].astype(kind) * 100
        Image.fromarray(image).save(path)
    check_same(f"folder:{tmp_path / 'set'}", tmp_path)
    assert not opened


@pytest.mark.parametrize("kind", COLOURED)
def test_what_is_deployed(kind, tmp_path, opened):
    """Of which some is gone, some has come and some does not fit."""
    write(tmp_path / "set", TRAIN + TEST, COLOURED[kind])
    name = f"folder:{tmp_path / 'set'}"
    known = recorded(data.load(name, cache_dir=tmp_path / "before"))
    for gone in (TRAIN[0], TRAIN[9], TEST[-1]):
        (tmp_path / "set" / f"{gone}.png").unlink()
    (tmp_path / "set/train/a/new.png").write_text("no image")
    write(tmp_path / "set", ["train/b/wide", "train/b/more"], size=(9, 9))
    write(tmp_path / "set", ["train/a/x", "train/a/y"])
    whole = check_same(name, tmp_path, known=known)
    assert len(whole.train_labels) == len(TRAIN + TEST) - 3 + 2 and len(opened) == 1
    assert any("not used: 3 images" in note for note in whole.notes)


def test_deployed_files_that_vanish_while_they_are_read(tmp_path, monkeypatch):
    write(tmp_path / "set", TRAIN + TEST)
    name, again = f"folder:{tmp_path / 'set'}", data.known._form
    deployed = recorded(data.load(name, cache_dir=tmp_path / "before"))

    def form(*args):
        found = again(*args)
        for path in (tmp_path / "set").rglob("*.png"):
            path.write_text("gone")
        return found

    monkeypatch.setattr(data.known, "_form", form)
    options = dict(known=deployed, cache_dir=tmp_path / "after")
    rejects(lambda: data.load(name, **options), "no image is left that can be read")


@pytest.mark.parametrize("left", ["grey ones", "none"])
def test_what_is_deployed_is_told_by_what_is_left(left, tmp_path):
    """Grey ones of a set of colour were colour; of none that is left, by the others."""
    write(tmp_path / "set", NAMES, COLOURED["grey, then colour"])
    name = f"folder:{tmp_path / 'set'}"
    known = recorded(data.load(name, cache_dir=tmp_path / "before"))
    for one in NAMES[7:] if left == "grey ones" else NAMES:
        (tmp_path / "set" / f"{one}.png").unlink()
    write(tmp_path / "set", ["a/x", "a/y", "b/z"])
    whole = check_same(name, tmp_path, known=known)
    count, channels = (10, 3) if left == "grey ones" else (3, 1)
    assert whole.train_images.shape == (count, 5, 4, channels)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(os.environ.get("TFDS_DATA_DIR", ""), "ham10000").is_dir(),
    reason="TFDS_DATA_DIR has the real data",
)
def test_a_set_of_tensorflow_datasets(tmp_path, monkeypatch, opened):
    monkeypatch.setattr(stored, "BLOCK", 2**20)
    check_same("ham10000", tmp_path, image_size=(12, 16))
    assert len(opened) == 1


# What goes wrong


@pytest.mark.parametrize("resident", [True, False])
def test_the_first_file_in_order_is_named(resident, tmp_path):
    write(tmp_path / "set", TRAIN + TEST)

    def names(*words):
        rejects(
            lambda: data.load(
                f"folder:{tmp_path / 'set'}",
                cache_dir=tmp_path / "c",
                resident=resident,
            ),
            *words,
        )
        assert not [*(tmp_path / "c").glob("*")]

    deep = random_images(1, (5, 4))[0].astype(np.uint16) * 100
    Image.fromarray(deep).save(tmp_path / "set/train/a/2.png")
    names("train/a/0.png has 8 bits", "train/a/2.png 16 bits", "convert them alike")
    (tmp_path / "set/test/a/1.png").write_text("no image")
    names("cannot read the image", "test/a/1.png")
    write(tmp_path / "set", ["train/b/5", "train/b/6"], size=(2, 3))
    names("train/b/5.png is 2x3, others are 5x4", "image_size")
    (tmp_path / "set/train/b/6.png").write_text("no image")
    names("train/b/5.png is 2x3")
    (tmp_path / "set/train/b/4.png").write_text("no image")
    names("cannot read the image", "train/b/4.png")


def test_a_test_split_of_another_size(tmp_path):
    write(tmp_path / "set", TRAIN)
    write(tmp_path / "set", TEST, size=(1, 1))
    name = f"folder:{tmp_path / 'set'}"
    words = "test/a/0.png is 1x1, others are 5x4", "image_size"
    rejects(lambda: data.load(name, cache_dir=tmp_path / "c"), *words)


def test_a_set_past_the_limit_of_memory_stays_in_the_cache(tmp_path, monkeypatch):
    write(tmp_path / "set", TRAIN + TEST)
    name = f"folder:{tmp_path / 'set'}"
    whole = data.load(name, cache_dir=tmp_path / "before")
    monkeypatch.setenv("UNLEARN_DATA_GIB", "1e-7")
    for resident in (False, None):
        cache_dir = tmp_path / str(resident)
        stays = data.load(name, cache_dir=cache_dir, resident=resident)
        assert isinstance(stays.train_images, Stored)
        equal(stays, whole)
    words = "of memory and the limit is 1e-07", "UNLEARN_DATA_GIB=1"
    rejects(lambda: data.load(name, cache_dir=tmp_path / "c"), *words)


def test_files_that_change_while_they_are_decoded(tmp_path, monkeypatch):
    """What was decoded is nobody's: it is not kept, and stays nowhere."""
    write(tmp_path / "set", TRAIN + TEST)
    name, changed = f"folder:{tmp_path / 'set'}", tmp_path / "set/train/a/0.png"
    real = folders.decode_files

    def decode_files(*args):
        changed.write_bytes(changed.read_bytes() + b" ")
        return real(*args)

    monkeypatch.setattr(folders, "decode_files", decode_files)
    monkeypatch.setattr(streaming, "SHARE", 0.0)
    made = data.load(name, cache_dir=tmp_path / "c", resident=None)
    assert isinstance(made.train_images, np.ndarray) and len(made.train_images) == 14
    words = "files changed while they were read", "start again"
    rejects(
        lambda: data.load(name, cache_dir=tmp_path / "c", resident=False), name, *words
    )
    assert not [*(tmp_path / "c").iterdir()]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    write(tmp_path / "set", TRAIN + TEST)
    (tmp_path / "file").touch()
    name, options = f"folder:{tmp_path / 'set'}", {"cache_dir": tmp_path / "file/c"}
    words = "cannot be written", "free some space", "data.resident=True"
    rejects(lambda: data.load(name, resident=False, **options), *words)
    monkeypatch.setattr(streaming, "SHARE", 0.0)
    made = data.load(name, resident=None, **options)
    assert isinstance(made.train_images, np.ndarray)
    equal(made, data.load(name, **options))


def test_a_disk_that_is_full_when_the_cache_is_written(tmp_path, monkeypatch):
    def full(member, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write_array", full)
    monkeypatch.setattr(streaming, "SHARE", 0.0)
    write(tmp_path / "set", TRAIN + TEST)
    name, options = f"folder:{tmp_path / 'set'}", {"cache_dir": tmp_path / "c"}
    made = data.load(name, resident=None, **options)
    assert isinstance(made.train_images, np.ndarray)
    equal(made, data.load(name, **options))
    monkeypatch.setenv("UNLEARN_DATA_GIB", "1e-7")
    for resident in (False, None):
        words = "cannot be written", "free some space", "data.resident=True"
        rejects(lambda kept=resident: data.load(name, resident=kept, **options), *words)
    assert not [*(tmp_path / "c").iterdir()]


# Memory

PEAK = """
import sys
from pathlib import Path
from unlearn import data, devices, memory, stored
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
stored.BLOCK = 2**22
devices.cores = lambda: 2
memory.limit()  # starts JAX
name, cache_dir, resident = sys.argv[1:]
before = peak()
made = data.load(name, cache_dir=cache_dir, resident=resident == "True")
size = made.train_images.nbytes + made.test_images.nbytes
print(size, (peak() - before) / size)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
@pytest.mark.parametrize("resident, share", [(False, 0.22), (True, 1.4)])
def test_peak_memory(resident, share, tmp_path):
    """Of a few images that have many names; those of the training split are grey."""
    for number in range(6):
        image = np.full((256, 256, 3), number * 40, np.uint8)
        image[number] = 255
        Image.fromarray(image).save(tmp_path / f"test{number}.png")
        Image.fromarray(image[..., 0]).save(tmp_path / f"train{number}.png")
    for split in ("train", "test"):
        for label in "ab":
            (tmp_path / "set" / split / label).mkdir(parents=True)
            for number in range(200):
                file = tmp_path / f"{split}{number % 6}.png"
                os.link(file, tmp_path / "set" / split / label / f"{number}.png")
    found = subprocess.run(
        [sys.executable, "-c", PEAK, f"folder:{tmp_path / 'set'}", tmp_path / "c"]
        + [str(resident)],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    size, taken = map(float, found.stdout.split())
    assert size == 800 * 256 * 256 * 3
    assert taken < share
