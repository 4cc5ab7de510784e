"""Boundary shrink: each forget example is relabelled to its nearest wrong class.

    x' = x + bound sign(grad_x CE(f_0(x), y)),    y' = argmax_{c != y} f_0(x')_c
    minimise  E_f[CE(f(x), y')]    from the original weights

f_0 is the original, frozen, so y' is found once; x itself is what is trained on. Chen
et al., "Boundary Unlearning", CVPR 2023, https://arxiv.org/abs/2303.11570: bound 0.1 of
the pixel range (here a step of bound / std in standardised images and of bound in other
inputs, not clipped), 10 epochs of SGD 1e-5 at batch 64. The released code takes the
argmax over all classes, so where the step does not cross the boundary it trains the
true label; the nearest wrong one is what the paper describes. Simplified: the net stays
in evaluation mode.
Normalised by batches of the forget set alone, one class say, it forgets less and loses
more of the rest.
"""

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.inputs import Standardize
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import classification, cross_entropy, fit, in_order, sgd


def pixel_scale(problem: Problem) -> np.ndarray | float:
    """Returns what inputs were divided by: the std of standardised images; else 1."""
    if isinstance(problem.preprocess, Standardize):
        return np.asarray(problem.preprocess.std, np.float32)
    return 1.0


def nearest_wrong_labels(
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    bound: float,
    *,
    batch_size: int = 256,
) -> jax.Array:
    """Finds the best wrong class one FGSM step away: int32 like `indices`."""
    rows = in_order(indices, batch_size)
    step = bound / pixel_scale(problem)

    def one(row):
        x, y, _ = problem.batch(*row)

        def loss(x):
            return cross_entropy(problem.model.apply(variables, x)[0], y).sum()

        x = x + step * jnp.sign(jax.grad(loss)(x))
        logits, _ = problem.model.apply(variables, x)
        true = jnp.arange(logits.shape[-1]) == y[:, None]
        return jnp.argmax(jnp.where(true, -jnp.inf, logits), -1)

    labels = jax.lax.map(one, rows).reshape(-1)[: len(indices)]
    return labels.astype(jnp.int32)


@method(
    needs=("forget",),
    paper="arXiv:2303.11570",
    differs="batch statistics are not trained; x' is not clipped, y' never true",
    search={"learning_rate": (1e-5, 1e-2), "bound": (0.01, 0.5)},
    inputs="continuous",
)
def boundary_shrink(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-5,
    epochs: int = 10,
    bound: float = 0.1,
    batch_size: int = 64,
    momentum: float = 0.9,
) -> tuple[Variables, dict]:
    """Trains the forget set to its nearest wrong labels.

    `info` has `loss` (float32[epochs, steps]) and the `labels` (int32[F]).
    """
    nearest = nearest_wrong_labels(variables, problem, problem.forget, bound)
    labels = problem.labels.at[problem.forget].set(nearest)
    variables, losses = fit(
        key,
        variables,
        problem.replace(labels=labels),
        problem.forget,
        classification(problem.model, train=False),
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses, "labels": nearest}
