"""What is particular to CF-k, and to EU-k, which trains the same layers."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_problem, trained
from trees import assert_equal, distance

from unlearn.errors import InputError
from unlearn.models import create, from_linen

KEY = jax.random.key(3)


class Deep(nn.Module):
    """Three dense layers, the inner two normalised and in a block of their own."""

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(len(x), -1)
        for name in ("first", "second"):
            x = Block(name=name)(x, train)
        return nn.Dense(3, name="head")(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        norm = nn.BatchNorm(use_running_average=not train, momentum=0.9)
        return nn.relu(norm(nn.Dense(8)(x)))


@pytest.fixture(scope="module")
def deep():
    problem = tiny_problem(from_linen(Deep()))
    return problem, trained(problem, epochs=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_all_but_the_last_layers_are_bit_identical(name, deep):
    """Statistics included; two layers back is the head, and the second block whole."""
    problem, original = deep
    fn, seen = case(name, problem, layers=2, weight_decay=0.1, learning_rate=0.1)
    after, _ = fn(KEY, original, seen)
    for kind in original:
        for part in original[kind]:
            pair = after[kind][part], original[kind][part]
            if part == "first":
                assert_equal(*pair)
            else:
                for new, old in zip(*map(jax.tree.leaves, pair), strict=True):
                    assert np.mean(np.asarray(new) != np.asarray(old)) > 0.5
    fn, seen = case("finetune", problem)  # the control
    control, _ = fn(KEY, original, seen)
    for kind in original:
        assert distance(control[kind]["first"], original[kind]["first"]) > 0


@pytest.mark.slow
def test_cf_k_starts_from_the_original_and_eu_k_does_not(deep):
    """What the original's last layers hold: all to CF-k, nothing to EU-k."""
    problem, original = deep
    erased = jax.tree.map(lambda x: x, original)
    for kind, part in (("params", "head"), ("params", "second")):
        zeros = jax.tree.map(jnp.zeros_like, original[kind][part])
        erased[kind] = {**erased[kind], part: zeros}
    moved = jax.tree.map(lambda x: x + 1, original["batch_stats"]["second"])
    erased["batch_stats"] = {**erased["batch_stats"], "second": moved}
    for name, same in (("cf_k", False), ("eu_k", True)):
        fn, seen = case(name, problem, layers=2)
        gap = distance(fn(KEY, original, seen)[0], fn(KEY, erased, seen)[0])
        assert (gap == 0) == same
    fn, seen = case("cf_k", problem, layers=2, learning_rate=0.0)
    assert_equal(fn(KEY, original, seen)[0]["params"], original["params"])


@pytest.mark.parametrize("name", ["cf_k", "eu_k", "boundary_expand"])
def test_a_model_without_activations(name, problem, variables):
    silent = problem.replace(model=problem.model._replace(activations=None))
    fn, seen = case(name, silent)
    with pytest.raises(InputError, match="activations"):
        fn(KEY, variables, seen)


def test_no_layers_to_train(problem, variables):
    fn, seen = case("cf_k", problem, layers=0)
    with pytest.raises(InputError, match="at least 1"):
        fn(KEY, variables, seen)


def operations(name, problem, variables, mapped=False, **constants):
    """How many convolutions and matrix products the compiled method has."""
    fn, seen = case(name, problem, epochs=1, **constants)
    key = KEY
    if mapped:
        fn, key = jax.jit(jax.vmap(fn, (0, None, None))), jax.random.split(KEY, 2)
    text = fn.lower(key, variables, seen).compile().as_text()
    return [len(re.findall(rf" {name}\(", text)) for name in ("convolution", "dot")]


@pytest.mark.parametrize(
    "name, mapped, layers",
    [
        ("cf_k", False, 2),
        ("cf_k", True, 2),
        pytest.param("cf_k", False, 1, marks=pytest.mark.slow),
        pytest.param("eu_k", False, 2, marks=pytest.mark.slow),
        pytest.param("eu_k", True, 2, marks=pytest.mark.slow),
    ],
)
def test_frozen_layers_have_no_backward_pass(name, mapped, layers):
    """Two convolutions, a hidden dense layer and the head: forwards they are 2 and 2.

    A layer's gradient takes one product for its weights and one for its inputs.
    """
    problem = tiny_problem(create("cnn", 3, widths=(4, 4), dense=8))
    variables = problem.model.init(KEY, problem.inputs(problem.forget))
    convolutions, dots = operations(name, problem, variables, mapped, layers=layers)
    assert convolutions == 2
    assert dots == 2 + 2 * layers - 1 or mapped
    if name == "cf_k" and not mapped:  # the control
        assert operations("finetune", problem, variables) == [2 + 3, 2 + 4]
