"""SCRUB: a student that disobeys its teacher on the forget set and obeys elsewhere.

    epochs 1..max_epochs:  one pass over f minimising  -E_f[KL_T(teacher || student)]
    every epoch:           one pass over r minimising
                           gamma E_r[CE] + alpha E_r[KL_T(teacher || student)]

The teacher is the original, in evaluation mode, never updated. With `rewind` (SCRUB+R)
the checkpoint of the epoch is chosen whose error on the forget set is closest to the
final model's error on validation examples of the forget set's classes. Kurmanji et al.,
"Towards Unbounded Machine Unlearning", NeurIPS 2023, https://arxiv.org/abs/2302.09880.
Constants: gamma 0.99, alpha 0.001, T 4, max_epochs 2, 3 epochs of SGD 5e-4 (large
scale); gamma 1, alpha 0.5, T 2-4, max_epochs 3, 10 epochs of Adam 5e-4 with weight
decay 0.1 (small scale). Simplified: the rate is constant, theirs falls in steps.
The student starts where its KL to the teacher has no gradient: SGD leaves that point in
the first min pass, Adam in the first step, in a direction that is rounding noise.
"""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import (
    OPTIMIZERS,
    cross_entropy,
    epoch_keys,
    kl_divergence,
    predict_set,
    shuffled_epoch,
    start,
)


@method(
    needs=("forget", "retain", "validation"),
    paper="arXiv:2302.09880",
    differs="a constant learning rate",
    search={"learning_rate": (1e-4, 0.1), "alpha": (0.001, 1.0)},
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
) -> tuple[Variables, dict]:
    """Alternates max and min passes.

    Returns `info` with `loss` (float32[epochs, steps], of the min passes),
    `forget_error` (float32[epochs], after each epoch), and, with `rewind`, the
    `validation_error` aimed at and the chosen `epoch` (1-based).

    Raises:
      InputError: `rewind` without `problem.validation`.
    """
    if rewind and problem.validation is None:
        raise InputError("scrub rewinds by a validation set: give one or rewind=False")
    teacher, model = variables, problem.model
    max_epochs = min(max_epochs, epochs)
    descent = OPTIMIZERS[optimizer](learning_rate, weight_decay=weight_decay)

    def distill(variables, batch, key):
        wanted, _ = model.apply(teacher, batch.inputs)
        logits, variables = model.apply(variables, batch.inputs, train=True, key=key)
        return logits, kl_divergence(wanted, logits, temperature), variables

    def disobey(variables, batch, key):
        _, kl, variables = distill(variables, batch, key)
        return -jnp.mean(batch.weights * kl), variables

    def obey(variables, batch, key):
        logits, kl, variables = distill(variables, batch, key)
        losses = gamma * cross_entropy(logits, batch.labels) + alpha * kl
        return jnp.mean(batch.weights * losses), variables

    def max_pass(key, state):
        state, _ = shuffled_epoch(
            key,
            state,
            problem,
            problem.forget,
            disobey,
            descent,
            batch_size=forget_batch_size,
        )
        return state

    def min_pass(key, state):
        state, losses = shuffled_epoch(
            key,
            state,
            problem,
            problem.retain,
            obey,
            descent,
            batch_size=batch_size,
        )
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
