"""Weight distortion: noise on all weights, or a push away from them; then fine-tuning.

    theta <- theta + N(0, sigma^2)
    minimise  E_r[CE(f(x), y)] - alpha |theta - theta_0|

Siddiqui et al., "From Dormant to Deleted", NeurIPS 2025,
https://arxiv.org/abs/2505.22310: how far the weights are from the original's foretells
whether forgotten examples come back when the net is trained on others. There sigma is
0.02 and alpha 0 (weight distortion), or sigma 0 and alpha 1 (weight distance), 100
epochs from a rate of 1e-5. theta_0 are the original's weights, not the noisy ones.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.noise_reset import gaussian
from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.training import batch_shape, cross_entropy, fit


@method(
    needs=("retain",),
    paper="arXiv:2505.22310",
    differs="cosine decay; few epochs at a high rate instead of 100 at a low one",
    search={"learning_rate": (1e-3, 1.0), "sigma": (1e-3, 1.0)},
)
def weight_distortion(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.05,
    epochs: int = 5,
    sigma: float = 0.02,
    alpha: float = 0.0,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Distorts and fine-tunes; `info["loss"]`, float32[epochs, steps], has alpha in."""
    key_noise, key_fit = jax.random.split(key)
    model, original = problem.model, variables["params"]
    noisy = jax.tree.map(
        lambda w, noise: w + sigma * noise, original, gaussian(key_noise, original)
    )

    def objective(variables, batch, key):
        moved = jax.tree.map(jnp.subtract, variables["params"], original)
        squares = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(moved))
        distance = jnp.sqrt(squares + 1e-12)
        logits, variables = model.apply(variables, batch.inputs, train=True, key=key)
        losses = cross_entropy(logits, batch.labels)
        return jnp.mean(batch.weights * losses) - alpha * distance, variables

    steps, _ = batch_shape(len(problem.retain), batch_size)
    rate = schedule("cosine", learning_rate, epochs * steps)
    variables, losses = fit(
        key_fit,
        {**variables, "params": noisy},
        problem,
        problem.retain,
        objective,
        sgd(rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
