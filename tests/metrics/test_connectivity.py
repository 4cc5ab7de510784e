"""Distances and barriers, against loops and what convexity says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data
from scipy.special import log_softmax
from trees import distance

from unlearn import Model, make_problem
from unlearn.metrics.connectivity import barrier, path_losses, weight_distance
from unlearn.training import Recipe, train

KEYS = jax.random.split(jax.random.key(0))


def two_models(problem):
    example = problem.inputs(problem.forget)
    return [problem.model.init(key, example) for key in KEYS]


@pytest.mark.slow
def test_losses_on_the_line_against_a_loop(norm_class_problem):
    """Batch statistics are on the line as well."""
    problem, indices = norm_class_problem, norm_class_problem.retain
    one, other = two_models(problem)
    other["batch_stats"] = jax.tree.map(lambda x: x + 0.7, other["batch_stats"])
    found = jax.jit(path_losses, static_argnames="points")(
        one, other, problem, indices, points=5
    )
    labels = np.asarray(problem.labels[indices])
    for share, loss in zip((0, 0.25, 0.5, 0.75, 1), found, strict=True):
        between = jax.tree.map(lambda a, b, s=share: a + s * (b - a), one, other)
        logits = np.asarray(problem.model.apply(between, problem.inputs(indices))[0])
        log_p = log_softmax(logits.astype(float), axis=1)
        assert loss == pytest.approx(
            -log_p[np.arange(len(labels)), labels].mean(), 1e-4
        )


def test_the_distance_is_that_of_the_parameters_alone(norm_class_problem):
    one, other = two_models(norm_class_problem)
    other["batch_stats"] = jax.tree.map(lambda x: x + 9.0, other["batch_stats"])
    expected = distance(one["params"], other["params"])
    assert float(weight_distance(one, other)) == pytest.approx(expected, rel=1e-6)
    assert float(weight_distance(one, one)) == 0


def test_the_barrier_is_the_rise_above_the_ends():
    assert barrier([1.0, 5.0, 3.0]) == 3
    assert barrier([1.0, 2.0, 3.0]) == 0
    assert barrier([3.0, 1.0, 2.0]) == 0  # a valley is none
    assert barrier([0.0, 2.0, 1.0, 0.0]) == 2


def test_a_convex_loss_has_no_barrier():
    """Softmax regression: the loss is convex in the weights, whatever they are."""
    images, labels = tiny_data(40)

    def init(key, inputs):
        return {"params": {"w": 3 * jax.random.normal(key, (inputs[0].size, 3))}}

    def apply(variables, inputs, *, train=False, key=None):
        flat = inputs.reshape(len(inputs), -1)
        return flat @ variables["params"]["w"], variables

    problem = make_problem(images, labels, [0], Model(init, apply))
    losses = path_losses(*two_models(problem), problem, problem.retain)
    assert losses[5] < losses[0] and barrier(losses) == 0


@pytest.mark.slow
def test_the_original_and_a_hidden_one_are_connected_a_retrained_one_is_not():
    images, _ = tiny_data(60)
    labels = np.random.default_rng(5).integers(0, 3, 60)  # learnt by heart
    problem = make_problem(images, labels, np.arange(10), plain_model(hidden=8))
    recipe = Recipe(epochs=100, batch_size=20, learning_rate=0.1)
    fit = jax.jit(lambda key, indices: train(key, problem, indices, recipe)[0])
    original = fit(jax.random.key(0), jnp.arange(60))
    retrained, other = (fit(jax.random.key(s), problem.retain) for s in (1, 2))
    hidden = jax.tree.map(lambda x: 1.05 * x, original)

    def look(one, two):
        losses = path_losses(one, two, problem, problem.retain)
        return float(weight_distance(one, two)), barrier(losses)

    apart, near = look(original, retrained), look(original, hidden)
    assert look(original, original) == pytest.approx((0, 0), abs=1e-6)
    assert near[0] < 0.1 * apart[0] and near[1] < 0.05 * apart[1]
    assert apart[1] > 0.2
    # To a retrained model all are as far: the original is at the floor.
    floor = look(retrained, other)
    assert floor[0] == pytest.approx(apart[0], rel=0.3)
    assert floor[1] > 0.2
