"""States on disk: whole, of their data and model, and nothing lost or left."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_problem
from damage import damages
from training_time_cases import GONE, KEY, SETTINGS, numpy_copy
from trees import assert_equal

from unlearn import InputError, make_problem, store, training_time
from unlearn.requests import packing, states
from unlearn.training_time import amnesiac, sisa

NAMES = [*SETTINGS, "variables"]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def state(name, problem, variables):
    if name == "variables":
        return jax.tree.map(np.asarray, variables)
    fitted = training_time.METHODS[name].fit(KEY, problem, **SETTINGS[name])
    return training_time.METHODS[name].forget(KEY, fitted, GONE)[0]


def arrays(state):
    """All that a state holds but its problem, as it is."""
    if not isinstance(state, dict):
        state = dataclasses.replace(state, problem=None)
    return numpy_copy(state)


def assert_same(a, b):
    assert jax.tree.structure(arrays(a)) == jax.tree.structure(arrays(b))
    assert_equal(arrays(a), arrays(b))
    types = [[x.dtype for x in jax.tree.leaves(arrays(s))] for s in (a, b)]
    assert types[0] == types[1]


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def zeroed(problem, indices):
    """The data as it is once examples were erased."""
    examples, labels = np.array(problem.examples), np.array(problem.labels)
    examples[indices], labels[indices] = 0, 0
    return problem.replace(examples=jnp.asarray(examples), labels=jnp.asarray(labels))


def test_states_come_back_bit_by_bit_and_go_on(name, state, problem, tmp_path):
    """On data from which what was erased is gone; saved again they are the same."""
    checksum = states.save(tmp_path / "a", state)
    rest = zeroed(problem, GONE)
    loaded = states.load(tmp_path / "a", rest)
    assert_same(loaded, state)
    assert (
        states.save(tmp_path / "b", loaded)
        == checksum
        == states.hash_of(tmp_path / "a")
    )
    if name == "variables":
        return
    assert loaded.problem.forget is None and loaded.settings == state.settings
    method = training_time.METHODS[name]
    after, info = method.forget(jax.random.key(8), loaded, [20, 21])
    expected, told = method.forget(jax.random.key(8), state, [20, 21])
    assert_same(after, expected)
    assert info == told


def test_a_folder_is_never_overwritten(name, state, problem, variables, tmp_path):
    folder = tmp_path / "a"
    checksum = states.save(folder, state)
    before = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.rglob("*.s*")}
    assert states.save(folder, state) == checksum
    other = jax.tree.map(lambda x: x + 1, variables)
    with pytest.raises(InputError, match="never overwritten") as error:
        states.save(folder, other)
    one_line(error)
    after = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.rglob("*.s*")}
    assert before == after
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["a", *["slices"] * (name != "variables")]
    )


def test_every_flipped_byte_is_found_and_named(name, state, problem, tmp_path):
    states.save(tmp_path / "a", state)
    files = states.files(tmp_path / "a")
    everything = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert everything == set(files)
    for file in [files[0], *files[1:][::7]]:
        good = file.read_bytes()
        for damaged in damages(good):
            file.write_bytes(damaged)
            for read in (states.verify, lambda f: states.load(f, problem)):
                with pytest.raises(InputError, match="damaged") as error:
                    read(tmp_path / "a")
                assert str(file) in one_line(error)
        file.unlink()
        with pytest.raises(InputError, match="missing"):
            states.verify(tmp_path / "a")
        file.write_bytes(good)
    assert states.verify(tmp_path / "a") == states.hash_of(tmp_path / "a")


def test_every_byte_counts(tmp_path, problem):
    """Each one of a small state's file, spaces of the header included."""
    states.save(tmp_path / "a", {"params": {"w": np.ones(2, np.float32)}})
    file = tmp_path / "a" / states.STATE
    good = file.read_bytes()
    for i in range(len(good)):
        file.write_bytes(good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :])
        with pytest.raises(InputError, match="damaged"):
            states.verify(tmp_path / "a")


