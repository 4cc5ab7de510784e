"""Fine-tuning: continue training on the retain set.

    minimise  E_r[CE(f(x), y)]    from the original weights

The model is left to forget by itself (catastrophic forgetting); with a small learning
rate it hardly does. Constants: 10 epochs of SGD 0.01 in Jia et al., "Model Sparsity Can
Simplify Machine Unlearning", NeurIPS 2023, https://arxiv.org/abs/2304.04934; the cosine
decay is that of the NeurIPS 2023 challenge's starting kit (5 epochs from 0.1).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.training import (
    batch_shape,
    classification,
    cross_entropy,
    epoch_keys,
    predict_set,
    shuffled_epoch,
    start,
)


@method(
    needs=("retain", "forget_classes", "validation"),
    paper="arXiv:2304.04934",
    differs="the cosine decay is that of the NeurIPS 2023 challenge's starting kit",
    search={"learning_rate": (1e-3, 1.0)},
)
def finetune(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    decay: str = "cosine",
    balance: float = 0.0,
    early_stopping: bool = False,
) -> tuple[Variables, dict]:
    """Trains on the retain set; `info["loss"]` is float32[epochs, steps].

    `decay` is the schedule of the learning rate: constant, cosine or step. `balance`
    weighs the examples: with 1 each class counts the same, with 0 each example, see
    `training.balanced`. With `early_stopping` the result is the model after
    `info["best_epoch"]`, that of least validation loss; without, it is the last.

    Raises:
      InputError: early stopping without a validation set that has retained classes.
    """
    if early_stopping:
        check_validation(problem)
    steps, _ = batch_shape(len(problem.retain), batch_size)
    rate = schedule(decay, learning_rate, epochs * steps)
    optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)

    def pass_over(state, key):
        return shuffled_epoch(
            key,
            state,
            problem,
            problem.retain,
            classification(problem.model),
            optimizer,
            batch_size=batch_size,
            balance=balance,
        )

    def keep_best(carry, scanned):
        state, best = carry
        number, key = scanned
        state, losses = pass_over(state, key)
        score = validation_loss(problem, state.variables, balance)
        now = score, number, state.variables
        better = (score < best[0]) | (number == 1)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), now, best)
        return (state, best), losses

    state, keys = start(variables, optimizer), epoch_keys(key, epochs)
    if not early_stopping:
        state, losses = jax.lax.scan(pass_over, state, keys)
        return state.variables, {"loss": losses, "best_epoch": jnp.int32(epochs)}
    best = jnp.float32(jnp.inf), jnp.int32(0), variables
    scanned = jnp.arange(1, epochs + 1, dtype=jnp.int32), keys
    (_, best), losses = jax.lax.scan(keep_best, (state, best), scanned)
    return best[2], {"loss": losses, "best_epoch": best[1]}


def check_validation(problem: Problem) -> None:
    """Refuses a problem without a validation set to stop by.

    Raises:
      InputError: there is none, or all of it is of forgotten classes. The latter cannot
        be known while the problem is traced.
    """
    remedy = "or set early_stopping=False"
    if problem.validation is None:
        raise InputError(
            f"finetune stops early by a validation set: give data.validation, {remedy}"
        )
    labels, gone = problem.validation.labels, problem.forget_classes
    if gone is None or isinstance(labels, Tracer) or isinstance(gone, Tracer):
        return
    if np.isin(np.asarray(labels), np.asarray(gone)).all():
        raise InputError(
            "finetune stops early by the validation loss on retained classes, and the "
            f"validation set has forgotten classes only: add others, {remedy}"
        )


def validation_loss(
    problem: Problem, variables: Variables, balance: float | jax.Array = 0.0
) -> jax.Array:
    """Returns the mean loss on the validation set without the forgotten classes.

    With them, the best model would be the one that forgot least. `balance` weighs the
    others as in training.
    """
    held_out, forgotten = problem.validation, problem.forget_classes
    assert held_out is not None
    logits = predict_set(held_out, variables, jnp.arange(len(held_out.labels)))
    losses, labels = cross_entropy(logits, held_out.labels), held_out.labels
    weights = 1.0 - jnp.isin(labels, forgotten).astype(jnp.float32)
    counts = jnp.bincount(labels, length=problem.num_classes)
    weights = weights * counts[labels].astype(jnp.float32) ** -balance
    return jnp.sum(weights * losses) / jnp.sum(weights)
