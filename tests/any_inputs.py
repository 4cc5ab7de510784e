"""Problems whose examples are no images: floats, bits, tokens, float images, a dict.

Each is learnable and has some mislabelled examples, which a model must memorise to get
right: they are the forget set.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from conftest import traced_once
from sklearn.datasets import load_breast_cancer

from unlearn import make_problem
from unlearn.models import from_linen
from unlearn.problem import Problem
from unlearn.training import Recipe, predict_set, train


class Dense(nn.Module):
    """Two dense layers on flat inputs of any dtype."""

    classes: int
    width: int = 32

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1).astype(jnp.float32)
        return nn.Dense(self.classes)(nn.relu(nn.Dense(self.width)(x)))


class Tokens(nn.Module):
    """A mean of embeddings, then two dense layers."""

    classes: int

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(64, 16)(tokens).mean(1)
        return nn.Dense(self.classes)(nn.relu(nn.Dense(32)(x)))


class Sequence(nn.Module):
    """Activations [B, L, D] to the head, pooled after it."""

    classes: int

    @nn.compact
    def __call__(self, tokens):
        x = nn.relu(nn.Dense(16)(nn.Embed(64, 16)(tokens)))
        return nn.Dense(self.classes)(x).mean(1)


class Mixed(nn.Module):
    """Numbers and tokens of one example."""

    classes: int

    @nn.compact
    def __call__(self, inputs):
        words = nn.Embed(64, 8)(inputs["words"]).mean(1)
        numbers = nn.relu(nn.Dense(16)(inputs["numbers"]))
        x = jnp.concatenate([words, numbers], -1)
        return nn.Dense(self.classes)(nn.relu(nn.Dense(32)(x)))


class Case(NamedTuple):
    """A problem whose validation set is its test set, and what guessing gets right."""

    problem: Problem
    recipe: Recipe  # with which a model memorises the mislabelled examples
    chance: float


def floats(rng):
    x, y = load_breast_cancer(return_X_y=True)
    order = rng.permutation(len(x))[:300]
    return ((x - x.mean(0)) / x.std(0))[order], y[order], Dense(2)


def bits(rng, classes=100, size=600, width=120):
    y = np.arange(size) % classes
    prototypes = rng.random((classes, width)) < 0.5
    return prototypes[y] ^ (rng.random((size, width)) < 0.1), y, Dense(classes, 64)


def tokens(rng, classes=4, size=240, net=Tokens):
    """Texts of 12 words; each class has its own, half of the time."""
    y = np.arange(size) % classes
    own = 16 * y[:, None] + rng.integers(0, 8, (size, 12))
    words = np.where(rng.random((size, 12)) < 0.5, own, rng.integers(0, 64, (size, 12)))
    return words, y, net(classes)


def float_images(rng, classes=3, size=240):
    y = np.arange(size) % classes
    x = rng.normal(size=(size, 6, 6, 2)).astype(np.float32)
    x[np.arange(size), 2 * y] += 1.5
    return x, y, Dense(classes)


def mixed(rng):
    words, y, _ = tokens(rng)
    numbers = rng.normal(size=(len(y), 5)).astype(np.float32)
    numbers[:, 0] += y
    return {"words": words, "numbers": numbers}, y, Mixed(4)


KINDS = {
    "floats": floats,
    "bits": bits,
    "tokens": tokens,
    "sequence": lambda rng: tokens(rng, net=Sequence),
    "float_images": float_images,
    "mixed": mixed,
}


@functools.cache
def case(kind: str, mislabelled: int = 20) -> Case:
    rng = np.random.default_rng(0)
    x, y, net = KINDS[kind](rng)
    classes = net.classes
    held_out = len(y) // 5

    def part(chosen):
        return (
            {k: v[chosen] for k, v in x.items()} if isinstance(x, dict) else x[chosen]
        )

    order = rng.permutation(len(y))
    train, test = order[held_out:], order[:held_out]
    labels = y[train].copy()
    forget = np.arange(mislabelled)
    labels[forget] = (labels[forget] + rng.integers(1, classes, mislabelled)) % classes
    problem = make_problem(
        part(train),
        labels,
        forget,
        traced_once(from_linen(net)),
        num_classes=classes,
        validation=(part(test), y[test]),
    )
    embeds = kind in ("tokens", "sequence", "mixed")
    rate = 0.3 if embeds else 0.1
    recipe = Recipe(epochs=60, batch_size=32, learning_rate=rate, weight_decay=0.0)
    return Case(problem, recipe, np.bincount(y).max() / len(y))


@functools.cache
def original(kind: str):
    problem, recipe, _ = case(kind)
    indices = jnp.arange(len(problem.labels), dtype=jnp.int32)
    fn = jax.jit(lambda key: train(key, problem, indices, recipe)[0])
    return fn(jax.random.key(0))


def accuracies(problem: Problem, variables) -> dict[str, float]:
    """Accuracy on the forget, the retain and the test set."""
    sets = {"forget": problem, "retain": problem, "test": problem.validation}
    found = {}
    for name, own in sets.items():
        chosen = own.forget if name == "forget" else own.retain
        logits = np.asarray(predict_set(own, variables, chosen))
        found[name] = np.mean(logits.argmax(-1) == np.asarray(own.labels)[chosen])
    return found
