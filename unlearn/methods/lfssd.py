"""Loss-free selective synaptic dampening: SSD with importances that need no labels.

    O_D, O_f = E |d ||f(x)||^2 / d theta| over the training set and over the forget set
    where O_f > alpha O_D:   theta <- min(lambda O_D / O_f, 1) theta

f(x) are the logits. No training at all, and no label is read. Foster et al.,
"Loss-Free Machine Unlearning", ICLR 2024 (tiny papers),
https://arxiv.org/abs/2402.19308; the sensitivity is that of memory-aware synapses
(Aljundi et al., ECCV 2018). alpha 10 and lambda 1 are SSD's for ResNet-18. The
importances here are exact per-example ones; released code takes batch-mean gradients,
which changes with the batch: `group`. As for SSD, O_f <= (N / F) O_D: with alpha >=
N / F nothing can ever be selected. Absolute gradients spread less than SSD's squared
ones, so the alpha that selects as many weights is about the root of SSD's.
"""

import jax
import jax.numpy as jnp

from unlearn.curvature import importance
from unlearn.methods.registry import method
from unlearn.methods.ssd import dampen
from unlearn.problem import Problem, Variables


def squared_norm(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the squared length of each row: float32[B]. No label is read."""
    del labels
    return jnp.sum(jnp.square(logits.astype(jnp.float32)), -1)


@method(
    needs=("forget", "retain"),
    paper="arXiv:2402.19308",
    differs="exact per-example importances; the released code's by group=64; groups do "
    "not mix forgotten and retained examples",
    search={"alpha": (0.5, 20.0), "dampening": (0.1, 1.0)},
)
def lfssd(
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

    def sensitivity(indices):
        return importance(
            variables, problem, indices, squared_norm, jnp.abs, group=group
        )

    on_forget, on_retain = sensitivity(problem.forget), sensitivity(problem.retain)
    return dampen(variables, problem, on_forget, on_retain, alpha, dampening)
