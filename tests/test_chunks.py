"""How much is computed at once, and that a ResNet-18 fits on an accelerator for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import METHODS

from unlearn import chunks, curvature, make_problem
from unlearn.models import create
from unlearn.problem import withhold


def test_parts_are_even_and_cover_everything():
    for count in (1, 7, 100):
        for at_once in (1, 3, 47, 100):
            parts, size = chunks.even(count, min(at_once, count))
            assert size <= at_once and parts * size >= count
            assert (parts - 1) * size < count


def test_as_many_at_once_as_the_budget_holds():
    assert chunks.at_once(chunks.BUDGET // 5, 32) == 5
    assert chunks.at_once(1, 32) == 32
    assert chunks.at_once(2 * chunks.BUDGET, 32) == 1


def test_examples_are_one_by_one_on_a_cpu_only(monkeypatch):
    def never():
        raise AssertionError("not needed on a CPU")

    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert chunks.examples_at_once(never) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert chunks.examples_at_once(lambda: chunks.BUDGET // 5) == 5


def test_a_backward_pass_holds_the_gradient_and_the_hidden_values():
    """Of x -> sum tanh(x W): the gradient of W, and what tanh needs."""
    inputs, weights = jnp.ones((5, 3)), jnp.ones((3, 4))

    def fn(w):
        return jnp.sum(jnp.tanh(inputs @ w))

    held = chunks.backward_bytes(fn, weights, shared=(inputs,))
    assert 4 * (12 + 20) <= held <= 4 * (12 + 2 * 20 + 1)


def resnet18(classes, side=32):
    net, images = create("resnet18", classes), np.zeros((2 * classes, side, side, 3))
    labels = np.arange(2 * classes) % classes
    forget = np.flatnonzero(labels == 1)
    problem = make_problem(
        images.astype(np.uint8), labels, forget, net, forget_classes=[1]
    )
    like = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return problem, jax.eval_shape(net.init, jax.random.key(0), like)


def expected_fisher(variables, problem):
    return curvature.expected_fisher_diagonal(variables, problem, problem.retain)


def empirical_fisher(variables, problem):
    return curvature.fisher_diagonal(variables, problem, problem.retain)


def woodfisher(variables, problem):
    thousand = jnp.resize(problem.retain, 1000)
    vector = variables["params"]
    return curvature.woodfisher(variables, problem, thousand, vector, 1.0)


def ntk_scrub(variables, problem):
    hundred = problem.replace(forget=jnp.resize(problem.forget, 100))
    sizes = dict(examples=100, forget_examples=100)  # the defaults
    return METHODS["ntk_scrub"].fn(jax.random.key(0), variables, hundred, **sizes)


def emmn(variables, problem):
    """As published: 80 images a class, batches of 4."""
    seen = withhold(problem, METHODS["emmn"].needs)
    constants = dict(images=80, batch_size=4)
    return METHODS["emmn"].fn(jax.random.key(0), variables, seen, **constants)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fn, classes, side",
    [
        (expected_fisher, 100, 32),
        (empirical_fisher, 100, 32),
        (woodfisher, 100, 32),
        (ntk_scrub, 100, 32),
        (emmn, 10, 224),
    ],
)
def test_a_resnet18_takes_less_than_8_gb_on_an_accelerator(
    fn, classes, side, monkeypatch
):
    """The temporaries of the program with an accelerator's chunks; nothing runs."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    problem, variables = resnet18(classes, side)
    program = jax.jit(fn).lower(variables, problem).compile()
    assert program.memory_analysis().temp_size_in_bytes < 8e9
