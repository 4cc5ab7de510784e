"""How the process is set up, and what it keeps of compiled programs."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_problem

from unlearn import devices
from unlearn.errors import InputError

ROOT = Path(__file__).parents[1]


def double(x):
    return 2 * x


def test_compiled_once_for_each_shape_and_dtype():
    first, seconds = devices.compiled(double, jnp.ones(3))
    assert seconds > 0
    assert devices.compiled(double, jnp.zeros(3)) == (first, 0.0)
    for other in (jnp.ones(4), jnp.ones(3, jnp.int32), (jnp.ones(3),)):
        fn = double if isinstance(other, jax.Array) else lambda x: double(x[0])
        executable, seconds = devices.compiled(fn, other)
        assert executable is not first and seconds > 0
        np.testing.assert_array_equal(
            executable(other), double(jax.tree.leaves(other)[0])
        )


def test_of_threads_that_ask_for_a_program_one_compiles_it():
    traced, started = [], threading.Barrier(4)

    def slow(x):
        traced.append(threading.get_ident())
        time.sleep(0.2)
        return x + 1

    def ask(_):
        started.wait()
        return devices.compiled(slow, jax.ShapeDtypeStruct((3,), jnp.float32))

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(ask, range(4)))
    assert len(traced) == 1 and len({id(executable) for executable, _ in found}) == 1
    assert all(seconds > 0.1 for _, seconds in found)  # they waited
    np.testing.assert_array_equal(found[0][0](jnp.ones(3)), 2 * np.ones(3))


def test_what_does_not_compile_is_tried_again():
    tries = []

    def broken(x):
        tries.append(x)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            devices.compiled(broken, jnp.ones(3))
    assert len(tries) == 2


@pytest.mark.slow
def test_programs_are_forgotten_before_linux_ends_the_process(monkeypatch):
    devices.compiled(double, jnp.zeros(41))
    kept = len(devices._executables)
    devices.compiled(double, jnp.zeros(42))
    assert len(devices._executables) == kept + 1
    monkeypatch.setattr(devices, "MOST_MAPPINGS", 1)
    execute, _ = devices.compiled(double, jnp.zeros(43))
    assert len(devices._executables) == 1
    np.testing.assert_array_equal(execute(jnp.ones(43)), 2)


def test_programs_used_longest_ago_are_dropped(monkeypatch):
    monkeypatch.setattr(devices, "EXECUTABLES", 3)
    monkeypatch.setattr(devices, "_executables", type(devices._executables)())
    first, _ = devices.compiled(double, jnp.ones(1))
    for size in (2, 3):
        devices.compiled(double, jnp.ones(size))
    assert devices.compiled(double, jnp.ones(1)) == (first, 0.0)  # used again
    devices.compiled(double, jnp.ones(4))
    assert len(devices._executables) == 3
    assert devices.compiled(double, jnp.ones(1)) == (first, 0.0)
    assert devices.compiled(double, jnp.ones(2))[1] > 0  # was dropped


@pytest.mark.parametrize(
    "backend, told, fails",
    [("cpu", "", False), ("gpu", "", True), ("gpu", devices.DETERMINISTIC, False)],
)
def test_a_gpu_must_be_told_to_repeat_itself(backend, told, fails, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setenv("XLA_FLAGS", f"--some=1 {told}")
    if fails:
        with pytest.raises(InputError, match="XLA_FLAGS=--xla_gpu_deterministic"):
            devices.check_deterministic()
    else:
        devices.check_deterministic()


@pytest.mark.parametrize("given", ["", "--xla_gpu_deterministic_ops=false"])
def test_setup_tells_a_gpu_unless_the_user_did(given, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_runs_on_cpu", lambda: False)
    monkeypatch.setattr(devices.compile_cache, "enable", lambda folder: None)
    monkeypatch.setenv("XLA_FLAGS", given)
    devices.setup(tmp_path)
    assert os.environ["XLA_FLAGS"] == given
    devices.setup(tmp_path, deterministic=True)
    assert os.environ["XLA_FLAGS"] == (given or devices.DETERMINISTIC)


def test_programs_keep_no_arrays_alive():
    """Neither arguments nor results, of a tree with arrays in it."""

    def total(problem, extra):
        return problem.examples.astype(jnp.float32).sum() + extra.sum()

    problem, extra = tiny_problem(size=41), jnp.ones(1234)
    executable, _ = devices.compiled(total, problem, extra)
    executable(problem, extra)
    arrays = [weakref.ref(x) for x in jax.tree.leaves((problem, extra))]
    assert len(arrays) > 5
    del problem, extra
    gc.collect()
    assert not [ref for ref in arrays if ref() is not None]
    assert executable is not None


def start(code, **environment):
    """Runs code with other environment variables: `(exit status, output, errors)`."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


DESCRIBE = """
from unlearn import devices
from unlearn.errors import InputError
devices.setup()
try:
    print(devices.describe()["backend"])
except devices.InputError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("platforms", ["no_such_thing", "cuda"])
def test_a_backend_that_does_not_start(platforms, tmp_path):
    if platforms == "cuda" and jax.default_backend() != "cpu":
        pytest.skip("there may be one")
    status, out, errors = start(
        DESCRIBE, JAX_PLATFORMS=platforms, XDG_CACHE_HOME=str(tmp_path)
    )
    assert status == 0, errors
    (line,) = out.splitlines()
    assert line.startswith(f"refused: JAX_PLATFORMS={platforms} does not start (")
    assert "set JAX_PLATFORMS=cpu" in line


WITH_X64 = """
import jax, jax.numpy as jnp
from unlearn import data, models
from unlearn.data.augment import augmentation
assert jnp.ones(1).dtype == jnp.float64
digits = data.load("digits")
augment = augmentation(flip=True, crop=1, rotate=20.0, jitter=0.2)
images = jnp.asarray(digits.train_images[:8])
assert images.dtype == jnp.uint8
assert jnp.asarray(digits.train_labels).dtype == jnp.int32
inputs = (images / jnp.float32(255) - jnp.asarray(digits.mean)) / digits.std
inputs = augment(jax.random.key(0), inputs)
assert inputs.dtype == jnp.float32, inputs.dtype
for name, options in (("cnn", {}), ("allcnn", {"width": 4})):
    net = models.create(name, 10, **options)
    variables = net.init(jax.random.key(0), inputs)
    def loss(params):
        new, state = net.apply({**variables, "params": params}, inputs, train=True)
        return new.sum(), state
    found = jax.eval_shape(jax.grad(loss, has_aux=True), variables["params"])
    kinds = {x.dtype for x in jax.tree.leaves((variables, found))}
    assert kinds == {jnp.dtype("float32")}, kinds
print("fine")
"""


@pytest.mark.slow
def test_data_and_nets_with_64_bits():
    status, out, errors = start(WITH_X64, JAX_ENABLE_X64="1")
    assert out == "fine\n", errors
