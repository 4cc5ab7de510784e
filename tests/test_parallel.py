"""Many models in one program: the same numbers as one after another, in any mode."""

import itertools
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_problem, trained

from unlearn import devices, memory, methods, parallel
from unlearn.models import layers
from unlearn.training import cross_entropy


def logits_of(model, problem):
    """A linear softmax trained on some of the examples, and its logits on all."""
    key, indices, rate = model
    inputs = problem.inputs(jnp.arange(40)).reshape(40, -1)
    weights = jax.random.normal(key, (inputs.shape[1], 3)) / 10

    def loss_fn(weights):
        losses = cross_entropy(inputs[indices] @ weights, problem.labels[indices])
        return jnp.mean(losses)

    def step(weights, _):
        return weights - rate * jax.grad(loss_fn)(weights), None

    weights, _ = jax.lax.scan(step, weights, length=5)
    return inputs @ weights, {"kernel": weights}


def many(count=5, examples=20):
    keys = jax.random.split(jax.random.key(0), count)
    draw = np.random.default_rng(0)
    rows = [draw.choice(40, examples, replace=False) for _ in range(count)]
    return keys, jnp.array(rows, jnp.int32), jnp.linspace(0.02, 0.1, count)


one_alone = jax.jit(logits_of)


@pytest.mark.slow
@pytest.mark.parametrize("mode", parallel.MODES)
@pytest.mark.parametrize("chunk", [None, 2])
def test_it_equals_one_after_another(problem, mode, chunk):
    models, done = many(), []
    results, how = parallel.map_models(
        logits_of, models, problem, mode=mode, chunk=chunk, progress=done.append
    )
    logits, variables = results
    assert how.mode == mode and how.devices == len(jax.devices()) == 2
    assert done[-1] == 5 and len(done) == (1 if chunk is None else 3)
    for i in range(5):
        one = jax.tree.map(lambda x, i=i: x[i], models)
        alone, alone_variables = one_alone(one, problem)
        np.testing.assert_allclose(logits[i], alone, rtol=1e-4, atol=1e-5)
        jax.tree.map(
            lambda many, one, i=i: np.testing.assert_allclose(
                many[i], one, rtol=1e-4, atol=1e-5
            ),
            variables,
            alone_variables,
        )


@pytest.mark.slow
def test_the_results_do_not_depend_on_the_chunks(problem):
    (whole, _), _ = parallel.map_models(logits_of, many(), problem, mode="map")
    (parts, _), _ = parallel.map_models(logits_of, many(), problem, mode="map", chunk=2)
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.slow
def test_a_method_maps_over_forget_sets(problem):
    """Other forget sets and other learning rates, in one program."""

    def unlearn(model, variables, problem):
        key, forget, retain, rate = model
        problem = problem.replace(forget=forget, retain=retain)
        fn = methods.METHODS["neggrad_plus"].fn
        return fn(key, variables, problem, learning_rate=rate, epochs=1)[0]

    draw, variables = np.random.default_rng(0), trained(problem)
    orders = np.array([draw.permutation(40) for _ in range(4)], np.int32)
    keys, rates = jax.random.split(jax.random.key(1), 4), jnp.full(4, 0.05)
    models = keys, orders[:, :7], orders[:, 7:], rates
    results, _ = parallel.map_models(unlearn, models, variables, problem)
    alone = jax.jit(unlearn)
    for i in range(4):
        one = alone(jax.tree.map(lambda x, i=i: x[i], models), variables, problem)
        for many_leaf, leaf in zip(
            jax.tree.leaves(results), jax.tree.leaves(one), strict=True
        ):
            np.testing.assert_allclose(many_leaf[i], leaf, rtol=1e-4, atol=1e-5)


def test_a_stopped_run_goes_on_with_the_next_chunk(problem):
    kept, computed = {}, []

    def keep(first, count, compute):
        if first not in kept:
            if len(computed) == 2:
                raise KeyboardInterrupt
            computed.append(first)
            kept[first], seconds = compute()
            assert seconds > 0
        assert len(kept[first][0]) == count
        return kept[first]

    options = dict(mode="map", chunk=2)
    with pytest.raises(KeyboardInterrupt):
        parallel.map_models(logits_of, many(), problem, keep=keep, **options)
    assert computed == [0, 2]
    computed.clear()
    (resumed, _), _ = parallel.map_models(
        logits_of, many(), problem, keep=keep, **options
    )
    assert computed == [4]
    (whole, _), _ = parallel.map_models(logits_of, many(), problem, **options)
    np.testing.assert_array_equal(resumed, whole)


def test_chunks_that_another_process_is_at_come_last(problem):
    asked, free = [], {0: 2, 2: 0, 4: 1}  # how often each is found taken

    def keep(first, count, compute):
        asked.append(first)
        free[first] -= 1
        return compute()[0] if free[first] < 0 else None

    options = dict(mode="map", chunk=2)
    (late, _), _ = parallel.map_models(
        logits_of, many(), problem, keep=keep, progress=asked.append, **options
    )
    assert asked == [0, 2, 2, 4, 0, 4, 4, 0, 5]  # chunks, and how many models are done
    (whole, _), _ = parallel.map_models(logits_of, many(), problem, **options)
    np.testing.assert_array_equal(late, whole)


