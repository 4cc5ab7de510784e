"""The Newton head against optima of scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_data
from dense import (
    FORGET,
    PENALTY,
    at_optimum,
    linear_model,
    linear_problem,
    optimum,
    standard,
)
from scipy.special import softmax
from trees import assert_close, assert_equal, flat

from unlearn import make_problem
from unlearn.models import create


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORGET)
def test_newton_head_ends_at_the_optimum_of_the_retain_set(kind):
    problem = linear_problem(kind)
    variables = at_optimum(problem, np.arange(60))
    goal = flat(at_optimum(problem, np.asarray(problem.retain))["params"])
    settings = dict(weight_decay=PENALTY, iterations=60)
    fn, seen = case("newton_head", problem, steps=6, **settings)
    after, info = fn(jax.random.key(0), variables, seen)
    far = np.linalg.norm(flat(variables["params"]) - goal)
    assert np.linalg.norm(flat(after["params"]) - goal) < 5e-3 * far
    assert np.all(np.diff(info["objective"]) <= 1e-6)
    fn, seen = case("newton_head", problem, steps=1, **settings)
    first, _ = fn(jax.random.key(0), variables, seen)
    settings = dict(solver="cg", scale=1.0, examples=0, iterations=60, damping=PENALTY)
    removal, problem = case("influence", problem, **settings)
    if kind == "random":  # a full step is the best: w + H_r^-1 g_f
        expected, _ = removal(jax.random.key(0), variables, problem)
        assert_close(first, expected, 1e-2, 1e-3)


def test_newton_head_leaves_the_features(problem, variables):
    fn, seen = case("newton_head", problem, steps=8, iterations=60, weight_decay=0.05)
    after, _ = fn(jax.random.key(0), variables, seen)
    assert_equal(after["params"]["trunk"], variables["params"]["trunk"])
    trunk, retain = variables["params"]["trunk"], np.asarray(problem.retain)
    inputs = standard(problem, retain)
    features = np.tanh(inputs @ np.asarray(trunk["kernel"], np.float64) + trunk["bias"])
    goal = optimum(features, np.asarray(problem.labels)[retain], 0.05)
    np.testing.assert_allclose(flat(after["params"]["head"]), goal, atol=3e-3)


@pytest.mark.slow
def test_newton_head_without_bias_and_after_a_pooled_convolution():
    """The head may be a 1x1 convolution before a global mean, or have no bias."""
    images, labels = tiny_data(30)
    net = create("allcnn", 3, width=2, norm="none")
    problem = make_problem(images, labels, [0], net, num_classes=3)
    variables = net.init(jax.random.key(0), problem.inputs(problem.forget))
    fn, seen = case("newton_head", problem, steps=3, weight_decay=1e-3)
    after, info = fn(jax.random.key(0), variables, seen)
    assert info["objective"][-1] < info["objective"][0]
    names = [n for n in after["params"] if n != "Conv_8"]
    assert len(names) == 8
    for name in names:
        assert_equal(after["params"][name], variables["params"][name])
    logits = np.asarray(net.apply(after, problem.inputs(problem.retain))[0])
    of_examples = -np.log(softmax(logits, -1)[np.arange(29), labels[1:]])
    squares = np.sum(flat(after["params"]["Conv_8"]) ** 2)
    final = of_examples.mean() + 1e-3 / 2 * squares
    assert final <= info["objective"][-1] + 1e-5

    problem = make_problem(images, labels, [0], linear_model(False), num_classes=3)
    variables = problem.model.init(None, jnp.zeros((1, 4, 4, 1)))
    fn, seen = case("newton_head", problem, steps=6, iterations=60, weight_decay=0.05)
    after, _ = fn(jax.random.key(0), variables, seen)
    goal = optimum(standard(problem, problem.retain), labels[1:], 0.05, bias=False)
    np.testing.assert_allclose(flat(after["params"]), goal, atol=3e-3)
