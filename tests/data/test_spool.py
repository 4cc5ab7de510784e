"""Where decoded images are collected."""

import fnmatch
import os

import numpy as np
import pytest
from data_cases import random_images, rejects

from unlearn import caches, stored
from unlearn.data import cache, spool, streaming
from unlearn.data.spool import Spool
from unlearn.stored import Stored

NAME = f"set-{'0123' * 4}.npz"


def collected(images, path, resident, counts=None, expected=None):
    """Returns copies of the rows, and of which kind they are."""
    with Spool("s", path, resident) as made:
        made.expect(len(images) if expected is None else expected)
        for image in images:
            made.add(image)
        parts = made.parts(counts or [len(images)])
        return [np.array(part) for part in parts], {type(part) for part in parts}


@pytest.fixture(params=[1, 700, 2**26])
def block(request, monkeypatch):
    monkeypatch.setattr(stored, "BLOCK", request.param)


COLOUR, GREY = random_images(13, (5, 7, 3)), random_images(12, (5, 7, 1), seed=1)
SETS = {
    "grey": [*GREY],
    "colour": [*COLOUR],
    "colour then grey": [*COLOUR, *GREY],
    "grey then colour": [*GREY, *COLOUR],
    "in turn": [image for pair in zip(GREY, COLOUR, strict=False) for image in pair],
}


@pytest.mark.parametrize("kind", SETS)
def test_rows_are_the_images_wherever_they_lie(kind, block, tmp_path):
    images = SETS[kind]
    channels = max(image.shape[-1] for image in images)
    expected = np.stack([np.broadcast_to(i, (5, 7, channels)) for i in images])
    for resident, where in ((True, np.ndarray), (False, Stored)):
        for count in (len(images), len(images) + 3):
            counts = [4, len(images) - 5, 1]
            path = tmp_path / NAME
            parts, kinds = collected(images, path, resident, counts, count)
            assert kinds == {where} and [*map(len, parts)] == counts
            np.testing.assert_array_equal(np.concatenate(parts), expected)
            assert not [*tmp_path.iterdir()]


def test_grey_ones_move_to_a_file_if_colour_makes_them_large(tmp_path, monkeypatch):
    size = len(SETS["grey then colour"]) * COLOUR[0].nbytes
    monkeypatch.setattr(streaming, "SHARE", 1.0)
    monkeypatch.setattr(streaming.memory, "limit", lambda: size - 1)
    with Spool("s", tmp_path / NAME, None) as made:
        made.expect(len(SETS["grey then colour"]))
        for image in SETS["grey then colour"]:
            assert [*tmp_path.iterdir()] == [] or made.shape[-1] == 3
            made.add(image)
        (rows,) = made.parts([25])
        assert isinstance(rows, Stored)
        np.testing.assert_array_equal(rows[:12], np.repeat(GREY, 3, -1))
        np.testing.assert_array_equal(rows[12:], COLOUR)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_wide_values_are_in_memory(kind, tmp_path, monkeypatch):
    images = random_images(4, (3, 3, 1)).astype(kind) * 300
    (rows,), kinds = collected(images, tmp_path / NAME, False)
    assert kinds == {np.ndarray}
    np.testing.assert_array_equal(rows, images)
    monkeypatch.setenv("UNLEARN_DATA_GIB", "1e-9")
    rejects(lambda: collected(images, tmp_path / NAME, False), "of memory")


def test_without_a_cache_all_is_in_memory(monkeypatch):
    assert collected([*GREY], None, None)[1] == {np.ndarray}
    monkeypatch.setattr(streaming, "SHARE", 0.0)
    assert collected([*GREY], None, None)[1] == {np.ndarray}


# What can go wrong


def test_the_limit_is_one_of_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_DATA_GIB", "1e-7")
    path = tmp_path / NAME
    for resident in (False, None):
        assert collected([*COLOUR], path, resident)[1] == {Stored}
    words = "s: would take 0.0 GiB of memory", "UNLEARN_DATA_GIB=1"
    rejects(lambda: collected([*COLOUR], path, True), *words)
    monkeypatch.setenv("UNLEARN_DATA_GIB", str(1000 / 2**30))
    rejects(lambda: collected(SETS["grey then colour"], path, True), *words)
    rejects(lambda: collected([*COLOUR], None, None), *words)


@pytest.fixture
def no_space(monkeypatch):
    usage = spool.shutil.disk_usage("/")._replace(free=2**29)
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(streaming, "SHARE", 0.0)


def test_too_little_space_is_said_before_decoding(no_space, tmp_path):
    def fill(resident, count):
        return lambda: collected([*GREY], tmp_path / NAME, resident, None, count)

    assert fill(False, 2**28 // 35)()[1] == {Stored}
    words = "takes 2.0 GiB", str(tmp_path), "0.5 are free", "XDG_CACHE_HOME"
    rejects(fill(False, 2**30 // 35), *words)
    assert fill(None, 2**30 // 35)()[1] == {np.ndarray}
    rejects(fill(None, 2**34 // 35), "32.0 GiB", *words[1:])
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / NAME
    words = "s: ", str(path), "cannot be written", "data.resident=True"
    rejects(lambda: collected([*GREY], path, False), *words)
    monkeypatch.setattr(streaming, "SHARE", 0.0)
    assert collected([*GREY], path, None)[1] == {np.ndarray}
    monkeypatch.setenv("UNLEARN_DATA_GIB", "1e-7")
    rejects(lambda: collected([*GREY], path, None), *words)


@pytest.mark.parametrize("kind", ["grey", "grey then colour"])
@pytest.mark.parametrize("most", [0, 100, 12 * 35 + 50])
def test_a_disk_that_is_full_in_the_middle(kind, most, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    words = NAME, "cannot be written", "free some space"
    images = SETS[kind] * 3
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        rejects(lambda: collected(images, tmp_path / NAME, False), *words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [*tmp_path.iterdir()]


def test_the_file_goes_whatever_happens(tmp_path):
    with pytest.raises(KeyboardInterrupt), Spool("s", tmp_path / NAME, False) as made:
        made.expect(3)
        made.add(GREY[0])
        made.add(COLOUR[0])
        (file,) = tmp_path.iterdir()
        raise KeyboardInterrupt
    assert not file.exists()


def test_its_space_is_free_though_a_reader_has_it_open(tmp_path):
    with Spool("s", tmp_path / NAME, False) as made:
        made.expect(12)
        for image in GREY:
            made.add(image)
        (rows,) = made.parts([12])
        np.asarray(rows)
        reader = os.open(rows.sources[0].path, os.O_RDONLY)
        assert os.fstat(reader).st_size == GREY.nbytes
    assert os.fstat(reader).st_size == 0
    os.close(reader)


def test_what_a_killed_process_leaves_is_found(tmp_path):
    with Spool("s", tmp_path / NAME, False) as made:
        made.expect(1)
        made.add(GREY[0])
        (file,) = tmp_path.iterdir()
        assert any(fnmatch.fnmatch(file.name, one) for one in cache.LEFTOVERS)
        assert not fnmatch.fnmatch(file.name, cache.NAMES)
        os.utime(file, (0, 0))
        caches.remove_leftovers(tmp_path, cache.LEFTOVERS[0], held=True)
        assert file.exists()  # somebody is at work on it
        assert cache.forget(tmp_path / "set", tmp_path) == [file]
