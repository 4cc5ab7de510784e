"""Decoded data sets on disk."""

import os
import zipfile

import numpy as np
import pytest
from data_cases import IMAGES, LABELS, equal

from unlearn import stored
from unlearn.data import cache
from unlearn.data.dataset import make_dataset


def small(spool=None):
    return make_dataset("small", (IMAGES, LABELS), (IMAGES, LABELS))


def test_cache_is_used_rebuilt_and_optional(tmp_path):
    source = tmp_path / "source"
    source.write_text("1")
    made = []

    def load(cache_dir=tmp_path / "cache"):
        def make(spool):
            made.append(1)
            return small()

        return cache.cached(make, "small", source, [source], None, cache_dir)

    equal(load(), small())
    equal(load(), small())
    assert len(made) == 1
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    content[content.index(IMAGES.tobytes()[:40]) + 20] ^= 1
    for damaged in (content, content[:200], b""):
        file.write_bytes(damaged)
        equal(load(), small())
        equal(load(), small())
    assert len(made) == 4
    source.write_text("changed")
    load()
    assert len(made) == 5
    equal(load(source / "not a folder"), small())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [file.name]


def test_cache_survives_a_full_disk(tmp_path, monkeypatch):
    def full(member, array):
        member.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write_array", full)
    equal(cache.cached(small, "small", tmp_path, [], None, tmp_path / "c"), small())
    assert not list((tmp_path / "c").iterdir())


@pytest.mark.parametrize("block", [1, 130, 2**26])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_what_lies_in_a_file_is_written_as_numpy_does(
    kind, block, tmp_path, monkeypatch
):
    monkeypatch.setattr(stored, "BLOCK", block)
    images = IMAGES.astype(kind)
    (tmp_path / "raw").write_bytes(b"skip" + images.tobytes())
    state = stored.state_of(tmp_path / "raw")
    source = stored.Source(str(tmp_path / "raw"), 4, images.shape, images.dtype, state)
    rows = np.array([3, 4, 5, 9, 2])
    few = small()._replace(test_images=stored.Stored((source,), rows))
    cache._write(tmp_path / "made.npz", "key", few)
    found = cache._read(tmp_path / "made.npz", "key", True)
    np.testing.assert_array_equal(found.test_images, images[rows])
    equal(found._replace(test_images=IMAGES), small())
    np.savez(tmp_path / "true.npz", test_images=images[rows])
    made, true = (
        zipfile.ZipFile(tmp_path / f"{name}.npz") for name in ("made", "true")
    )
    member = "test_images.npy"
    assert made.read(member) == true.read(member)
    assert made.getinfo(member).compress_type == zipfile.ZIP_STORED


def test_what_killed_processes_left_is_removed(tmp_path):
    directory = tmp_path / "c"
    directory.mkdir()
    old = (
        directory / f"set-{'0123' * 4}.npz.abc.incomplete",
        directory / "tmp12_4567z.incomplete",
    )
    live = directory / f"set-{'4567' * 4}.npz.abc.incomplete"
    for path in (*old, live, directory / "notes.incomplete"):
        path.write_text("part")
        if path != live:
            os.utime(path, (0, 0))
    equal(cache.cached(small, "small", tmp_path, [], None, directory), small())
    assert not any(path.exists() for path in old)
    assert live.exists() and (directory / "notes.incomplete").exists()


def test_sets_used_longest_ago_are_dropped(tmp_path, monkeypatch):
    def load(name):
        source = tmp_path / "sets" / name
        source.parent.mkdir(exist_ok=True)
        source.touch()
        return cache.cached(small, "small", source, [source], None, tmp_path / "c")

    def kept():
        return sorted(path.name[0] for path in (tmp_path / "c").glob("*.npz"))

    load("a")
    (file,) = (tmp_path / "c").iterdir()
    (tmp_path / "c" / "mine.npz").write_bytes(bytes(10**6))  # no name of ours
    monkeypatch.setattr(cache, "LIMIT", int(2.5 * file.stat().st_size))
    load("b")
    for path in (tmp_path / "c").iterdir():
        os.utime(path, (path.name[0] == "b", path.name[0] == "b"))
    equal(load("a"), small())  # used again
    load("c")
    assert kept() == ["a", "c", "m"]
    monkeypatch.setattr(cache, "LIMIT", 1)
    load("d")  # too large, and kept as the last one
    assert kept() == ["d", "m"]


