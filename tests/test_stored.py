"""Examples that stay in their file: the same bits as in memory."""

import dataclasses
import functools
import os

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import trained
from trees import assert_close, assert_equal

from unlearn import data, devices, models, parallel, spread, stored, training
from unlearn.data import streaming
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.problem import make_problem, on_devices, withhold

CLASSES = 3
CNN = models.create("cnn", CLASSES, widths=(4,), dense=4)
FORGET = np.arange(5)


@pytest.fixture(scope="module")
def arrays():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, 47)
    noise = draw.integers(0, 60, (47, 4, 4, 1))
    images = (noise + labels[:, None, None, None] * 90).astype(np.uint8)
    return {
        "train_images": images[:40],
        "train_labels": labels[:40],
        "test_images": images[40:],
        "test_labels": labels[40:],
    }


@pytest.fixture(scope="module")
def path(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "set.npz"
    np.savez(path, **arrays)
    return path


def problem_of(dataset, **options):
    images, labels = dataset.train_images, dataset.train_labels
    return make_problem(images, labels, FORGET, CNN, num_classes=CLASSES, **options)


@pytest.fixture(scope="module")
def both(path):
    """The problem in memory, and the one that stays in its file."""
    return [with_validation(path, resident=kept) for kept in (True, False)]


def with_validation(path, resident):
    dataset = data.load(f"npz:{path}", resident=resident)
    held_out = dataset.test_images
    if not resident:
        train, held_out = stored.together(dataset.train_images, held_out)
        dataset = dataset._replace(train_images=train)
    return problem_of(dataset, validation=(held_out, dataset.test_labels))


def test_nothing_is_read_before_it_is_asked_for(both):
    here, there = both
    assert there.examples.dtype == jnp.int32 and there.examples.shape == (40,)
    assert there.input_spec == here.input_spec
    wanted = jnp.array([[39, 0], [7, 7]])
    assert_equal(there.inputs(wanted), here.inputs(wanted))
    assert_equal(jax.jit(there.inputs)(wanted), here.inputs(wanted))
    mapped = jax.vmap(there.inputs, 1, 1)(wanted)
    assert_equal(mapped, here.inputs(wanted))


STREAMED = "finetune", "scrub", "ssd", "influence", "boundary_shrink"


@pytest.mark.parametrize("name", STREAMED)
def test_methods_end_with_the_same_bits(both, name):
    info = METHODS[name]
    ended = []
    for problem in both:
        method = functools.partial(info.fn, **cases.settings(info))
        args = jax.random.key(1), trained(both[0]), withhold(problem, info.needs)
        ended.append(devices.compiled(method, *args)[0](*args)[0])
    assert_equal(*ended)


def test_predictions_and_many_models(both):
    recipe = training.Recipe(epochs=2, batch_size=16, warmup_epochs=0)

    def one(key, problem):
        return training.train(key, problem, problem.retain, recipe)[0]

    keys = jax.random.split(jax.random.key(0), 3)
    found = []
    for problem in both:
        variables, _ = parallel.map_models(one, keys, problem)
        first = jax.tree.map(lambda x: x[0], variables)
        found.append((variables, training.predict_set(problem, first, jnp.arange(40))))
    assert_equal(*found)


def test_a_batch_on_two_devices(both):
    mesh = spread.make_mesh(2)
    recipe = training.Recipe(epochs=2, batch_size=15)

    def train(key, problem):
        return training.train(key, problem, problem.retain, recipe)

    key, spread_out = jax.random.key(0), on_devices(both[1], mesh)
    found = [train_on(train, key, problem) for problem in (both[0], spread_out)]
    assert_close(*map(jax.device_get, found), 1e-4, 1e-5)


def train_on(train, key, problem):
    return devices.compiled(train, key, problem)[0](key, problem)


# The files


def test_a_hash_and_copies_do_not_depend_on_where_examples_lie(path):
    here, there = (data.load(f"npz:{path}", resident=kept) for kept in (True, False))
    assert isinstance(there.train_images, stored.Stored)
    assert data.fingerprint(there) == data.fingerprint(here)
    images = there.train_images, there.test_images
    hashes = data.content_hashes(images[0])
    assert_equal(hashes, data.content_hashes(here.train_images))
    twice = stored.Stored(images[0].sources, [3, 5, 3])
    assert data.copies(twice).tolist() == [0, 1, 0]


@pytest.mark.parametrize("block", [1, 16, 40, 2**26])
def test_blocks_are_all_rows_in_order(path, arrays, block, monkeypatch):
    monkeypatch.setattr(stored, "BLOCK", block)
    monkeypatch.setattr(stored, "MOST", block)
    images = data.load(f"npz:{path}", resident=False).train_images[5:30]
    assert_equal(np.concatenate([*stored.blocks(images)]), arrays["train_images"][5:30])


def test_rows_of_several_files_as_of_one(path, arrays):
    dataset = data.load(f"npz:{path}", resident=False)
    train, test = stored.together(dataset.train_images, dataset.test_images)
    assert train.sources == test.sources and test.numbers[0] == 40
    numbers = np.array([[46, 0], [1, 40]])
    every = np.concatenate([arrays["train_images"], arrays["test_images"]])
    assert_equal(stored.read(train.sources, numbers), every[numbers])
    assert_equal(np.asarray(test[2:4]), arrays["test_images"][2:4])


def test_validation_lies_in_the_same_files(path):
    dataset = data.load(f"npz:{path}", resident=False)
    held_out = dataset.test_images, dataset.test_labels
    with pytest.raises(InputError, match="together"):
        problem_of(dataset, validation=held_out)
    few = jnp.arange(3)
    here, there = (with_validation(path, kept).validation for kept in (True, False))
    assert_equal(there.inputs(few), here.inputs(few))


def test_a_file_that_changed_is_refused(path, arrays, tmp_path):
    other = tmp_path / "set.npz"
    np.savez(other, **arrays)
    images = data.load(f"npz:{other}", resident=False).train_images
    os.utime(other, ns=(0, 0))
    with pytest.raises(InputError, match="changed while it was in use"):
        np.asarray(images)
    source = dataclasses.replace(images.sources[0], state=stored.state_of(other))
    short = dataclasses.replace(source, shape=(10**6, 4, 4, 1))
    with pytest.raises(InputError, match="cut off"):
        short.read(np.array([10**6 - 1]))


@pytest.mark.parametrize("fault", ["compressed", "floats", "turned", "fortran"])
def test_what_cannot_stay_is_read_or_refused(arrays, tmp_path, fault, monkeypatch):
    path, save, changed = tmp_path / "set.npz", np.savez, dict(arrays)
    for name in ("train_images", "test_images"):
        if fault == "floats":
            changed[name] = arrays[name] / np.float32(255)
        if fault == "turned":
            changed[name] = np.tile(arrays[name], (1, 2, 2, 3)).transpose(0, 3, 1, 2)
        if fault == "fortran":
            changed[name] = np.asfortranarray(arrays[name])
    if fault == "compressed":
        save = np.savez_compressed
    save(path, **changed)
    with pytest.raises(InputError, match="cannot stay in the file: set"):
        data.load(f"npz:{path}", resident=False)
    monkeypatch.setattr(streaming, "SHARE", 0.0)
    assert isinstance(data.load(f"npz:{path}", resident=None).train_images, np.ndarray)


def test_large_sets_stay_by_themselves(path, monkeypatch):
    name = f"npz:{path}"
    assert isinstance(data.load(name, resident=None).train_images, np.ndarray)
    monkeypatch.setattr(streaming, "SHARE", 0.0)
    assert isinstance(data.load(name, resident=None).train_images, stored.Stored)


def test_black_and_white_is_scaled_in_memory(arrays, tmp_path):
    bits = {k: v > 100 if v.ndim > 1 else v for k, v in arrays.items()}
    np.savez(tmp_path / "set.npz", **{k: v.astype(np.uint8) for k, v in bits.items()})
    images = data.load(f"npz:{tmp_path / 'set.npz'}", resident=False).train_images
    assert_equal(np.asarray(images), bits["train_images"] * np.uint8(255))