def test_parts_cannot_take_each_others_place(problem, tmp_path):
    state = sisa.fit(KEY, problem, **SETTINGS["sisa"])
    states.save(tmp_path / "a", state)
    _, first, second, *_ = states.files(tmp_path / "a")
    first.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match="holds something else") as error:
        states.load(tmp_path / "a", problem)
    assert str(first) in one_line(error)


@pytest.mark.parametrize("change", ["image", "label", "order", "fewer", "none"])
def test_other_data_are_refused(name, state, problem, change, tmp_path):
    if name == "variables":
        return
    states.save(tmp_path / "a", state)
    examples, labels = np.array(problem.examples), np.array(problem.labels)
    if change == "image":
        examples[20, 0, 0, 0] ^= 1
    if change == "label":
        labels[20] = (labels[20] + 1) % 3
    if change == "order":
        examples[[20, 21]] = examples[[21, 20]]
    other = problem.replace(examples=examples, labels=labels)
    if change == "fewer":
        other = problem.replace(examples=examples[:39], labels=labels[:39])
    if change == "none":
        other = problem.replace(examples=None, labels=None)
    with pytest.raises(InputError, match="other data") as error:
        states.load(tmp_path / "a", other)
    one_line(error)


def test_other_models_are_refused(name, state, problem, tmp_path):
    states.save(tmp_path / "a", state)
    wider = tiny_problem(plain_model(hidden=9))
    with pytest.raises(InputError, match="model.*kernel.*8.*9") as error:
        states.load(tmp_path / "a", wider)
    one_line(error)
    if name != "variables":
        with pytest.raises(InputError, match="preprocess.*0.25"):
            states.load(tmp_path / "a", tiny_problem(mean=0.25))


def test_versions_share_what_did_not_change(problem, tmp_path):
    store_of_slices = states.SliceStore(tmp_path / "slices")
    state = sisa.fit(KEY, problem, kept=store_of_slices, **SETTINGS["sisa"])
    made = {p: p.stat().st_mtime_ns for p in store_of_slices.folder.iterdir()}
    states.save(tmp_path / "0000", state)
    again = {p: p.stat().st_mtime_ns for p in store_of_slices.folder.iterdir()}
    assert made == again and len(made) == 6
    after, info = sisa.forget(KEY, state, [5], kept=store_of_slices)
    states.save(tmp_path / "0001", after)
    assert len(list(store_of_slices.folder.iterdir())) == 6 + info["slices"]
    (store_of_slices.folder / ".x.safetensors.7.0123abcd.partial").write_bytes(b"?")
    gone = states.prune(store_of_slices, [tmp_path / "0001"])
    assert len(gone) == info["slices"]
    kept = set(store_of_slices.folder.iterdir())
    assert kept == set(states.files(tmp_path / "0001")[1:])
    states.verify(tmp_path / "0001")
    with pytest.raises(InputError, match="missing"):
        states.load(tmp_path / "0000", problem)
    with pytest.raises(InputError, match="missing"):
        states.prune(store_of_slices, [tmp_path / "0002"])
    assert kept == set(store_of_slices.folder.iterdir())


