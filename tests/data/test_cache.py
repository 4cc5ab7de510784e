"""Decoded data sets on disk."""

import os

import numpy as np
from data_cases import IMAGES, LABELS, equal

from unlearn.data import cache
from unlearn.data.dataset import make_dataset


def small():
    return make_dataset("small", (IMAGES, LABELS), (IMAGES, LABELS))


def test_cache_is_used_rebuilt_and_optional(tmp_path):
    source = tmp_path / "source"
    source.write_text("1")
    made = []

    def load(cache_dir=tmp_path / "cache"):
        def make():
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
    def full(file, **arrays):
        file.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    equal(cache.cached(small, "small", tmp_path, [], None, tmp_path / "c"), small())
    assert not list((tmp_path / "c").iterdir())


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
        source = tmp_path / name
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

    def make():
        return make_dataset("s", (IMAGES, LABELS), (IMAGES, LABELS), names)

    source = tmp_path / "s\udce9t"
    source.mkdir()
    for _ in range(2):
        loaded = cache.cached(make, "s", source, [source], None, tmp_path / "c")
        assert loaded.class_names == names
        equal(loaded, make())
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_processes_that_make_it_at_the_same_time(tmp_path):
    """Each sees the whole set, and one file stays."""

    def make():  # another process is faster
        equal(cache.cached(small, "small", tmp_path, [], None, tmp_path / "c"), small())
        return small()

    equal(cache.cached(make, "small", tmp_path, [], None, tmp_path / "c"), small())
    assert len(list((tmp_path / "c").iterdir())) == 1
