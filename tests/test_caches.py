"""Folders of things that can be made again stay within bounds."""

import os
from pathlib import Path

import pytest

from unlearn import caches


def make(folder, name, size, age):
    path = folder / name
    path.write_bytes(bytes(size))
    now = path.stat().st_mtime
    os.utime(path, (now - age, now - age))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_files_used_longest_ago_go_first(tmp_path):
    for name, age in (("a.x", 40), ("b.x", 30), ("c.x", 20), ("d.x", 10)):
        make(tmp_path, name, 100, age)
    make(tmp_path, "other", 1000, 50)
    (tmp_path / "folder.y").mkdir()
    assert caches.prune(tmp_path, "*.x", 400) == 400
    caches.mark_used(tmp_path / "a.x")
    assert caches.prune(tmp_path, "*.x", 250) == 200
    assert names(tmp_path) == ["a.x", "d.x", "folder.y", "other"]
    assert caches.prune(tmp_path, "*.x", 0, keep=tmp_path / "d.x") == 100
    assert names(tmp_path) == ["d.x", "folder.y", "other"]


def test_a_folder_that_is_not_there(tmp_path):
    assert caches.prune(tmp_path / "none", "*", 0) == 0
    caches.remove_leftovers(tmp_path / "none", "*")
    caches.mark_used(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_only_old_leftovers_are_removed(tmp_path):
    for name, age in (("old.part", 4000), ("live.part", 60), ("old.x", 4000)):
        make(tmp_path, name, 1, age)
    caches.remove_leftovers(tmp_path, "*.part")
    assert names(tmp_path) == ["live.part", "old.x"]


def test_what_is_held_stays_and_what_nobody_holds_goes_after_a_minute(tmp_path):
    pytest.importorskip("fcntl")
    ages = {"old.part": 4000, "dead.part": 90, "young.part": 10, "works.part": 9000}
    for name, age in ages.items():
        make(tmp_path, name, 1, age)
    with open(tmp_path / "works.part", "rb") as file:
        caches.hold(file)
        caches.remove_leftovers(tmp_path, "*.part", held=True)
        assert names(tmp_path) == ["works.part", "young.part"]
    caches.remove_leftovers(tmp_path, "*.part", held=True)
    assert names(tmp_path) == ["young.part"]


def test_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert caches.folder("data") == tmp_path / "unlearn" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches.folder("data") == tmp_path / ".cache" / "unlearn" / "data"

    def homeless(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert caches.folder("data") is None