def test_the_second_call_compiles_nothing(problem, monkeypatch):
    parallel.map_models(logits_of, many(), problem, mode="map")
    found, look_up = [], devices.compiled

    def compiled(fn, *args):
        found.append(look_up(fn, *args))
        return found[-1]

    monkeypatch.setattr(devices, "compiled", compiled)
    _, how = parallel.map_models(logits_of, many(), problem, mode="map")
    assert how.compile_seconds == 0.0 and len(found) == 1


@pytest.mark.parametrize("mode", parallel.MODES)
def test_prepared_it_compiles_nothing_and_of_models_only_shapes_count(problem, mode):
    def fn(model, problem):
        return logits_of(model, problem)[0]

    models = many()
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), models)
    parallel.prepare(fn, shapes, problem, mode=mode)
    logits, how = parallel.map_models(fn, models, problem, mode=mode)
    assert how.compile_seconds == 0.0 and logits.shape == (5, 40, 3)


def test_other_numbers_of_models_need_no_other_program_and_none_is_run_twice(problem):
    run = []

    def fn(model, problem):
        jax.debug.callback(lambda rate: run.append(float(rate)), model[2])
        return logits_of(model, problem)[0]

    for count, compiles in ((7, True), (5, False), (8, False)):
        models = many(count)
        _, how = parallel.map_models(fn, models, problem, mode="map")
        jax.effects_barrier()
        assert (how.compile_seconds > 0) == compiles
        np.testing.assert_allclose(sorted(run), models[2], rtol=1e-6)
        run.clear()


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_models_are_dealt_out_once_each_and_evenly(devices):
    for each, count in itertools.product((1, 4, 16), range(1, 16 * 8 + 1)):
        if count > each * devices:
            continue
        numbers, turns, wanted = parallel._deal(100, count, each, devices)
        assert turns.sum() == count and turns.max() == -(-count // devices) <= each
        np.testing.assert_array_equal(numbers[wanted], 100 + np.arange(count))
        done = np.arange(each) < turns[:, None]
        np.testing.assert_array_equal(np.flatnonzero(done), wanted)


def test_on_the_cpu_one_after_another():
    assert parallel.choose_mode() == "map"


@pytest.mark.parametrize("mode", parallel.MODES)
def test_vectorised_nets_are_traced_as_such(mode, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    images = jnp.ones((2, 4, 4, 1))

    def net(kernel, images):
        plain = ("NHWC", "HWIO", "NHWC")
        args = (1, 1), "SAME"
        out = layers.conv_general_dilated(
            images, kernel, *args, dimension_numbers=plain
        )
        seen.append(layers._MANY.get())
        return out.sum()

    seen = []
    parallel.map_models(net, jnp.ones((2, 3, 3, 1, 2)), images, mode=mode)
    assert seen and set(seen) == {mode == "vmap"}
    assert not layers._MANY.get()


def test_bad_arguments(problem):
    with pytest.raises(ValueError, match="one leading axis"):
        parallel.map_models(logits_of, (jnp.zeros(3), jnp.zeros(2)), problem)
    with pytest.raises(ValueError, match="unknown mode 'pmap'"):
        parallel.map_models(logits_of, many(), problem, mode="pmap")


def test_the_chunk_is_halved_until_it_fits(problem, monkeypatch):
    asked = []

    def fits(executable, share):
        asked.append(executable)
        return len(asked) == 3

    monkeypatch.setattr(memory, "fits", fits)
    (logits, _), how = parallel.map_models(logits_of, many(10), problem, mode="vmap")
    assert how.chunk == 4 and len(logits) == 10
    assert tiny_problem().num_classes == logits.shape[-1]


@pytest.mark.slow
def test_a_chunk_that_is_given_is_an_upper_bound(problem, monkeypatch):
    monkeypatch.setattr(memory, "fits", lambda executable, share: False)
    models, fitting = many(10), parallel.map_models
    assert fitting(logits_of, models, problem, mode="vmap", chunk=8)[1].chunk < 8
    assert fitting(logits_of, models, problem, mode="map", chunk=8)[1].chunk == 8


ON_EIGHT_DEVICES = """
import sys
sys.path[:0] = [".", "tests"]
import jax, numpy as np
from conftest import tiny_problem
from test_parallel import logits_of, many
from unlearn import parallel
jax.config.update("jax_num_cpu_devices", 8)
(logits, _), how = parallel.map_models(logits_of, many(11), tiny_problem(), mode="map")
assert how.devices == 8
np.save(sys.argv[1], logits)
"""


@pytest.mark.slow
def test_two_devices_and_eight_give_the_same(problem, tmp_path):
    path = tmp_path / "8.npy"
    command = [sys.executable, "-c", ON_EIGHT_DEVICES, str(path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
    (logits, _), how = parallel.map_models(logits_of, many(11), problem, mode="map")
    assert how.devices == 2
    np.testing.assert_array_equal(np.load(path), logits)
