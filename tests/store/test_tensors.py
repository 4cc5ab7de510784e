"""Files of arrays that any reader of safetensors opens, and that notice damage."""

import jax.numpy as jnp
import numpy as np
import pytest
from damage import damages

from unlearn import store
from unlearn.errors import InputError
from unlearn.store import tensors

RNG = np.random.default_rng(0)
ARRAYS = {
    **{
        name: np.asarray(jnp.asarray(RNG.normal(size=(3, 2)) * 9).astype(name))
        for name in tensors.CODES
        if name[-2:] != "64"
    },
    "double['w']": RNG.normal(size=5),
    "long": RNG.integers(-5, 2**60, 3),
    "ulong": np.array([2**64 - 1], np.uint64),
    "scalar": np.array(3, np.int32),
    "empty": np.zeros((0, 7), np.float32),
    "special": np.array([np.nan, -0.0, np.inf], np.float32),
    "transposed": RNG.normal(size=(3, 4)).T,
}


def assert_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_arrays_come_back_bit_by_bit(tmp_path):
    about = {"kind": "test", "rate": 0.1, "parts": [None, ["a", "b"]]}
    checksum = store.save_tensors(tmp_path / "a", ARRAYS, about)
    found, told, again = store.load_tensors(tmp_path / "a")
    assert_bits(found, ARRAYS)
    assert told == about and again == checksum == store.tensors_hash(tmp_path / "a")
    backwards = dict(reversed(ARRAYS.items()))
    assert tensors.pack_tensors(backwards, about)[1] == checksum


@pytest.mark.parametrize("kind", ["f4", "i8", "u2"])
def test_another_order_of_bytes_is_stored_by_value(kind):
    values = np.arange(6).reshape(2, 3).astype(f">{kind}")
    packed = tensors.pack_tensors({"w": values}, {})
    assert packed == tensors.pack_tensors({"w": values.astype(f"<{kind}")}, {})
    found, _, checksum = tensors.unpack_tensors(packed[0])
    np.testing.assert_array_equal(found["w"], values)
    assert checksum == packed[1]


def test_others_read_them(tmp_path):
    numpy_reader = pytest.importorskip("safetensors.numpy")
    arrays = {n: x for n, x in ARRAYS.items() if "float8" not in n and n != "bfloat16"}
    store.save_tensors(tmp_path / "a", arrays, {"kind": "test"})
    assert_bits(numpy_reader.load_file(tmp_path / "a"), arrays)


def test_damage_is_found(tmp_path):
    path = tmp_path / "a"
    store.save_tensors(path, ARRAYS, {})
    good = path.read_bytes()
    for damaged in damages(good):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or missing") as error:
            store.load_tensors(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    path.unlink()
    for read in store.load_tensors, store.tensors_hash:
        with pytest.raises(InputError, match="damaged or missing"):
            read(path)


@pytest.mark.parametrize(
    "change", [{"scalar": np.array(4, np.int32)}, {"more": np.ones(1)}]
)
def test_other_content_is_refused(tmp_path, change):
    path = tmp_path / "a"
    store.save_tensors(path, ARRAYS, {})
    before = path.stat().st_mtime_ns
    store.save_tensors(path, ARRAYS, {})
    with pytest.raises(InputError, match="never overwritten"):
        store.save_tensors(path, ARRAYS | change, {})
    with pytest.raises(InputError, match="never overwritten"):
        store.save_tensors(path, ARRAYS, {"kind": "other"})
    assert path.stat().st_mtime_ns == before


def test_arrays_without_a_place_in_the_format_are_refused(tmp_path):
    with pytest.raises(InputError, match="text is <U1"):
        store.save_tensors(tmp_path / "a", {"text": np.array(["a"])}, {})
    assert not list(tmp_path.iterdir())
