"""A user's own model in a few lines: plain jax.numpy, and a flax.nnx module."""

import importlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_data
from trees import distance

import unlearn


def test_ten_lines_of_plain_jax():
    from unlearn import Model, make_problem, methods, metrics

    images, labels = tiny_data(60)

    def init(key, images):
        return {"params": {"w": 0.1 * jax.random.normal(key, (images[0].size, 3))}}

    def apply(variables, images, *, train=False, key=None):
        return images.reshape(len(images), -1) @ variables["params"]["w"], variables

    problem = make_problem(images, labels, range(6), Model(init, apply))
    trained = init(jax.random.key(0), problem.inputs(jnp.arange(1)))  # yours here
    after, info = methods.METHODS["finetune"].fn(
        jax.random.key(1), trained, problem, epochs=20, learning_rate=0.1
    )
    logits, _ = apply(after, problem.inputs(problem.retain))
    accuracy = metrics.accuracy(np.asarray(logits), labels[6:])
    assert accuracy > 0.7 and info["loss"].shape[0] == 20


def nnx_model():
    """As the README shows it: batch statistics are the second collection."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(16, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x, use_running_average):
            x = self.hidden(x.reshape(len(x), -1))
            x = self.norm(x, use_running_average=use_running_average)
            return self.head(nnx.relu(x))

    graph = nnx.graphdef(Net(nnx.Rngs(0)))

    def init(key, images):
        _, params, stats = nnx.split(Net(nnx.Rngs(key)), nnx.Param, nnx.BatchStat)
        return {"params": params, "batch_stats": stats}

    def apply(variables, images, *, train=False, key=None):
        net = nnx.merge(graph, variables["params"], variables["batch_stats"], copy=True)
        logits = net(images, use_running_average=not train)
        stats = nnx.state(net, nnx.BatchStat)
        return logits, {"params": variables["params"], "batch_stats": stats}

    return unlearn.Model(init, apply)


@pytest.mark.parametrize("name", ["finetune", "ssd"])
def test_an_nnx_module(name):
    images, labels = tiny_data(60)
    problem = unlearn.make_problem(
        images, labels, range(6), nnx_model(), validation=tiny_data(20, seed=1)
    )
    before = problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))
    settings = {} if name == "ssd" else {"epochs": 2, "batch_size": 16}
    if name == "ssd":
        settings = {"alpha": 1.0}
    method = unlearn.methods.METHODS[name].fn
    after, _ = jax.jit(lambda *args: method(*args, **settings))(
        jax.random.key(1), before, problem
    )
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert distance(after["params"], before["params"]) > 0
    if name == "finetune":
        assert distance(after["batch_stats"], before["batch_stats"]) > 0


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_import_is_light():
    """Heavy libraries are imported where they are used."""
    heavy = "flax", "tensorflow_datasets", "sklearn", "matplotlib", "orbax", "PIL"
    found = f"print([m for m in {heavy!r} if m in sys.modules])"
    code = "import sys, unlearn; [getattr(unlearn, name) for name in unlearn.__all__]; "
    assert run(code + found) == "[]"


@pytest.mark.slow
def test_import_alone_loads_nothing():
    """So that the command starts at once; names are there when they are used."""
    assert run("import sys, unlearn; print('jax' in sys.modules)") == "False"
    code = "from unlearn import *; print(Model.__name__, sorted(metrics.__all__)[0])"
    assert run(code).split()[0] == "Model"
    assert run("import unlearn; print(unlearn.methods.METHODS['ssd'].paper)")
    assert set(unlearn.__all__) <= set(dir(unlearn))
    assert unlearn.InputError is importlib.import_module("unlearn.errors").InputError
    with pytest.raises(AttributeError, match="no attribute 'modle'"):
        _ = unlearn.modle
    with pytest.raises(ImportError, match="modle"):
        from unlearn import modle  # noqa: F401


@pytest.mark.slow
def test_a_command_that_stops_at_once_has_not_waited_for_what_measures():
    program = (
        "import sys, unlearn.audit, unlearn.pipeline, unlearn.requests\n"
        "slow = 'scipy.stats', 'sklearn', 'matplotlib', 'orbax.checkpoint'\n"
        "print([name for name in slow if name in sys.modules])"
    )
    assert run(program) == "[]"


@pytest.mark.slow
def test_modules_are_there_without_an_import_of_their_own():
    """As README.md names them."""
    program = (
        "import unlearn\n"
        "for name in unlearn.MODULES:\n"
        "    assert getattr(unlearn, name).__name__ == 'unlearn.' + name\n"
        "    assert name in dir(unlearn)\n"
        "print(unlearn.models.create, unlearn.requests.deploy)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
