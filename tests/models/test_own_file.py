"""Models from a user's file, `PATH.py:function`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn import models
from unlearn.errors import InputError

NET = """
import flax.linen as nn


class Net(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(8)(x.reshape(len(x), -1))
        x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense(self.classes)(nn.relu(x))


def make(num_classes):
    return Net(num_classes)


def three():
    return Net(3)


def model(num_classes, width=8):
    from unlearn.models import create

    return create("mlp", num_classes, widths=(width,))
"""
IMAGES = jnp.ones((2, 4, 4, 1))


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0), IMAGES)


@pytest.mark.parametrize("function, classes", [("make", 5), ("three", 3), ("model", 5)])
def test_functions_with_and_without_num_classes(net, function, classes):
    model = models.create(f"{net}:{function}", 5)
    assert models.create(f"{net}:{function}", 5) is model
    variables = model.init(jax.random.key(0), IMAGES)
    assert model.apply(variables, IMAGES)[0].shape == (2, classes)
    assert model.activations is not None


def test_options_and_home(net, monkeypatch):
    wide = models.create(f"{net}:model", 5, width=32)
    assert shapes(wide)["params"]["Dense_0"]["kernel"].shape == (16, 32)
    monkeypatch.setenv("HOME", str(net.parent))
    assert models.create("~/net.py:make", 5) is models.create(f"{net}:make", 5)


def test_a_changed_file_is_another_model(net):
    model, before = models.create(f"{net}:make", 5), models.source_hash(f"{net}:make")
    net.write_text(NET.replace("Dense(8)", "Dense(9)"))
    assert models.source_hash(f"{net}:make") != before
    changed = models.create(f"{net}:make", 5)
    assert changed is not model
    assert shapes(changed)["params"]["Dense_0"]["kernel"].shape == (16, 9)
    assert models.source_hash("cnn") == ""


def test_neighbours_can_be_imported(net):
    (net.parent / "neighbour_of_net.py").write_text("WIDTH = 7\n")
    net.write_text(
        "from neighbour_of_net import WIDTH\nfrom unlearn.models import create\n"
        "def make(num_classes):\n    return create('mlp', num_classes, widths=(WIDTH,))"
    )
    model = models.create(f"{net}:make", 5)
    assert shapes(model)["params"]["Dense_0"]["kernel"].shape == (16, 7)


NNX = """
from flax import nnx


class Net(nnx.Module):
    def __init__(self, classes, rngs):
        self.dense = nnx.Linear(16, classes, rngs=rngs)

    def __call__(self, x):
        return self.dense(x.reshape(len(x), -1))


def fresh(num_classes, rngs):
    return Net(num_classes, rngs)


def made(num_classes):
    return Net(num_classes, nnx.Rngs(0))
"""
EQUINOX = """
import equinox as eqx
import jax


class Net(eqx.Module):
    dense: eqx.nn.Linear

    def __init__(self, classes, key):
        self.dense = eqx.nn.Linear(16, classes, key=key)

    def __call__(self, x):
        return self.dense(x.reshape(-1))


def fresh(num_classes, key):
    return Net(num_classes, key)


def made(num_classes):
    return Net(num_classes, jax.random.key(0))
"""


@pytest.mark.parametrize("function", ["fresh", "made"])
@pytest.mark.parametrize("package, text", [("flax", NNX), ("equinox", EQUINOX)])
def test_modules_of_other_libraries(net, package, text, function):
    pytest.importorskip(package)
    net.write_text(text)
    model = models.create(f"{net}:{function}", 5)
    one, other = (model.init(jax.random.key(i), IMAGES) for i in range(2))
    kernels = [x["params"]["dense"]["kernel"] for x in (one, other)]
    assert kernels[0].shape == (16, 5) and not np.allclose(*kernels)
    dense = one["params"]["dense"]
    expected = IMAGES.reshape(2, -1) @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(model.apply(one, IMAGES)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "text, function, words",
    [
        ("", "make", "has no function 'make'"),
        ("make = 3", "make", "has no function 'make'"),
        ("def make(:\n", "make", "line 1: SyntaxError"),
        ("x = 1\n1 / 0\n", "make", "line 2: ZeroDivisionError: division by zero"),
        ("def make():\n    return nothing\n", "make", "line 2: NameError"),
        (
            "def make():\n    return 3\n",
            "make",
            "it returns a int and must return a Model",
        ),
        ("def make(a, b):\n    return a\n", "make", "needs a, b: it may take"),
        (
            "import flax.linen as nn\n\n\nclass Net(nn.Module):\n"
            "    def __call__(self, x, is_training=False):\n        return x\n\n\n"
            "def make():\n    return Net()\n",
            "make",
            'from_linen(..., train="is_training")',
        ),
        ("import os_\n", "make", "line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)", "make", "ends the process (exit code 3)"),
    ],
)
def test_faults_are_one_line_with_file_and_line(net, text, function, words):
    net.write_text(text)
    with pytest.raises(InputError) as caught:
        models.create(f"{net}:{function}", 3)
    message = str(caught.value)
    assert str(net) in message and words in message and "\n" not in message


def test_faults_inside_the_model_have_their_line(net):
    net.write_text(
        "from unlearn import Model\n"
        "def init(key, inputs):\n    return {'params': {}}\n"
        "def apply(variables, inputs, *, train=False, key=None):\n"
        "    return inputs @ variables['params']['w'], variables\n"
        "def make():\n    return Model(init, apply)\n"
    )
    model = models.create(f"{net}:make", 3)
    with pytest.raises(InputError, match="line 5: KeyError: 'w'"):
        model.apply(model.init(jax.random.key(0), IMAGES), IMAGES)
