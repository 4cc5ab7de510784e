"""A batch on several devices: the same numbers as on one, and a part each."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import FLAGS, tiny_problem, trained
from small_runs import Silent, small_config
from trees import assert_close, assert_equal

from unlearn import curvature, devices, models, parallel, pipeline, spread, training
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.problem import on_devices
from unlearn.report import figures

ROOT = Path(__file__).parents[1]
CNN = models.create("cnn", 3, widths=(4,), dense=4)


@pytest.fixture(scope="module")
def mesh():
    return spread.make_mesh(2)


@pytest.fixture(scope="module")
def on_eight():
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count=8",
    }
    command = [sys.executable, "tests/on_eight_devices.py"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("net, batch", [("cnn", 37), ("poolnet", 40)])
def test_fifty_steps_on_eight_devices(net, batch, on_eight):
    """A batch of 37 is filled up; batch statistics are those of the whole batch."""
    one, eight = on_eight[net]["1"], on_eight[net]["8"]
    assert len(one["losses"]) == 50
    np.testing.assert_allclose(eight["losses"], one["losses"], rtol=1e-5)
    assert one["losses"][-1] < 0.9 * one["losses"][0]
    assert eight["same"] and eight["kinds"] == [8]
    assert batch in one["batches"]
    assert -(-batch // 8) in eight["batches"] and batch not in eight["batches"]


def test_every_device_has_its_part_of_a_batch(mesh):
    problem = on_devices(tiny_problem(CNN), mesh)

    def inputs(problem):
        return problem.batch(problem.retain[:10]).inputs

    program = jax.jit(inputs).lower(problem).compile()
    (sharding,) = jax.tree.leaves(program.output_shardings)
    assert sharding.shard_shape((10, 4, 4, 1)) == (5, 4, 4, 1)


@pytest.mark.slow
def test_parts_of_a_batch_are_spread_each(mesh):
    alone = tiny_problem(CNN)
    recipe = training.Recipe(epochs=2, batch_size=16, learning_rate=0.1, parts=2)

    def train(key, problem):
        return training.train(key, problem, problem.retain, recipe)

    key, both = jax.random.key(0), on_devices(alone, mesh)
    one, two = (devices.compiled(train, key, p)[0](key, p) for p in (alone, both))
    assert_close(jax.device_get(two), jax.device_get(one), 1e-4, 1e-5)
    text = devices.compiled(train, key, both)[0].as_text()
    shapes = set(re.findall(r"= f32\[(\d+),[\d,]*\]\S* convolution\(", text))
    assert "4" in shapes and not shapes & {"8", "16"}


def test_arrays_are_on_every_device_and_back(mesh):
    alone = tiny_problem(CNN)
    problem = on_devices(alone, mesh)
    for leaf in jax.tree.leaves(problem):
        assert len(leaf.sharding.device_set) == 2 and leaf.is_fully_replicated
    assert problem.validation.mesh is mesh and on_devices(problem, mesh) is problem
    back = on_devices(problem, None)
    assert jax.tree.structure(back) == jax.tree.structure(alone)
    assert_equal(back, alone)
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(back))
    assert spread.mesh_of(problem) == mesh and spread.mesh_of(back) is None


@pytest.mark.slow
def test_importance_and_mean_gradient(mesh):
    alone = tiny_problem(CNN)
    variables, both = trained(alone), on_devices(alone, mesh)

    def measure(variables, problem):
        objective = training.classification(problem.model, train=False)
        return (
            curvature.fisher_diagonal(variables, problem, problem.retain, group=1),
            curvature.fisher_diagonal(variables, problem, problem.retain, group=5),
            curvature.mean_gradient(objective, variables, problem, problem.retain, 16),
            training.predict_set(problem, variables, problem.retain, 16),
        )

    one, two = (
        devices.compiled(measure, variables, p)[0](variables, p) for p in (alone, both)
    )
    assert_close(jax.device_get(two), jax.device_get(one), 1e-5, 1e-7)
    assert all(x.is_fully_replicated for x in jax.tree.leaves(two))


@pytest.fixture(scope="module")
def class_variables(class_problem):
    return trained(class_problem)


# One of each way to read examples: the others differ in their losses.
READERS = [
    *("boundary_shrink", "duck", "emmn", "influence", "newton_head"),
    *("ntk_scrub", "random_labels"),
]


@pytest.mark.parametrize(
    "name", ["ssd", *(pytest.param(name, marks=pytest.mark.slow) for name in READERS)]
)
def test_methods_end_where_they_do_on_one_device(
    name, mesh, class_problem, class_variables
):
    alone, variables, info = class_problem, class_variables, METHODS[name]
    both = on_devices(alone, mesh)
    key, value = jax.random.key(1), cases.value_of(info)

    def run(key, variables, problem, value):
        return cases.run(info, key, variables, problem, value)[0]

    ends = [
        devices.compiled(run, key, variables, p, value)[0](key, variables, p, value)
        for p in (alone, both)
    ]
    assert_close(*jax.device_get(ends), 2e-3, 2e-4)


@pytest.mark.slow
def test_a_run_whose_batches_are_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "write_all", lambda *args: [])
    rows = []
    for count in (1, 2):
        config = small_config(batch_devices=count, seeds=1, run=("ssd",))
        result = pipeline.run(config, tmp_path / str(count))
        assert (result.run.problem.mesh is None) == (count == 1)
        rows.append(result.rows)
    for one, two in zip(*rows, strict=True):
        assert one["model"] == two["model"]
        assert abs(one["retain_accuracy"] - two["retain_accuracy"]) < 0.02
    again = pipeline.run(config, tmp_path / "2")
    np.testing.assert_equal(again.rows, rows[1])
    assert again.run.alone.mesh is None


@pytest.mark.slow
def test_models_that_are_read_lie_where_those_made_do(tmp_path):
    config = small_config(batch_devices=2, seeds=1, run=("ssd",))
    run = pipeline.prepare(config, tmp_path / "run", ("ssd",), progress=Silent())
    made, read = (pipeline.make_model(run, "original", 0)[0] for _ in range(2))
    assert_equal(jax.device_get(read), jax.device_get(made))
    for leaf in jax.tree.leaves((made, read)):
        assert len(leaf.sharding.device_set) == 2 and leaf.is_fully_replicated


def test_more_devices_than_there_are(tmp_path):
    config = small_config(batch_devices=64)
    with pytest.raises(InputError, match="batch_devices is 64, and 2 devices are"):
        pipeline.run(config, tmp_path)


@pytest.mark.slow
def test_models_are_mapped_over_devices_of_their_own(mesh):
    problem = on_devices(tiny_problem(CNN), mesh)
    with pytest.raises(ValueError, match="on_devices"):
        parallel.map_models(lambda x, p: x, jnp.arange(4), problem)
