"""Files whole or not at all, whoever else writes; hashes; records."""

import math
import subprocess
import sys
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from light import WITHOUT_JAX

from unlearn import store
from unlearn.errors import InputError

ROOT = Path(__file__).parents[2]
VARIABLES = {"params": {"w": jnp.ones((3, 4))}}


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for call in (
        lambda: store.write_text(tmp_path / "file" / "x", "y"),
        lambda: store.save_checkpoint(tmp_path / "file" / "x", VARIABLES, {}),
    ):
        with pytest.raises(InputError, match="cannot write"):
            call()


WRITER = """
from unlearn.store import files
for number in range(150):
    files.write_bytes(sys.argv[1], sys.argv[2].encode() * 40_000)
"""


def test_two_processes_that_write_a_file_never_tear_it(tmp_path):
    path = tmp_path / "x"
    store.write_bytes(path, b"a" * 40_000)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WITHOUT_JAX + WRITER, str(path), letter],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        for letter in "ab"
    ]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        content = path.read_bytes()
        reads += 1
        assert content in (b"a" * 40_000, b"b" * 40_000)
    for writer in writers:
        assert writer.wait() == 0, writer.stderr.read()
        writer.stderr.close()
    assert reads > 50
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_two_threads_that_write_a_file(tmp_path):
    path, errors = tmp_path / "x", []

    def write(letter):
        try:
            for _ in range(150):
                store.write_bytes(path, letter * 40_000)
                assert path.read_bytes() in (b"a" * 40_000, b"b" * 40_000)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[letter]) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    store.write_text(tmp_path / "x", "old")

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="cannot write .*No space left"):
        store.write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_clean_removes_what_killed_writes_left_and_nothing_else(tmp_path):
    for place in (tmp_path, tmp_path / "deep" / "er"):
        (place / ".a.12.0123abcd.partial" / "state").mkdir(parents=True)
        (place / ".b.npz.12.0123abcd.partial").write_text("part")
        (place / "notes.partial").write_text("the user's")
    (tmp_path / ".lock").write_text("")
    store.clean(tmp_path)
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    kept = [".lock", "notes.partial", "deep", "deep/er", "deep/er/notes.partial"]
    assert left == sorted(kept)


