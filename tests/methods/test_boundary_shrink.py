"""What is particular to boundary shrink."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from references import linear_case, linear_model, softmax

from unlearn import make_problem
from unlearn.methods.boundary_shrink import stepped

KEY = jax.random.key(3)

WHOLE = dict(batch_size=40, momentum=0.9)


@pytest.mark.slow
def test_boundary_shrink_takes_the_nearest_wrong_label_and_trains_to_it():
    """Linear model: input and weight gradients in closed form."""
    problem, original = linear_case(10, mean=0.4, std=0.2)
    kernel = np.asarray(original["params"]["head"]["kernel"])
    indices = np.asarray(problem.forget)
    x = (np.asarray(problem.examples)[indices] / 255 - 0.4) / 0.2
    x, y = x.reshape(len(indices), -1), np.asarray(problem.labels)[indices]
    constants = dict(learning_rate=0.3, epochs=1, **WHOLE)
    found = []
    for bound in (0.0, 0.3):
        step = np.sign((softmax(x @ kernel) - np.eye(10)[y]) @ kernel.T)
        moved = np.clip(0.2 * x + 0.4 + bound * step, 0, 1)  # as pixels
        logits = (moved - 0.4) / 0.2 @ kernel
        nearest = np.where(np.eye(10)[y], -np.inf, logits).argmax(-1)
        fn, seen = case("boundary_shrink", problem, bound=bound, **constants)
        after, info = fn(KEY, original, seen)
        np.testing.assert_array_equal(info["labels"], nearest)
        found.append(nearest)
        gradient = x.T @ (softmax(x @ kernel) - np.eye(10)[nearest]) / len(x)
        moved = after["params"]["head"]["kernel"]
        np.testing.assert_allclose(moved, kernel - 0.3 * gradient, 1e-4, 1e-5)
    assert np.any(found[0] != found[1]) and np.all(found != y)


@pytest.mark.slow
def test_boundary_shrink_relabels_by_the_original_throughout(problem, variables):
    fn, seen = case("boundary_shrink", problem, learning_rate=0.5, epochs=6)
    short, _ = case("boundary_shrink", problem, learning_rate=0.0, epochs=1)
    labels = [f(KEY, variables, seen)[1]["labels"] for f in (fn, short)]
    np.testing.assert_array_equal(*labels)


@pytest.mark.slow
def test_boundary_shrink_clips_pixels_alone():
    """Float inputs have no range: they move by all of the bound."""
    images, _ = linear_case(mean=0.4, std=0.2)
    floats, _ = float_case()
    for bound, direction in ((0.3, 1.0), (0.3, -1.0), (5.0, 1.0)):
        x = images.inputs(images.forget)
        moved = stepped(images, x, jnp.full_like(x, direction), bound)
        pixels = np.asarray(images.examples)[np.asarray(images.forget)] / 255
        expected = np.clip(pixels + bound * direction, 0, 1)
        np.testing.assert_allclose(0.2 * moved + 0.4, expected, atol=1e-5)
        x = floats.inputs(floats.forget)
        moved = stepped(floats, x, jnp.full_like(x, direction), bound)
        np.testing.assert_allclose(moved, x + bound * direction, 1e-6)


def float_case():
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    problem = make_problem(x, np.arange(20) % 3, [0, 1, 2], linear_model(3))
    return problem, problem.model.init(KEY, problem.inputs(problem.forget))
