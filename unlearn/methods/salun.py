"""SalUn: random labels, restricted to the weights that matter to the forget set.

    m = 1[ |grad CE_f(theta_0)| is among the largest fraction p ]    (global, eval mode)
    minimise the random-label loss over m * theta;  the other weights stay theta_0

Fan et al., "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency",
ICLR 2024, https://arxiv.org/abs/2310.12508: p 0.5 over all parameters (biases and
normalisation too), 10 epochs of SGD 0.013 at batch 256. Masked weights keep their bits:
in the first release momentum and weight decay moved them. Batch statistics are not
masked. The gradient is the mean over examples, so a ragged last batch has no extra say.
The loss, and the released code's two `phases`, which its numbers need: `random_labels`.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn.curvature import mean_gradient
from unlearn.methods.random_labels import random_labels
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.surgery import largest
from unlearn.training import classification


def saliency_mask(
    variables: Variables, problem: Problem, fraction: float, *, batch_size: int = 256
) -> dict:
    """Returns a mask: true for the `fraction` of weights of largest forget gradient."""
    objective = classification(problem.model, train=False)
    gradient = mean_gradient(objective, variables, problem, problem.forget, batch_size)
    return largest(jax.tree.map(jnp.abs, gradient), fraction)


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2310.12508",
    differs="one joint loss, a mean over examples (theirs: phases=True); the true "
    "label is never drawn; the mask's gradient is a mean over examples, not batches",
    search={"learning_rate": (1e-4, 0.2), "alpha": (0.3, 30.0), "fraction": (0.1, 0.9)},
)
def salun(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.013,
    epochs: int = 10,
    fraction: float = 0.5,
    alpha: float = 1.0,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    decay: str = "constant",
    phases: bool = False,
) -> tuple[Variables, dict]:
    """Trains the masked weights; `info` has `loss` and the `trained` share."""
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
        phases=phases,
        trainable=mask,
    )
    trained = jnp.mean(ravel_pytree(mask)[0].astype(jnp.float32))
    return variables, info | {"trained": trained}
