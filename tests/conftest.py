"""Tiny problems: a test of a method takes milliseconds once compiled."""

import collections
import gc
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest

from unlearn import Model, devices, make_problem

# Programs here run for milliseconds: compile them fast rather than well. XLA's former
# emitters take a quarter of the time; a jaxlib without them would stop at the flag.
jax.config.update("jax_disable_most_optimizations", True)
if jax.config.jax_num_cpu_devices != 2:  # older ones refuse a second time
    jax.config.update("jax_num_cpu_devices", 2)
# On a GPU a float32 product is by default one of ten-bit numbers (TF32).
jax.config.update("jax_default_matmul_precision", "highest")
# Both cores have a worker: a program in one piece compiles in four fifths of the time.
FLAGS = "--xla_cpu_parallel_codegen_split_count=1"
if jaxlib.version.__version_info__ < (0, 11):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FLAGS)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # those that tests start
# For workers and processes that start from here: threads of OpenBLAS that wait for a
# regression on few numbers take as much time as the regression.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# Traces make a million small objects that live: looking through them takes 5 %.
gc.set_threshold(50_000, 20, 100)


MOST_MAPS = 20_000
"""Each compiled program takes a few mappings of memory; Linux allows 65,530 of them."""


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Forgets compiled programs before a process has too many to go on."""
    yield
    devices.make_room(MOST_MAPS)


def pytest_collection_modifyitems(items):
    """Puts files with slow tests first: one at the end keeps one worker busy alone."""
    slow, all_of = collections.Counter(), collections.Counter()
    for item in items:
        slow[item.path] += item.get_closest_marker("slow") is not None
        all_of[item.path] += 1
    items.sort(key=lambda item: (not slow[item.path], -all_of[item.path]))


def plain_model(hidden=8, classes=3):
    """A two-layer perceptron in plain jax.numpy."""

    def init(key, images):
        features = images[0].size
        k1, k2 = jax.random.split(key)
        w1 = jax.random.normal(k1, (features, hidden)) / np.sqrt(features)
        w2 = jax.random.normal(k2, (hidden, classes)) / np.sqrt(hidden)
        return {
            "params": {
                "head": {"kernel": w2, "bias": jnp.zeros(classes)},
                "trunk": {"kernel": w1, "bias": jnp.zeros(hidden)},
            }
        }

    def activations(variables, images, *, train=False, key=None):
        trunk, head = (variables["params"][name] for name in ("trunk", "head"))
        flat = images.reshape(len(images), -1)
        features = jnp.tanh(flat @ trunk["kernel"] + trunk["bias"][None])
        logits = features @ head["kernel"] + head["bias"][None]
        return {("trunk",): flat, ("head",): features}, logits, variables

    def apply(variables, images, *, train=False, key=None):
        return activations(variables, images)[1:]

    return Model(init, apply, activations)


def traced_once(model):
    """The model, of which each shape of inputs is traced once, not once a method."""
    return model._replace(apply=jax.jit(model.apply, static_argnames="train"))


class NormNet(nn.Module):
    """A small net with batch statistics."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(8)(x.reshape(len(x), -1))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dense(3)(nn.relu(x))


def tiny_data(size=40, seed=0, classes=3, balanced=False):
    """uint8[N, 4, 4, 1] images, a noisy stripe a class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size).astype(np.int32)
    if balanced:
        labels = rng.permutation(np.arange(size) % classes).astype(np.int32)
    images = rng.normal(90, 60, (size, 4, 4, 1))
    images[np.arange(size), labels] += 100
    return np.clip(images, 0, 255).astype(np.uint8), labels


def tiny_problem(model=None, *, size=40, forget=7, num_classes=3, **options):
    images, labels = tiny_data(size)
    return make_problem(
        images,
        labels,
        np.arange(3, 3 + forget),
        model or plain_model(),
        num_classes=num_classes,
        validation=tiny_data(15, seed=1),
        **options,
    )


def class_of_tiny_problem(model=None):
    """Forgets class 1; all classes have 14 examples."""
    images, labels = tiny_data(42, balanced=True)
    return make_problem(
        images,
        labels,
        np.flatnonzero(labels == 1),
        model or plain_model(),
        num_classes=3,
        forget_classes=[1],
        validation=tiny_data(15, seed=1),
    )


@pytest.fixture(scope="session")
def class_problem():
    return class_of_tiny_problem()


@pytest.fixture(scope="session")
def norm_class_problem():
    from unlearn.models import from_linen

    return class_of_tiny_problem(from_linen(NormNet()))


@pytest.fixture(scope="session")
def problem():
    return tiny_problem()


@pytest.fixture(scope="session")
def norm_problem():
    from unlearn.models import from_linen

    return tiny_problem(from_linen(NormNet()))


def trained(problem, seed=0, epochs=6):
    from unlearn.training import Recipe, train

    indices = jnp.arange(len(problem.labels))
    recipe = Recipe(epochs=epochs, batch_size=16, learning_rate=0.1)
    return train(jax.random.key(seed), problem, indices, recipe)[0]


@pytest.fixture(scope="session")
def variables(problem):
    return trained(problem)


@pytest.fixture(scope="session")
def norm_variables(norm_problem):
    return trained(norm_problem)
