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

import jax.numpy as jnp

from unlearn.curvature import importance
from unlearn.methods.ssd import dampen


def squared_norm(logits, labels):
    del labels
    return jnp.sum(jnp.square(logits.astype(jnp.float32)), -1)


def lfssd(key, variables, problem, *, alpha=10.0, dampening=1.0, group=1):
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