def test_text_of_any_file_name_can_be_written(tmp_path):
    """Python reads a name that is not UTF-8 as lone surrogates."""
    store.write_text(tmp_path / "x", "caf\udce9 é")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "caf\\udce9 é"
    store.write_json(tmp_path / "y", {"name": "caf\udce9"})
    assert store.read_json(tmp_path / "y") == {"name": "caf\udce9"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[1]", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b"\x00"],
)
def test_json_that_is_no_object(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read .*use another folder") as e:
        store.read_json(tmp_path / "x")
    assert "\n" not in str(e.value)


# Records

RECORD = {
    "b": [0.1, 1e-300, math.inf, -math.inf, -0.0, 2**70],
    "a": {"10": "x", "9": None, "caf\udce9 $\\frac$": True},
    "numpy": (np.float32(0.1), np.int64(3), np.arange(3)),
}


def test_records_come_back_exactly(tmp_path):
    store.save_record(tmp_path / "r.json", RECORD | {"nan": math.nan})
    loaded = store.load_record(tmp_path / "r.json")
    assert list(loaded) == [*RECORD, "nan"] and math.isnan(loaded.pop("nan"))
    assert math.copysign(1, loaded["b"][4]) == -1
    expected = RECORD | {"numpy": [float(np.float32(0.1)), 3, [0, 1, 2]]}
    assert loaded == expected


def test_records_with_numbers_as_keys(tmp_path):
    store.save_record(tmp_path / "r", {10: 1, 9: 2})
    assert store.load_record(tmp_path / "r") == {"10": 1, "9": 2}


def test_every_damage_of_a_record_is_noticed(tmp_path):
    path = tmp_path / "r.json"
    store.save_record(path, {"accuracy": 0.123456789, "status": "ok", "n": [1, 2]})
    good = path.read_bytes()
    value = store.load_record(path)
    damaged = [good[:n] for n in range(0, len(good) - 1, 5)]
    damaged += [
        good[:n] + bytes([good[n] ^ flip]) + good[n + 1 :]
        for n in range(len(good))
        for flip in (0x01, 0xFF)
    ]
    damaged += [b"null", b"[]", b"{}", b'{"sha256": 1, "value": 2}', b"[" * 100_000]
    noticed = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            loaded = store.load_record(path)
            assert loaded == value  # white space
        except InputError as error:
            noticed += 1
            assert f"{path} is damaged" in str(error) and "\n" not in str(error)
            assert "delete it, and the same command computes it anew" in str(error)
    assert noticed > 0.9 * len(damaged)
    path.unlink()
    with pytest.raises(InputError, match="damaged"):
        store.load_record(path)


def test_arrays_that_are_damaged(tmp_path):
    path = tmp_path / "x.npz"
    store.save_arrays(path, {"a": np.arange(100), "b": np.ones(3)})
    assert list(store.load_arrays(path, "b".__eq__)) == ["b"]
    good = path.read_bytes()
    for content in (good[:99], b"", b"no zip", good[:80] + b"\xff" * 8 + good[88:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is damaged .*delete it"):
            store.load_arrays(path)


def test_large_arrays_stay_in_their_file(tmp_path):
    path = tmp_path / "x.npz"
    arrays = {
        "large": np.random.default_rng(0).normal(size=(50, 7)),
        "columns": np.asfortranarray(np.arange(600.0).reshape(20, 30)),
        "small": np.arange(3),
    }
    store.save_arrays(path, arrays)
    found = store.load_arrays(path, mapped=1000)
    kinds = {name: isinstance(values, np.memmap) for name, values in found.items()}
    assert kinds == {"large": True, "columns": False, "small": False}
    store.save_arrays(path, found)  # from itself: the old file stays until it is closed
    for name, values in store.load_arrays(path).items():
        np.testing.assert_array_equal(values, arrays[name])
        np.testing.assert_array_equal(found[name], arrays[name])
    np.savez_compressed(path, **arrays)
    packed = store.load_arrays(path, mapped=1)
    assert not any(isinstance(values, np.memmap) for values in packed.values())


# Hashes


def test_hash_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert store.file_hash(tmp_path / "x").startswith("ba7816bf8f01cfea")
    with pytest.raises(InputError, match="cannot be read"):
        store.file_hash(tmp_path / "y")


def test_hash_sees_values_shapes_dtypes_and_names():
    trees = [
        {"a": np.zeros(4, np.float32)},
        {"a": np.ones(4, np.float32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"b": np.zeros(4, np.float32)},
    ]
    assert len({store.tree_hash(tree) for tree in trees}) == len(trees)
    assert store.tree_hash(trees[0]) == store.tree_hash({"a": jnp.zeros(4)})


def test_a_kept_file_is_of_what_it_says(tmp_path):
    of = {"run": "a", "model": "ssd", "seed": 1}
    path = tmp_path / "0.npz"
    assert not store.is_kept(path)
    store.save_kept(path, {"x": np.arange(3)}, of)
    assert store.is_kept(path)
    np.testing.assert_array_equal(store.load_kept(path, of)["x"], np.arange(3))
    with pytest.raises(InputError, match="of another run or model: delete it"):
        store.load_kept(path, of | {"seed": 2})
    store.save_arrays(path, {"x": np.arange(4)})
    with pytest.raises(InputError, match="0.npz is damaged"):
        store.load_kept(path, of)


def test_leftovers_of_another_run_below_are_left_alone(tmp_path):
    (tmp_path / "forget_7").mkdir()
    own, other = tmp_path / ".x.1.0123abcd.partial", tmp_path / "forget_7"
    live = other / ".x.2.0123abcd.partial"
    for path in (own, other / ".lock", live):
        path.write_text("")
    store.clean(tmp_path)
    assert not own.exists() and live.exists()
