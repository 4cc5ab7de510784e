"""Files whole or not at all; checkpoints that notice damage."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import assert_equal

from unlearn import store
from unlearn.errors import InputError
from unlearn.training import sgd, start

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
    other = jax.tree.map(lambda x: x + 1, state)
    store.save_checkpoint(tmp_path / "a", other, {})
    assert_equal(store.load_checkpoint(tmp_path / "a", state)[0], state)


def test_the_remains_of_a_killed_save_are_replaced(tmp_path, state):
    (tmp_path / ".a.partial" / "state").mkdir(parents=True)
    store.save_checkpoint(tmp_path / "a", state, {})
    assert_equal(store.load_checkpoint(tmp_path / "a", state)[0], state)


def chunks(path):
    """The data files of a checkpoint, largest last."""
    files = [p for p in (path / "state").rglob("*") if p.is_file()]
    return sorted(files, key=lambda p: p.stat().st_size)


def test_every_flipped_or_truncated_file_is_noticed(tmp_path, state):
    """No file of the state can change and still give other values silently."""
    store.save_checkpoint(tmp_path / "a", state, {})
    names = [p.relative_to(tmp_path / "a") for p in chunks(tmp_path / "a")]
    noticed = 0
    for name in names:
        file = tmp_path / "a" / name
        good = file.read_bytes()
        half = len(good) // 2
        flipped = bytes(b ^ 0xFF if i == half else b for i, b in enumerate(good))
        for damaged in (flipped, good[:half]):
            if damaged == good:
                continue
            file.write_bytes(damaged)
            try:
                loaded, _ = store.load_checkpoint(tmp_path / "a", state)
                assert_equal(loaded, state)  # metadata that is not read
            except InputError as error:
                assert "damaged" in str(error) and "\n" not in str(error)
                noticed += 1
        file.write_bytes(good)
    assert noticed >= 2
    assert_equal(store.load_checkpoint(tmp_path / "a", state)[0], state)


def test_flipped_values_are_caught_by_our_checksum(tmp_path, state):
    """Another state under the same checksum: what a silent restore looks like."""
    store.save_checkpoint(tmp_path / "a", state, {})
    store.save_checkpoint(tmp_path / "b", jax.tree.map(lambda x: x + 1, state), {})
    checksum = (tmp_path / "a" / "checksum.json").read_text()
    (tmp_path / "b" / "checksum.json").write_text(checksum)
    with pytest.raises(InputError, match="checksum"):
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


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for call in (
        lambda: store.write_text(tmp_path / "file" / "x", "y"),
        lambda: store.save_checkpoint(tmp_path / "file" / "x", VARIABLES, {}),
    ):
        with pytest.raises(InputError, match="cannot write"):
            call()


def test_claim_names_what_changed(tmp_path):
    config = {"train": {"epochs": 3, "seeds": (1, 2)}, "name": "a"}
    store.claim(tmp_path / "run", config)
    store.claim(tmp_path / "run", config)
    changed = {"train": {"epochs": 4, "seeds": (1, 2)}, "name": "a"}
    with pytest.raises(InputError, match="train.epochs: 3 there, 4 now"):
        store.claim(tmp_path / "run", changed)
    with pytest.raises(InputError, match="train.epochs"):
        store.check_claim(tmp_path / "run", changed)
    store.check_claim(tmp_path / "new", changed)
    assert not (tmp_path / "new").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["name"] == "a"


def test_claim_refuses_a_damaged_config(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        store.claim(tmp_path, {})


def test_log_drops_a_torn_line_and_rewinds(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    log = store.Log(path)
    log.add(epoch=3)
    assert [line["epoch"] for line in store.Log(path).lines] == [1, 2, 3]
    log.rewind(lambda line: line["epoch"] != 2)
    assert [line["epoch"] for line in store.Log(path).lines] == [1, 3]


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
