"""Checkpoints that notice damage."""

import hashlib
import json

import jax
import jax.numpy as jnp
import pytest
from trees import assert_equal

from unlearn import store
from unlearn.errors import InputError
from unlearn.optimizers import sgd
from unlearn.training import start

VARIABLES = {
    "params": {"w": jnp.arange(3000.0).reshape(30, 100), "b": jnp.ones(3)},
    "batch_stats": {"mean": jnp.zeros(3)},
}


@pytest.fixture
def state():
    return start(VARIABLES, sgd(0.1))


def test_checkpoint_round_trip_with_optimizer_state(tmp_path, state):
    store.save_checkpoint(tmp_path / "a", state, {"seconds": 1.5})
    like = jax.tree.map(jnp.zeros_like, state)
    loaded, info = store.load_checkpoint(tmp_path / "a", like)
    assert_equal(loaded, state)
    assert info == {"seconds": 1.5}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_checkpoints_are_never_overwritten(tmp_path, state):
    store.save_checkpoint(tmp_path / "a", state, {})
    store.save_checkpoint(tmp_path / "a", state, {"seconds": 2.0})
    other = jax.tree.map(lambda x: x + 1, state)
    with pytest.raises(InputError, match="never overwritten") as caught:
        store.save_checkpoint(tmp_path / "a", other, {})
    assert "\n" not in str(caught.value)
    store.save_checkpoint(tmp_path / "b", other, {})
    store.copy_checkpoint(tmp_path / "a", tmp_path / "a")
    with pytest.raises(InputError, match="never overwritten"):
        store.copy_checkpoint(tmp_path / "b", tmp_path / "a")
    assert_equal(store.load_checkpoint(tmp_path / "a", state)[0], state)
    assert store.load_checkpoint(tmp_path / "a", state)[1] == {}


def test_the_remains_of_a_killed_save_are_replaced(tmp_path, state):
    (tmp_path / ".a.7.0123abcd.partial" / "state").mkdir(parents=True)
    store.save_checkpoint(tmp_path / "a", state, {})
    assert_equal(store.load_checkpoint(tmp_path / "a", state)[0], state)
    store.clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def damages(content: bytes):
    """The content with a byte flipped, in several places, and cut short."""
    for place in {0, len(content) // 2, len(content) - 1}:
        yield bytes(b ^ 0xFF if i == place else b for i, b in enumerate(content))
    yield content[: len(content) // 2]
    yield b""


def test_every_flipped_truncated_or_missing_file_is_noticed(tmp_path, state):
    """No file can change unnoticed, info.json and the checksums included."""
    path = tmp_path / "a"
    store.save_checkpoint(path, state, {"seconds": 1.5})
    files = [file for file in path.rglob("*") if file.is_file()]
    assert {"info.json", "checksum.json", "files.json"} < {file.name for file in files}
    for file in files:
        good = file.read_bytes()
        for damaged in damages(good):
            if damaged == good:  # an empty file
                continue
            file.write_bytes(damaged)
            with pytest.raises(InputError, match="damaged") as caught:
                store.verify_checkpoint(path)
            assert "\n" not in str(caught.value)
            assert f"{path} is damaged" in str(caught.value)
            assert "delete that folder" in str(caught.value)
        file.unlink()
        with pytest.raises(InputError, match="damaged"):
            store.load_checkpoint(path, state)
        file.write_bytes(good)
    store.verify_checkpoint(path)
    loaded, info = store.load_checkpoint(path, state)
    assert_equal(loaded, state)
    assert info == {"seconds": 1.5}


@pytest.mark.parametrize(
    "content", [b"null", b"[]", b"{}", b'{"info.json": 3}', b"\xff"]
)
def test_lists_of_files_that_are_none(tmp_path, content):
    store.save_checkpoint(tmp_path / "a", VARIABLES, {})
    (tmp_path / "a" / "files.json").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        store.verify_checkpoint(tmp_path / "a")


def test_other_files_in_a_checkpoint_do_no_harm(tmp_path):
    """Such as those that a file manager leaves."""
    store.save_checkpoint(tmp_path / "a", VARIABLES, {})
    (tmp_path / "a" / ".DS_Store").write_text("")
    store.load_checkpoint(tmp_path / "a", VARIABLES)


def test_flipped_values_are_caught_by_our_checksum(tmp_path, state):
    """Another state under the same checksum: what a silent restore looks like."""
    store.save_checkpoint(tmp_path / "a", state, {})
    store.save_checkpoint(tmp_path / "b", jax.tree.map(lambda x: x + 1, state), {})
    checksum = (tmp_path / "a" / "checksum.json").read_text()
    (tmp_path / "b" / "checksum.json").write_text(checksum)
    with pytest.raises(InputError, match="checksum"):
        store.load_checkpoint(tmp_path / "b", state)


def test_values_are_checked_even_if_all_files_are_as_listed(tmp_path, state):
    """A restore that gives other values, without an error."""
    store.save_checkpoint(tmp_path / "a", state, {})
    store.save_checkpoint(tmp_path / "b", jax.tree.map(lambda x: x + 1, state), {})
    checksum = (tmp_path / "a" / "checksum.json").read_bytes()
    (tmp_path / "b" / "checksum.json").write_bytes(checksum)
    files = json.loads((tmp_path / "b" / "files.json").read_text())
    files["checksum.json"] = hashlib.sha256(checksum).hexdigest()
    (tmp_path / "b" / "files.json").write_text(json.dumps(files))
    store.verify_checkpoint(tmp_path / "b")
    with pytest.raises(InputError, match="arrays do not match their checksum"):
        store.load_checkpoint(tmp_path / "b", state)


@pytest.mark.parametrize(
    "other",
    [
        {"params": {"w": jnp.zeros((30, 100))}},
        {**VARIABLES, "params": {**VARIABLES["params"], "w": jnp.zeros((10, 100))}},
    ],
)
def test_foreign_checkpoints_are_refused(tmp_path, other):
    store.save_checkpoint(tmp_path / "a", VARIABLES, {})
    with pytest.raises(InputError, match="of another model") as caught:
        store.load_checkpoint(tmp_path / "a", other)
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "weights.pt").write_text("?")
    with pytest.raises(InputError, match="damaged"):
        store.load_checkpoint(tmp_path / "a", VARIABLES)


def test_copies_are_whole_and_only_of_good_checkpoints(tmp_path):
    source, target = tmp_path / "a", tmp_path / "far" / "b"
    store.copy_checkpoint(source, target)
    assert not target.exists()
    store.save_checkpoint(source, VARIABLES, {"epochs": 2})
    store.copy_checkpoint(source, target)
    assert store.load_checkpoint(target, VARIABLES)[1] == {"epochs": 2}
    assert [path.name for path in target.parent.iterdir()] == ["b"]
    (source / "info.json").write_text("{}")
    with pytest.raises(InputError, match=f"{source} is damaged"):
        store.copy_checkpoint(source, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_epochs_in_order_and_nothing_else(tmp_path):
    for name in ("epoch_0010", "epoch_0002", "epoch_x", "epoch_0003.old", "final"):
        (tmp_path / name).mkdir()
    found = store.epoch_checkpoints(tmp_path)
    assert found == [(2, tmp_path / "epoch_0002"), (10, tmp_path / "epoch_0010")]
    assert store.epoch_checkpoints(tmp_path / "none") == []
