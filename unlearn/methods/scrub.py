"""SCRUB: a student that disobeys its teacher on the forget set and obeys elsewhere.

    epochs 1..max_epochs:  one pass over f minimising  -E_f[KL_T(teacher || student)]
    every epoch:           one pass over r minimising
                           gamma E_r[CE] + alpha E_r[KL_T(teacher || student)]

The teacher is the original, in evaluation mode, never updated. With `rewind` (SCRUB+R)
the checkpoint of the epoch is chosen whose error on the forget set is closest to the
final model's error on validation examples of the forget set's classes. Kurmanji et al.,
"Towards Unbounded Machine Unlearning", NeurIPS 2023, https://arxiv.org/abs/2302.09880.
Constants: gamma 0.99, alpha 0.001, T 4, max_epochs 2, 3 epochs of SGD 5e-4 at batches
of 128 and 32 (large scale); gamma 1, alpha 0.5, T 2-4, max_epochs 3, 10 epochs of Adam
5e-4 at batches of 32 and 64 with an L2 penalty of 0.1 that Adam scales like the rest of
the gradient (small scale; there the rate falls to a tenth after 5, 8 and 9 epochs, here
it is constant). As released, a ragged last batch counts as a full one: the last 2 of
130 examples have the say of 32 and move the student far. Here each example counts the
same, and `whole_batches=True` is as released (130 of a class of the digits: 21 % left,
66 % without).
The student starts where its KL to the teacher has no gradient: SGD leaves that point in
the first min pass, Adam in the first step, in a direction that is rounding noise.
"""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.methods.taught import taught
from unlearn.optimizers import OPTIMIZERS
from unlearn.problem import Problem, Variables
from unlearn.training import (
    Rows,
    cross_entropy,
    epoch,
    epoch_keys,
    kl_divergence,
    predict_set,
    shuffle,
    start,
)


@method(
    needs=("forget", "retain", "validation"),
    paper="arXiv:2302.09880",
    differs="a constant learning rate; a ragged last batch counts by its examples "
    "(theirs: whole_batches=True)",
    search={"learning_rate": (1e-4, 0.1), "alpha": (0.001, 1.0)},
    ascends=True,
)
def scrub(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 5e-4,
    epochs: int = 3,
    max_epochs: int = 2,
    gamma: float = 0.99,
    alpha: float = 0.001,
    temperature: float = 4.0,
    batch_size: int = 128,
    forget_batch_size: int = 32,
    weight_decay: float = 5e-4,
    optimizer: str = "sgd",
    rewind: bool = True,
    whole_batches: bool = False,
) -> tuple[Variables, dict]:
    """Alternates max and min passes; `optimizer` is one of `optimizers.OPTIMIZERS`.

    Returns `info` with `loss` (float32[epochs, steps], of the min passes),
    `forget_error` (float32[epochs], after each epoch), and, with `rewind`, the
    `validation_error` aimed at and the chosen `epoch` (1-based).

    Raises:
      InputError: `rewind` without `problem.validation` or any epoch; an unknown
        optimizer.
    """
    if rewind and not epochs:
        raise InputError("scrub with rewind goes back to one of its epochs: epochs=0")
    if optimizer not in OPTIMIZERS:
        raise InputError(
            f"unknown optimizer {optimizer!r}: choose from {', '.join(OPTIMIZERS)}"
        )
    if rewind and problem.validation is None:
        raise InputError("scrub rewinds by a validation set: give one or rewind=False")
    model = problem.model
    everything = jnp.concatenate([problem.forget, problem.retain])
    answered = taught(problem, variables, everything)
    max_epochs = min(max_epochs, epochs)
    descent = OPTIMIZERS[optimizer](learning_rate, weight_decay=weight_decay)

    def distill(variables, batch, key):
        inputs, answers = batch.inputs
        logits, variables = model.apply(variables, inputs, train=True, key=key)
        return logits, kl_divergence(answers, logits, temperature), variables

    def disobey(variables, batch, key):
        _, kl, variables = distill(variables, batch, key)
        return -jnp.mean(batch.weights * kl), variables

    def obey(variables, batch, key):
        logits, kl, variables = distill(variables, batch, key)
        losses = gamma * cross_entropy(logits, batch.labels) + alpha * kl
        return jnp.mean(batch.weights * losses), variables

    def one_pass(key, state, indices, objective, size):
        key_order, key_steps = jax.random.split(key)
        rows = shuffle(key_order, indices, size)
        rows = whole(rows) if whole_batches else rows
        return epoch(key_steps, state, answered, rows, objective, descent)

    def max_pass(key, state):
        return one_pass(key, state, problem.forget, disobey, forget_batch_size)[0]

    def min_pass(key, state):
        state, losses = one_pass(key, state, problem.retain, obey, batch_size)
        error = weighted_error(state.variables, problem, problem.forget)
        kept = state.variables if rewind else None
        return state, (losses, error, kept)

    def max_min_epoch(state, key):
        key_max, key_min = jax.random.split(key)
        return min_pass(key_min, max_pass(key_max, state))

    def min_epoch(state, key):
        return min_pass(jax.random.split(key)[1], state)

    keys = epoch_keys(key, epochs)
    state = start(variables, descent)
    state, first = jax.lax.scan(max_min_epoch, state, keys[:max_epochs])
    state, rest = jax.lax.scan(min_epoch, state, keys[max_epochs:])
    losses, errors, kept = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b]), first, rest
    )
    info = {"loss": losses, "forget_error": errors}
    if not rewind:
        return state.variables, info
    aim = validation_error(state.variables, problem)
    chosen = jnp.argmin(jnp.abs(errors - aim)).astype(jnp.int32)
    variables = jax.tree.map(lambda leaf: leaf[chosen], kept)
    return variables, info | {"validation_error": aim, "epoch": chosen + 1}


def whole(rows: Rows) -> Rows:
    """Gives a ragged last batch the say of a full one: a mean over its examples."""
    share = jnp.mean(rows.weights, -1, keepdims=True)
    return rows._replace(weights=rows.weights / share)


def weighted_error(
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Returns the share of wrongly classified examples at `indices`."""
    logits = predict_set(problem, variables, indices)
    wrong = jnp.argmax(logits, -1) != problem.labels[indices]
    return jnp.average(wrong.astype(jnp.float32), weights=weights)


def validation_error(variables: Variables, problem: Problem) -> jax.Array:
    """Returns the validation error at the class frequencies of the forget set.

    If there is none of those classes, all count alike.
    """
    held_out, classes = problem.validation, problem.num_classes
    assert held_out is not None
    in_forget = jnp.bincount(problem.labels[problem.forget], length=classes)
    available = jnp.bincount(held_out.labels, length=classes)
    weights = (in_forget / jnp.maximum(available, 1))[held_out.labels]
    weights = jnp.where(weights.sum() > 0, weights, 1.0)
    return weighted_error(variables, held_out, held_out.retain, weights)