def test_names_that_are_not_utf8(tmp_path):
    names = ("$\\frac$", "caf\udce9", "naïve")

    def make(spool):
        return make_dataset("s", (IMAGES, LABELS), (IMAGES, LABELS), names)

    source = tmp_path / "s\udce9t"
    source.touch()
    for _ in range(2):
        loaded = cache.cached(make, "s", source, [source], None, tmp_path / "c")
        assert loaded.class_names == names
        equal(loaded, make(None))
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_processes_that_make_it_at_the_same_time(tmp_path):
    """Each sees the whole set, and one file stays."""

    def make(spool):  # another process is faster
        equal(cache.cached(small, "small", tmp_path, [], None, tmp_path / "c"), small())
        return small()

    equal(cache.cached(make, "small", tmp_path, [], None, tmp_path / "c"), small())
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_ids_groups_notes_and_inputs_are_kept(tmp_path):
    rows = np.arange(len(LABELS))
    pairs = (IMAGES, LABELS), (IMAGES, LABELS)
    ids = [f"café/{row}.png" for row in rows]
    full = dict(groups=rows // 2, ids=ids, test_ids=-1 - rows, notes=["one", "naïve"])
    floats = (IMAGES / 7).astype(np.float32), LABELS
    for number, made in enumerate(
        (
            make_dataset("s", *pairs, **full),
            make_dataset("s", *pairs),
            make_dataset("s", floats, floats, ["a", "b", "c"]),
        )
    ):
        source = tmp_path / str(number)
        source.touch()
        arguments = "s", source, [source], None, tmp_path / "c"
        equal(cache.cached(lambda spool, made=made: made, *arguments), made)
        found = cache.cached(lambda spool: 1 / 0, *arguments)
        equal(found, made)
        for field in ("mean", "std", "train_ids", "test_ids"):
            one, other = getattr(found, field), getattr(made, field)
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        assert found.notes == made.notes and found.name == "s"


@pytest.mark.parametrize("change", ["content", "name", "size", "details", "format"])
def test_what_differs_is_decoded_again(tmp_path, monkeypatch, change):
    """Content above all: times and sizes are kept by rsync -t and by archives."""
    file = tmp_path / "source" / "a.png"
    file.parent.mkdir()
    file.write_bytes(b"one")
    os.utime(file, (5, 5))
    made = []

    def load(details=""):
        def make(spool):
            made.append(1)
            return small()

        files = list(file.parent.iterdir())
        folder = tmp_path / "source", files, None, tmp_path / "c"
        return cache.cached(make, "small", *folder, details)

    load()
    load()
    assert len(made) == 1
    if change == "content":
        file.write_bytes(b"two")
        os.utime(file, (5, 5))
    elif change == "name":
        file.rename(file.with_name("b.png"))
    elif change == "size":
        file.write_bytes(b"three")
    elif change == "format":
        monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    load("other" if change == "details" else "")
    assert len(made) == 2
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_files_that_change_while_they_are_decoded(tmp_path):
    source = tmp_path / "s"
    source.write_text("old")

    def make(spool):
        source.write_text("new")
        return small()

    cache.cached(make, "s", source, [source], None, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_forget_leaves_no_cached_pixels(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for folder in ("pho[t]os", "photos", "x/pho[t]os"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("pho[t]os")

    def load(folder, size=None, cache_dir=None):
        source = tmp_path / folder
        return cache.cached(small, "s", source, [], size, cache_dir)

    for size in (None, (4, 4), (8, 16)):
        load("pho[t]os", size)
    load("photos")
    load("x/pho[t]os")
    cache_folder = tmp_path / "home/unlearn/data"
    (one, *_) = sorted(cache_folder.glob("pho[[]t]os-*"))
    part = cache_folder / f"{one.name}.abc.incomplete"
    part.write_text("part")
    old = cache_folder / f"pho[t]os-{'0123' * 4}.npz"
    old.write_text("by an older version")
    mine = cache_folder / "pho[t]os-notes.txt"
    mine.write_text("mine")
    deleted = cache.forget(tmp_path / "link")
    assert len(deleted) == 6 and part in deleted and old in deleted
    assert not any(path.exists() for path in deleted)
    assert [path.name[:7] for path in sorted(cache_folder.iterdir())] == [
        "pho[t]o",
        "photos-",
    ]
    assert cache.forget(tmp_path / "link") == []
    load("photos", None, tmp_path / "c")
    assert cache.forget(tmp_path / "photos", tmp_path / "other") == []
    assert len(cache.forget(tmp_path / "photos", tmp_path / "c")) == 1
    (tmp_path / "photos").rmdir()  # it need not exist any more
    assert len(cache.forget(tmp_path / "photos")) == 1
