"""What is particular to gradient ascent."""

import jax
import pytest
from cases import case
from references import forget_loss
from trees import assert_close

from unlearn.training import cross_entropy


@pytest.mark.slow
def test_gradient_ascent_climbs(problem, variables):
    fn, seen = case("gradient_ascent", problem, learning_rate=0.2, epochs=10)
    after, _ = fn(jax.random.key(0), variables, seen)
    assert forget_loss(problem, after) > 2 * forget_loss(problem, variables) > 0


def test_gradient_ascent_is_one_step_of_the_gradient(problem, variables):
    """One full-batch step equals theta + learning_rate * gradient."""
    fn, seen = case("gradient_ascent", problem, epochs=1, learning_rate=0.1)
    after, _ = fn(jax.random.key(0), variables, seen)

    def loss(params):
        logits, _ = problem.model.apply(
            {"params": params}, problem.inputs(problem.forget)
        )
        return cross_entropy(logits, problem.labels[problem.forget]).mean()

    gradient = jax.grad(loss)(variables["params"])
    expected = jax.tree.map(lambda p, g: p + 0.1 * g, variables["params"], gradient)
    assert_close(after["params"], expected)
