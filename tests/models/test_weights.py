"""Weights of every kind of file, and what is refused of them."""

import io
import json
import os
import pickle
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax import serialization
from trees import assert_equal

from unlearn import models
from unlearn.errors import InputError
from unlearn.models import load_weights, save_weights, weights_hash


def variables_of(seed=0):
    """Two layers, statistics and a counter."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {
        "params": {
            "body": {"kernel": draw(4, 5), "bias": draw(5)},
            "head": {"kernel": draw(5, 3), "bias": draw(3)},
        },
        "batch_stats": {"norm": {"mean": draw(5), "count": jnp.int32(7)}},
    }


def flat(variables, separator="."):
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {
        separator.join(key.key for key in path): np.asarray(leaf)
        for path, leaf in leaves
    }


@pytest.fixture
def variables():
    return variables_of()


def refused(path, like, *words):
    with pytest.raises(InputError) as caught:
        load_weights(path, like)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    for word in words:
        assert word in text, text
    return text


KINDS = ["w.safetensors", "w.npz", "w.msgpack", "folder"]


@pytest.mark.parametrize("name", KINDS)
def test_saved_weights_come_back(tmp_path, variables, name):
    save_weights(tmp_path / name, variables)
    shapes = jax.eval_shape(lambda: variables)
    assert_equal(load_weights(tmp_path / name, shapes), variables)
    assert os.listdir(tmp_path) == [name]  # nothing is left of the writing


@pytest.mark.parametrize("name", KINDS)
def test_floats_take_the_models_dtype(tmp_path, variables, name):
    half = jax.tree.map(
        lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, variables
    )
    save_weights(tmp_path / name, half)
    back = load_weights(tmp_path / name, variables)
    expected = jax.tree.map(lambda x, y: x.astype(y.dtype), half, variables)
    assert_equal(back, expected)
    save_weights(tmp_path / f"2{name}", variables)
    assert_equal(load_weights(tmp_path / f"2{name}", half), half)


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "float32"])
def test_files_that_others_wrote(tmp_path, variables, separator, dtype):
    given = {
        name: leaf.astype(dtype) if leaf.ndim else leaf
        for name, leaf in flat(variables, separator).items()
    }
    np.savez(tmp_path / "w.npz", **given)
    safetensors.numpy.save_file(given, tmp_path / "w.safetensors")
    for name in ("w.npz", "w.safetensors"):
        back = load_weights(tmp_path / name, variables)
        for key, leaf in flat(back, separator).items():
            np.testing.assert_array_equal(leaf, given[key].astype(leaf.dtype))


def test_numpys_nameless_bfloat16(tmp_path, variables):
    given = flat(variables)
    given["params.head.bias"] = given["params.head.bias"].astype(ml_dtypes.bfloat16)
    np.savez(tmp_path / "w.npz", **given)
    back = load_weights(tmp_path / "w.npz", variables)
    expected = given["params.head.bias"].astype(np.float32)
    np.testing.assert_array_equal(back["params"]["head"]["bias"], expected)


def test_flax_files(tmp_path, variables):
    state = variables | {"opt_state": {"0": np.ones(3)}, "step": 4}
    (tmp_path / "w.msgpack").write_bytes(
        serialization.msgpack_serialize(jax.tree.map(np.asarray, state))
    )
    assert_equal(load_weights(tmp_path / "w.msgpack", variables), variables)
    params = {"params": variables["params"]}
    (tmp_path / "p.msgpack").write_bytes(serialization.to_bytes(variables["params"]))
    assert_equal(load_weights(tmp_path / "p.msgpack", params), params)
    refused(tmp_path / "p.msgpack", variables, "missing: batch_stats.norm.count")


def test_layouts_of_orbax(tmp_path, variables):
    import orbax.checkpoint as ocp
    from orbax.checkpoint import v1

    from unlearn import store

    ocp.PyTreeCheckpointer().save(tmp_path / "v0", variables)
    plain = ocp.PyTreeCheckpointHandler(use_ocdbt=False)
    ocp.Checkpointer(plain).save(tmp_path / "files", variables)
    manager = ocp.CheckpointManager(tmp_path / "manager")
    for step in (1, 2):
        saved = variables_of(step)
        manager.save(step, args=ocp.args.StandardSave(saved))
    manager.close()
    v1.save(str(tmp_path / "v1"), variables)
    store.save_checkpoint(tmp_path / "ours", variables, {})
    for name in ("v0", "files", "v1", "ours"):
        assert_equal(load_weights(tmp_path / name, variables), variables)
    assert_equal(load_weights(tmp_path / "manager" / "2", variables), saved)
    refused(tmp_path / "manager", variables, "holds 2 checkpoints: name one")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", variables, "without a checkpoint of orbax")
    (tmp_path / "v0" / "_METADATA").write_text("{")
    refused(tmp_path / "v0", variables, "cannot be read as weights")


def test_any_tree_of_parameters(tmp_path):
    variables = {"params": [{"w": jnp.ones((2, 3))}, (jnp.zeros(3), jnp.ones(1))]}
    for name in KINDS:
        save_weights(tmp_path / name, variables)
        assert_equal(load_weights(tmp_path / name, variables), variables)


def test_what_does_not_fit_is_named(tmp_path, variables):
    path, given = tmp_path / "w.safetensors", flat(variables)

    def write(**changes):
        new = given | changes
        new = {name: leaf for name, leaf in new.items() if leaf is not None}
        safetensors.numpy.save_file(new, path)

    write(**{"params.body.bias": None, "params.other.bias": np.zeros(2, np.float32)})
    refused(path, variables, "missing: params.body.bias", "unexpected: params.other")
    write(**{"params.body.bias": np.zeros(6, np.float32)})
    refused(path, variables, "of another shape: params.body.bias is [6], the model has")
    head = {"params.head.kernel": (5, 9), "params.head.bias": (9,)}
    write(**{name: np.zeros(shape, np.float32) for name, shape in head.items()})
    refused(path, variables, "its head has 9 classes and the model 3?")
    for changes in (
        {"params.head.bias": (1, 3)},
        {"params.head.kernel": (3, 5)},
        {"params.head.kernel": (9, 5), "params.head.bias": (9,)},
        {"params.head.bias": ()},
    ):
        write(**{name: np.zeros(shape, np.float32) for name, shape in changes.items()})
        said = refused(path, variables, "of another shape: params.head")
        assert "classes" not in said
    write(**{"params.body.bias": np.zeros(5, np.int32)})
    refused(path, variables, "params.body.bias is int32, the model has float32")
    write(**{f"params.extra_{i}": np.zeros(1, np.float32) for i in range(9)})
    refused(path, variables, "params.extra_2 and 6 more")
    write(**{"params.body.bias": np.array([1, 2, 3, 4, np.nan], np.float32)})
    refused(path, variables, "params.body.bias has values that are not finite")
    write(**{"params.body.bias": np.full(5, 1e300)})
    refused(path, variables, "not finite")
    write(**{"batch_stats.norm.count": np.array(2**40)})
    refused(path, variables, "int32 cannot hold")
    write(**{"params/body/bias": given["params.body.bias"]})
    refused(path, variables, "two arrays have the same name")


def test_damage_is_a_line(tmp_path, variables):
    for name in KINDS[:3]:
        path = tmp_path / name
        save_weights(path, variables)
        whole = path.read_bytes()
        for part in (whole[: len(whole) // 2], whole[:3], b"", b"\xff" * 100):
            path.write_bytes(part)
            refused(path, variables, str(path))
    path = tmp_path / "w.npz"
    save_weights(path, variables)
    whole = bytearray(path.read_bytes())
    place = whole.find(np.asarray(variables["params"]["body"]["kernel"]).tobytes())
    whole[place] ^= 1
    path.write_bytes(whole)
    refused(path, variables, "cannot be read as weights")
    refused(tmp_path / "none.npz", variables, "there is no file of weights")
    refused(tmp_path / "none.txt", variables, "there is no file of weights")
    (tmp_path / "w.txt").write_text("")
    refused(tmp_path / "w.txt", variables, ".safetensors, .npz, .msgpack or a folder")
    os.mkfifo(tmp_path / "pipe.npz")
    refused(tmp_path / "pipe.npz", variables, "not a regular file")


class Runs:
    """A pickle that leaves a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_that_runs_code_is_read(tmp_path, variables):
    mark = tmp_path / "it ran"
    for name in ("w.pt", "w.pth", "w.bin", "w.ckpt", "w.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(Runs(mark)))
        refused(tmp_path / name, variables, "safetensors.torch.save_file", str(name))
    (tmp_path / "w.npz").write_bytes(pickle.dumps(Runs(mark)))
    refused(tmp_path / "w.npz", variables, "cannot be read as weights")
    objects = flat(variables) | {"params.body.bias": np.array([Runs(mark)] * 5)}
    np.savez(tmp_path / "objects.npz", **objects)
    refused(tmp_path / "objects.npz", variables, "params.body.bias is object")
    with zipfile.ZipFile(tmp_path / "torch.npz", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Runs(mark)))
    refused(tmp_path / "torch.npz", variables, "data.pkl, which is no array")
    assert not mark.exists()


