"""What is particular to the first of the NeurIPS 2023 challenge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import gradient_of, kl, outputs, prepare, retain_loss, step
from trees import assert_close


def test_kl_contrastive_step_by_step(problem, variables):
    """Uniform once, then contrast and repair twice, each with its own momentum."""
    uniform, contrast_rate, repair_rate, temperature = 0.05, 0.02, 0.03, 1.3
    forget, retain = problem.forget, problem.retain

    def flatten(variables):
        logits, variables = outputs(problem, variables, forget)
        return kl(jnp.full(3, 1 / 3), jax.nn.softmax(logits)).mean(), variables

    def contrast(variables):
        of_retain, _ = outputs(problem, jax.lax.stop_gradient(variables), retain)
        of_forget, variables = outputs(problem, variables, forget)
        share = jax.nn.softmax(of_forget @ of_retain.T / temperature)
        return -jnp.log(share).mean(), variables

    expected = step(flatten, variables, uniform)
    velocities = [jax.tree.map(jnp.zeros_like, variables["params"])] * 2
    for cosine in (1.0, 0.5):
        losses = (contrast, contrast_rate * cosine), (retain_loss(problem), repair_rate)
        for i, (loss, rate) in enumerate(losses):
            gradient, _ = gradient_of(loss, expected)
            decay = 0.1 if i else 0.0
            velocities[i] = jax.tree.map(
                lambda v, g, p, decay=decay: 0.9 * v + g + decay * p,
                velocities[i],
                gradient,
                expected["params"],
            )
            params = jax.tree.map(
                lambda p, v, rate=rate: p - rate * v, expected["params"], velocities[i]
            )
            expected = {"params": params}
    fn = prepare(
        "kl_contrastive", problem, variables, epochs=2, batch_size=40, weight_decay=0.1
    )
    after = fn(
        learning_rate=repair_rate,
        uniform_learning_rate=uniform,
        forget_learning_rate=contrast_rate,
        temperature=temperature,
    )
    assert_close(after, expected, 1e-4, 1e-5)


@pytest.mark.slow
def test_the_weight_decay_of_the_repair_is_that_of_pytorch(problem, variables):
    """A weight that no loss depends on shrinks by L2 and momentum, and only by them."""
    apply = problem.model.apply

    def with_idle(variables, inputs, **options):
        params = {k: v for k, v in variables["params"].items() if k != "idle"}
        logits, _ = apply({"params": params}, inputs, **options)
        return logits, variables

    model = problem.model._replace(apply=with_idle)
    start = {"params": {**variables["params"], "idle": jnp.ones(1)}}
    after = prepare(
        "kl_contrastive", problem.replace(model=model), start, epochs=3, batch_size=8
    )(learning_rate=0.02, weight_decay=0.1)
    weight, velocity = 1.0, 0.0
    for _ in range(3 * -(-len(problem.retain) // 8)):
        velocity = 0.9 * velocity + 0.1 * weight
        weight -= 0.02 * velocity
    np.testing.assert_allclose(after["params"]["idle"], [weight], rtol=1e-5)
    assert weight < 0.9
