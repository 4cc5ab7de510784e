"""Selective synaptic dampening: shrink the weights that matter most to the forget set.

    I_D, I_f = diagonal empirical Fisher over the training set and over the forget set
    where I_f > alpha I_D:   theta <- min(lambda I_D / I_f, 1) theta

No training at all. Foster et al., "Fast Machine Unlearning without Retraining through
Selective Synaptic Dampening", AAAI 2024, https://arxiv.org/abs/2308.07707: alpha 10,
lambda 1 for ResNet-18. The importances here are exact per-example ones; released code
squares batch-mean gradients (of 64 or 128), which changes with the batch: `group`.
As f is part of D, I_f <= (N / F) I_D: with alpha >= N / F nothing can ever be selected,
so the paper's alpha 10 does nothing at all to a random 10 % of the data.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn.curvature import fisher_diagonal
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables


@method(
    needs=("forget", "retain"),
    paper="arXiv:2308.07707",
    differs="exact per-example importances; the released code's by group=64; groups do "
    "not mix forgotten and retained examples",
    search={"alpha": (0.5, 50.0), "dampening": (0.1, 1.0)},
)
def ssd(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    alpha: float = 10.0,
    dampening: float = 1.0,
    group: int = 1,
) -> tuple[Variables, dict]:
    """Dampens once; `dampening` is the paper's lambda.

    Returns `info` with the share of weights `selected` and the mean `factor` of those.
    """
    del key
    on_forget = fisher_diagonal(variables, problem, problem.forget, group=group)
    on_retain = fisher_diagonal(variables, problem, problem.retain, group=group)
    return dampen(variables, problem, on_forget, on_retain, alpha, dampening)


def dampen(
    variables: Variables,
    problem: Problem,
    on_forget: dict,
    on_retain: dict,
    alpha: float,
    dampening: float,
) -> tuple[Variables, dict]:
    """Shrinks where the importance on the forget set is alpha times that on all."""
    share = problem.forget_share

    def factor(forget, retain):
        everything = share * forget + (1 - share) * retain
        shrink = jnp.minimum(dampening * everything / jnp.maximum(forget, 1e-30), 1.0)
        return jnp.where(forget > alpha * everything, shrink, 1.0)

    factors = jax.tree.map(factor, on_forget, on_retain)
    params = jax.tree.map(jnp.multiply, variables["params"], factors)
    flat = ravel_pytree(factors)[0]
    selected = flat < 1
    info = {
        "selected": jnp.mean(selected.astype(jnp.float32)),
        "factor": jnp.sum(flat * selected) / jnp.maximum(jnp.sum(selected), 1),
    }
    return {**variables, "params": params}, info
