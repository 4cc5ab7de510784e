"""Rewinding: back to an early epoch of the original's training, then on without f.

    theta <- theta_e        the original's weights after `epoch` epochs of its training
    minimise  E_r[CE(f(x), y)]

What is memorised is learnt late: a net that has seen the forget set for an epoch or two
knows hardly more of it than of any other examples, and needs far less than a fresh one
to become as good. Back to the end it is fine-tuning, back to the start retraining; on
the digits (30 epochs) what comes back from epoch 1 leaks nothing and from 8 nearly all.
Mu & Klabjan, "Rewind-to-Delete", 2024, https://arxiv.org/abs/2409.09778, with noise of
`sigma` on the weights at the end for their bound, which is not computed here.

The early weights must have been kept, and they depend on what is forgotten: they are as
confidential as the original, and no deletion is complete while they are there.
"""

import jax

from unlearn.errors import InputError
from unlearn.methods.noise_reset import gaussian
from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.training import batch_shape, classification, fit


@method(
    needs=("retain", "early"),
    paper="arXiv:2409.09778",
    differs="cosine decay and momentum; batches; the bound is not computed",
    search={"learning_rate": (1e-2, 1.0)},
)
def rewind(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    epoch: int = 1,
    learning_rate: float = 0.05,
    epochs: int = 5,
    sigma: float = 0.0,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup_epochs: int = 0,
) -> tuple[Variables, dict]:
    """Rewinds and trains on; `info["loss"]` is float32[epochs, steps].

    Raises:
      InputError: `problem.early` has no weights of that epoch.
    """
    del variables
    early = early_weights(problem, epoch, "rewind")
    key_fit, key_noise = jax.random.split(key)
    steps, _ = batch_shape(len(problem.retain), batch_size)
    warmup = warmup_epochs * steps
    rate = schedule("cosine", learning_rate, epochs * steps, warmup)
    variables, losses = fit(
        key_fit,
        early,
        problem,
        problem.retain,
        classification(problem.model),
        sgd(rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    noise = gaussian(key_noise, variables["params"])
    params = jax.tree.map(lambda w, n: w + sigma * n, variables["params"], noise)
    return {**variables, "params": params}, {"loss": losses}


def early_weights(problem: Problem, epoch: int, method: str) -> Variables:
    """Returns the original's variables after an epoch of its training.

    Raises:
      InputError: they were not kept.
    """
    kept = problem.early or {}
    if epoch not in kept:
        raise InputError(
            f"{method} needs the original after epoch {epoch} of its training, in "
            f"problem.early, which has {sorted(kept) or 'none'}: keep it while "
            "training, or choose another method"
        )
    return kept[epoch]
