"""SalUn: random labels, restricted to the weights that matter to the forget set.

    m = 1[ |grad CE_f(theta_0)| is among the largest fraction p ]    (global, eval mode)
    minimise the random-label loss over m * theta;  the other weights stay theta_0

Fan et al., "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency",
ICLR 2024, https://arxiv.org/abs/2310.12508: p 0.5 over all parameters (biases and
normalisation too), 10 epochs of SGD 0.013 at batch 256. Masked weights keep their bits:
in the first release momentum and weight decay moved them. Batch statistics are not
masked. The gradient is the mean over examples, so a ragged last batch has no extra say.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn.methods.random_labels import random_labels
from unlearn.structure import largest
from unlearn.training import classification, mean_gradient


def saliency_mask(variables, problem, fraction, *, batch_size=256):
    """True for the `fraction` of weights with the largest forget gradient."""
    objective = classification(problem.model, train=False)
    gradient = mean_gradient(objective, variables, problem, problem.forget, batch_size)
    return largest(jax.tree.map(jnp.abs, gradient), fraction)


def salun(
    key,
    variables,
    problem,
    *,
    learning_rate=0.013,
    epochs=10,
    fraction=0.5,
    alpha=1.0,
    batch_size=256,
    momentum=0.9,
    weight_decay=5e-4,
    decay="constant",
):
    """Masked random labels; `info` has `loss` and the `trained` share of weights."""
    mask = saliency_mask(variables, problem, fraction, batch_size=batch_size)
    variables, info = random_labels(
        key,
        variables,
        problem,
        learning_rate=learning_rate,
        epochs=epochs,
        alpha=alpha,
        batch_size=batch_size,
        momentum=momentum,
        weight_decay=weight_decay,
        decay=decay,
        trainable=mask,
    )
    trained = jnp.mean(ravel_pytree(mask)[0].astype(jnp.float32))
    return variables, info | {"trained": trained}