def test_erased_features_are_gone_from_the_files_of_later_versions(tmp_path):
    """Blocks without the example are shared, that with it is another one."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(3000, 100)).astype(np.float32)
    labels = rng.integers(0, 3, 3000)
    problem = make_problem(inputs, labels, [], plain_model())
    fit, forget = (getattr(training_time.METHODS["certified"], f) for f in FUNCTIONS)
    state = fit(KEY, problem, l2=1.0)
    states.save(tmp_path / "0", state)
    states.save(tmp_path / "1", forget(None, state, [7])[0])
    first, second = (states.files(tmp_path / v)[1:] for v in "01")
    assert len(first) == 2 and first[1] == second[1] and first[0] != second[0]
    erased = np.asarray(state.features[7]).tobytes()
    assert erased in first[0].read_bytes()
    assert erased not in second[0].read_bytes()


FUNCTIONS = "fit", "forget"


def test_what_makes_removals_cheap_is_not_stored(tmp_path):
    """It holds earlier weights."""
    problem = make_problem(
        np.eye(60, 4, dtype=np.float32), np.arange(60) % 3, [], plain_model()
    )
    state = training_time.certified.prepare(training_time.certified.fit(KEY, problem))
    assert state.kept is not None
    states.save(tmp_path / "a", state)
    assert states.load(tmp_path / "a", problem).kept is None
    plain = dataclasses.replace(state, kept=None)
    assert states.save(tmp_path / "b", plain) == states.hash_of(tmp_path / "a")


def test_a_net_that_was_stored_in_each_version_is_found(problem, variables):
    """As an earlier revision did."""
    fit = training_time.METHODS["certified"].fit
    state = fit(KEY, problem, variables=variables)
    packed = packing.pack_certified(state)
    parts = [part and part[1] for part in packed.parts]
    arrays = packed.arrays | parts.pop()
    loaded = packing.unpack_certified(packed.settings, arrays, parts, state.problem)
    assert_same(loaded, state)


def test_serving_copies_predict_and_are_small(name, state, problem, tmp_path):
    small = states.for_serving(state)
    states.save(tmp_path / "whole" / "a", state)
    states.save(tmp_path / "small" / "a", small)
    blank = problem.replace(examples=None, labels=None)
    loaded = states.load(tmp_path / "small" / "a", blank)
    assert_same(loaded, small)
    if name == "variables":
        return
    method = training_time.METHODS[name]
    logits = method.predict(loaded, problem.examples)
    assert_equal(logits, method.predict(state, problem.examples))
    with pytest.raises(InputError, match="for serving") as error:
        method.forget(KEY, loaded, [20])
    one_line(error)
    sizes = [
        sum(file.stat().st_size for file in states.files(tmp_path / kind / "a"))
        for kind in ("small", "whole")
    ]
    assert sizes[0] < 0.8 * sizes[1]


def test_what_is_no_state_is_refused(problem, tmp_path):
    for wrong in (3, {"w": np.ones(2)}, None, problem):
        with pytest.raises(InputError, match="a state is") as error:
            states.save(tmp_path / "a", wrong)
        one_line(error)
    part = sisa.fit(KEY, problem, only=(1,), **SETTINGS["sisa"])
    with pytest.raises(InputError, match="shards 0, 2 are not trained"):
        states.save(tmp_path / "a", part)
    whole = amnesiac.fit(KEY, problem, **SETTINGS["amnesiac"])
    with pytest.raises(InputError, match="with_data"):
        states.save(tmp_path / "a", training_time.without_data(whole))
    assert not list(tmp_path.iterdir())


def test_a_state_of_a_later_version_is_refused(problem, tmp_path):
    states.save(tmp_path / "a", {"params": {"w": np.ones(2, np.float32)}})
    file = tmp_path / "a" / states.STATE
    arrays, about, _ = store.load_tensors(file)
    file.unlink()
    store.save_tensors(file, arrays, about | {"format": 2})
    with pytest.raises(InputError, match="another version"):
        states.load(tmp_path / "a", problem)


def test_files_say_what_they_hold(state, name, tmp_path):
    """Without this package: the format of safetensors."""
    states.save(tmp_path / "a", state)
    data = (tmp_path / "a" / states.STATE).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["about"])
    assert about["kind"] == name and about["format"] == 1
    if name == "sisa":
        assert about["settings"]["shards"] == 3
        assert header["active"]["dtype"] == "BOOL" and header["active"]["shape"] == [40]


def write(folder, seed, count):
    """Puts slices in an order of its own."""
    slices = states.SliceStore(folder)
    for i in np.random.default_rng(seed).permutation(count):
        slices.put(f"{i:04d}", {"w": np.full(5000, i, np.float32)})


def test_several_may_write_one_store_at_once(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: write(tmp_path, seed, 40), range(4)))
    slices = states.SliceStore(tmp_path)
    for i in range(40):
        found = slices.get(f"{i:04d}")
        assert found is not None
        np.testing.assert_array_equal(found["w"], i)
    assert len(list(tmp_path.iterdir())) == 40
    assert slices.get("0040") is None
    with pytest.raises(InputError, match="never overwritten"):
        slices.put("0001", {"w": np.zeros(3)})
