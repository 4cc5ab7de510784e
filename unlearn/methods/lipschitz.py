"""JiT: the net is made smooth around the forget examples.

    minimise  E_f E_xi[ |f(x) - f(x + xi)|_2 / |xi|_2 ],    xi ~ N(0, sigma^2)

What was memorised is sharp; smoothing moves the boundary over it. Foster et al., "An
Information Theoretic Approach to Machine Unlearning", 2024,
https://arxiv.org/abs/2402.01401: one epoch of SGD, 25 copies a batch of 128; sigma 0.5
with 3e-4 on the sum over the batch (about 0.04 on the mean, as here) for a VGG and a
class, sigma 0.01 for random examples. As in the released code f(x + xi) is a constant:
f(x) is pulled towards it. The formula as written (`through_noise=True`) damages the
retain set of the digits before it forgets. Not as released: noisy images are not
clipped to the batch's range, and gradients are zeroed each step (`momentum=1.0` sums
them as there). The net is in evaluation mode; batch statistics stay.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import fit


def norm(x: jax.Array) -> jax.Array:
    """Returns the norm of each example, with gradient 0 where it is 0."""
    return jnp.sqrt(jnp.sum(x.reshape(len(x), -1) ** 2, -1) + 1e-12)


@method(
    needs=("forget",),
    paper="arXiv:2402.01401",
    differs="f(x + xi) is a constant, as in released code; noise is not clipped",
    search={"learning_rate": (1e-4, 1.0), "sigma": (0.01, 1.0)},
    inputs="continuous",
)
def lipschitz(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.04,
    epochs: int = 1,
    sigma: float = 0.5,
    copies: int = 25,
    batch_size: int = 128,
    momentum: float = 0.0,
    through_noise: bool = False,
) -> tuple[Variables, dict]:
    """Smooths; `info["loss"]`, float32[epochs, steps], is the mean slope."""
    model = problem.model

    def objective(variables, batch, key):
        logits, _ = model.apply(variables, batch.inputs)

        def slope(variables, key):
            noise = sigma * jax.random.normal(
                key, batch.inputs.shape, batch.inputs.dtype
            )
            noisy, _ = model.apply(variables, batch.inputs + noise)
            return norm(logits - noisy) / norm(noise)

        if through_noise:  # without the activations of all copies in memory
            slope, around = jax.checkpoint(slope), variables
        else:
            around = jax.lax.stop_gradient(variables)
        keys = jax.random.split(key, copies)
        slopes = jax.lax.map(lambda key: slope(around, key), keys)
        return jnp.mean(batch.weights * slopes), variables

    variables, losses = fit(
        key,
        variables,
        problem,
        problem.forget,
        objective,
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
