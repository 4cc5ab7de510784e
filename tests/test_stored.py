"""Examples that stay in their file: the same numbers as in memory."""

import dataclasses
import functools
import importlib
import os

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import trained
from PIL import Image
from small_runs import Silent, results, small_config
from trees import assert_close, assert_equal

from unlearn import (
    data,
    devices,
    models,
    parallel,
    pipeline,
    spread,
    stored,
    training,
)
from unlearn.data import streaming
from unlearn.errors import InputError
from unlearn.launcher.errors import explain
from unlearn.methods import METHODS
from unlearn.problem import make_problem, on_devices, withhold
from unlearn.report import figures
from unlearn.training_time.common import rows_hash
from unlearn.training_time.slice_training import Settings, program_hash

CLASSES = 3
CNN = models.create("cnn", CLASSES, widths=(4,), dense=4)
FORGET = np.arange(5)
STD = 0.25


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
    options |= {"num_classes": CLASSES, "mean": 0.3, "std": STD}
    return make_problem(images, labels, FORGET, CNN, **options)


@pytest.fixture(scope="module")
def both(path):
    """The problem in memory, and the one that stays in its file."""
    return [with_validation(path, resident=kept) for kept in (True, False)]


@pytest.fixture(scope="module")
def variables(both):
    return trained(both[0])


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


STREAMED = "finetune", "ssd", "influence", "boundary_shrink"


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMED)
def test_methods_do_the_same(both, variables, name):
    """And say the same of what they did, such as the labels that they took."""
    info = METHODS[name]
    ended = []
    for problem in both:
        method = functools.partial(info.fn, **cases.settings(info))
        args = jax.random.key(1), variables, withhold(problem, info.needs)
        ended.append(devices.compiled(method, *args)[0](*args))
    assert_close(*ended, 1e-6, 1e-6)


def test_an_image_moves_by_as_much_wherever_it_lies(both):
    inputs = both[0].inputs(FORGET)
    module = importlib.import_module("unlearn.methods.boundary_shrink")
    moved = [module.stepped(p, inputs, 1.0, 0.1) for p in both]
    assert_equal(*moved)
    assert float(jnp.max(moved[0] - inputs)) == pytest.approx(0.1 / STD)


@pytest.mark.slow
def test_predictions_of_arrays_that_are_not_on_a_device(both, variables):
    here, there = both
    args = here.preprocess, 7
    images = np.asarray(here.examples)
    found = training.predict(CNN, variables, images, *args)
    assert_equal(found, training.predict(CNN, variables, here.examples, *args))
    args = there.preprocess, 7
    assert_equal(found, training.predict(CNN, variables, there.examples, *args))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_continues_wherever_its_examples_lie(path, tmp_path, monkeypatch):
    """It is one run, in one folder: where they lie is no setting of its results."""
    monkeypatch.setattr(figures, "write_all", lambda *args: [])
    found = []
    for resident in ("True", "False"):
        where = dict(data__name=f"npz:{path}", data__resident=resident)
        config = small_config(**where, seeds=1, run=("finetune",))
        config.train.batch_size = config.methods.finetune.batch_size = 8
        config.forget.count = 4
        folder = tmp_path / resident
        pipeline.run(config, folder, progress=Silent())
        config.data.resident = "auto"
        assert pipeline.run(config, folder, progress=Silent()).rows
        names = "test_accuracy", "retain_accuracy", "mia_confidence"
        found.append([[row[name] for name in names] for row in results(folder)])
    assert found[0] == found[1] and len(found[0]) == 3


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
    dataset = data.load(f"npz:{other}", resident=False)
    images = dataset.train_images
    os.utime(other, ns=(0, 0))
    with pytest.raises(InputError, match="changed while in use"):
        np.asarray(images)
    problem = problem_of(dataset)
    with pytest.raises(Exception, match="changed while in use"):
        jax.block_until_ready(jax.jit(problem.inputs)(jnp.arange(3)))
    assert "changed while in use" in str(stored.failure())
    assert explain(RuntimeError("CpuCallback: Traceback")) == str(stored.failure())
    source = dataclasses.replace(images.sources[0], state=stored.state_of(other))
    short = dataclasses.replace(source, shape=(10**6, 4, 4, 1))
    with pytest.raises(InputError, match="cut off"):
        short.read(np.array([10**6 - 1]))


def test_files_are_closed_when_others_are_read(path):
    there = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else None
    if there is None:
        pytest.skip("no list of open files here")
    for number in range(100):
        stored._open(str(path), (number,))
    assert len(os.listdir("/proc/self/fd")) < len(there) + 90


def test_what_was_decoded_stays_in_the_cache(tmp_path):
    """The second time as well, and beside others that mark it as used."""
    draw = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(draw.integers(0, 256, (5, 4, 3), np.uint8))
        image.save(folder / f"{number}.png")
    name, options = f"folder:{tmp_path / 'photos'}", {"cache_dir": tmp_path / "cache"}
    whole = data.load(name, **options)
    for _ in range(2):
        dataset = data.load(name, resident=False, **options)
        images = dataset.train_images
        assert isinstance(images, stored.Stored)
        data.load(name, **options)
        assert_equal(np.asarray(images), whole.train_images)
    (cache,) = (tmp_path / "cache").glob("*.npz")
    content = bytearray(cache.read_bytes())
    start = images.sources[0].offset
    content[start + 7] ^= 1
    cache.write_bytes(content)
    again = data.load(name, resident=False, **options)
    assert_equal(np.asarray(again.train_images), whole.train_images)


def test_a_damaged_file_is_refused(arrays, tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    source = data.load(f"npz:{path}", resident=False).train_images.sources[0]
    content = bytearray(path.read_bytes())
    content[source.offset + 7] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable npz file"):
        data.load(f"npz:{path}", resident=False)


def test_what_a_problem_cannot_take_is_refused(path):
    images = data.load(f"npz:{path}", resident=False).train_images
    with pytest.raises(IndexError, match="slice or an array"):
        images[0]
    with pytest.raises(InputError, match="not a part of a tree"):
        stored.numbered({"image": images})
    wide = dataclasses.replace(images.sources[0], dtype=np.dtype("float64"))
    with pytest.raises(InputError, match="float64: save them as float32"):
        stored.numbered(stored.Stored((wide,)))


def test_content_tells_examples_apart_and_not_where_they_lie(both):
    here, there = both
    chosen = np.array([3, 5])
    assert rows_hash(here, chosen) == rows_hash(there, chosen)
    assert rows_hash(there, chosen) != rows_hash(there, chosen + 1)
    assert repr(there.preprocess) == repr(here.preprocess)
    settings = Settings(1, 1, 1, 8, 0.1, 0.9, 0.0, "constant", "majority", 0.0)
    assert program_hash(here, settings) == program_hash(there, settings)


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