def test_a_bomb_is_not_unpacked(tmp_path, variables):
    """An array of another size is refused by its header."""
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**11,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for name, leaf in flat(variables).items():
            part = io.BytesIO()
            np.save(part, leaf)
            file.writestr(f"{name}.npy", part.getvalue())
        file.writestr("params.bomb.npy", buffer.getvalue())
    refused(tmp_path / "w.npz", variables, "unexpected: params.bomb")
    with open(tmp_path / "w.msgpack", "wb") as file:
        file.truncate(10**9)  # sparse
    refused(tmp_path / "w.msgpack", variables, "1,000,000,000 bytes for a model")


def test_writing_is_whole_or_not_at_all(tmp_path, variables, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_weights(path, variables)
    before = path.read_bytes()
    monkeypatch.setattr(
        os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(InputError, match=r"cannot write .*\(full\)"):
        save_weights(path, variables_of(1))
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    save_weights(path, variables_of(1))
    assert_equal(load_weights(path, variables), variables_of(1))
    save_weights(tmp_path / "folder", variables)
    with pytest.raises(InputError, match="it is there already"):
        save_weights(tmp_path / "folder", variables)
    with pytest.raises(InputError, match="by the name of the file"):
        save_weights(tmp_path / "w.pt", variables)


def test_the_hash_is_of_the_content(tmp_path, variables):
    for name in ("w.npz", "folder"):
        save_weights(tmp_path / name, variables)
        assert weights_hash(tmp_path / name) == weights_hash(tmp_path / name)
    save_weights(tmp_path / "2.npz", variables_of(1))
    assert weights_hash(tmp_path / "2.npz") != weights_hash(tmp_path / "w.npz")
    before = weights_hash(tmp_path / "folder")
    file = next(p for p in (tmp_path / "folder").rglob("*") if p.is_file())
    file.write_bytes(file.read_bytes() + b" ")
    assert weights_hash(tmp_path / "folder") != before
    with pytest.raises(InputError, match="there is no file of weights"):
        weights_hash(tmp_path / "none")


def test_haiku_names_with_slashes(tmp_path):
    variables = {"params": {"net/~/dense": {"kernel": jnp.ones((2, 3))}}}
    save_weights(tmp_path / "w.safetensors", variables)
    assert_equal(load_weights(tmp_path / "w.safetensors", variables), variables)
    twice = {"params": {"a/b": {"k": jnp.ones(1)}, "a": {"b": {"k": jnp.ones(1)}}}}
    with pytest.raises(InputError, match="same name once slashes are dots"):
        save_weights(tmp_path / "w.npz", twice)


@pytest.mark.slow
def test_a_net_of_the_package(tmp_path):
    model = models.create("resnet18", 3, width=4)
    images = jnp.ones((2, 8, 8, 3))
    variables = model.init(jax.random.key(0), images)
    save_weights(tmp_path / "w.safetensors", variables)
    like = jax.eval_shape(model.init, jax.random.key(0), images)
    assert_equal(load_weights(tmp_path / "w.safetensors", like), variables)
    other = models.create("resnet18", 4, width=4)
    like = jax.eval_shape(other.init, jax.random.key(0), images)
    refused(tmp_path / "w.safetensors", like, "its head has 3 classes and the model 4?")
    names = json.dumps(list(flat(variables)))
    assert "params.Conv_0.kernel" in names


@pytest.mark.parametrize("name", KINDS)
def test_a_vit_of_the_package_without_the_prefix(tmp_path, name):
    """Its token has the name that torchvision's has."""
    model = models.create("vit", 3, width=8, depth=1, heads=2, mlp=8)
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 8, 8, 3)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.random(x.shape, np.float32), like["params"])
    save_weights(tmp_path / name, params)
    loaded = load_weights(tmp_path / name, {"params": like["params"]})
    assert_equal(loaded, {"params": params})


@pytest.mark.parametrize("like", [None, {}, len])
def test_like_must_be_variables(tmp_path, like):
    models.save_weights(tmp_path / "w.npz", {"params": {"w": np.zeros(3)}})
    with pytest.raises(InputError, match="like must be the variables of a model"):
        models.load_weights(tmp_path / "w.npz", like)
