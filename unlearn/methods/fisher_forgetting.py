"""Fisher forgetting: noise on the weights where the retain set does not need them.

    theta ~ N(mu, sigma^2),    mu = theta_0,    sigma^2 = alpha min(1 / F, 1e3)

F is the diagonal of the retain set's Fisher matrix, per example and with labels drawn
from the model's own predictions: sum_y p_y (d CE_y)^2. sigma^2 is a mean over the
inputs of a unit or channel, at most 1e2 alpha in the head, and ten times as large in
the head, biases and normalisations. The head's weights to a class that is forgotten as
a whole start from mu = 0 with sigma^2 = 1e-3; in random forgetting there is none of
them (released code then hits class 9).

Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020,
https://arxiv.org/abs/1911.04933. Constants, alpha 1e-6 among them, and 1 / F for the
paper's 1 / sqrt(F) are the released code's. F takes num_classes backward passes an
example: `examples` limits it to a random part of the retain set (0: all).
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn import surgery
from unlearn.curvature import draw, expected_fisher_diagonal
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables


@method(
    needs=("retain", "forget_classes"),
    paper="arXiv:1911.04933",
    differs="the released code's constants and 1 / F, not the paper's 1 / sqrt(F)",
    search={"alpha": (1e-9, 1e-4)},
)
def fisher_forgetting(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    alpha: float = 1e-6,
    examples: int = 0,
) -> tuple[Variables, dict]:
    """Adds noise once; `info` has its root mean square, `noise`.

    Raises:
      InputError: the model has no `activations`.
    """
    params, classes = variables["params"], problem.forget_classes
    key_examples, key_noise = jax.random.split(key)
    chosen = draw(key_examples, problem.retain, examples)
    fisher = expected_fisher_diagonal(variables, problem, chosen)
    in_head = surgery.mask(params, [surgery.head(problem, variables)])
    forgotten = jnp.zeros(problem.num_classes, bool)
    if classes is not None:
        forgotten = forgotten.at[classes].set(True)

    def distribution(weights, fisher, in_head):
        variance = alpha * jnp.minimum(1 / (fisher + 1e-8), 1e2 if in_head else 1e3)
        if weights.ndim > 1:
            variance = jnp.mean(variance, -2, keepdims=True)
        if in_head:
            weights = jnp.where(forgotten, 0.0, weights)
            variance = jnp.where(forgotten, 1e-4, variance)
        if in_head or weights.ndim == 1:
            variance = 10 * variance
        return weights, jnp.broadcast_to(jnp.sqrt(variance), weights.shape)

    pairs = jax.tree.map(distribution, params, fisher, in_head)
    mean, deviation = jax.tree.transpose(
        jax.tree.structure(params), jax.tree.structure((0, 0)), pairs
    )
    flat, unflatten = ravel_pytree(deviation)
    noise = flat * jax.random.normal(key_noise, flat.shape, flat.dtype)
    params = jax.tree.map(jnp.add, mean, unflatten(noise))
    return {**variables, "params": params}, {"noise": jnp.sqrt(jnp.mean(noise**2))}
