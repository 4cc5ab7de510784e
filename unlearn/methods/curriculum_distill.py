"""Noise impairs the class; a student is then taught by the original, easy to hard.

    impair:  as UNSIR, on error-maximising noise and a retain subset
    repair:  minimise E_r[KL_T(teacher || student)] + alpha E_r[CE(student(x), y)]
             over the easiest share c(t) of the subset,
             c(t) = min(1, first_share + (1 - first_share) 2 t / steps)

The teacher is the original in evaluation mode, never updated, its forgotten classes
masked out, so that it teaches nothing of them; the student starts from the impaired
weights. An example is as hard as the teacher's loss on it, compared with the others of
its class, so that the pool keeps the classes' shares. Batches are drawn uniformly from
the pool, as many as in `epochs` passes over the subset: the budget of `unsir` with the
same constants, plus the teacher's answers.

Impair: Tarun et al., IEEE TNNLS 2023, https://arxiv.org/abs/2111.08947. Pool: Platanios
et al., NAACL 2019, https://arxiv.org/abs/1903.09848; hardness by a teacher: Hacohen &
Weinshall, ICML 2019, https://arxiv.org/abs/1904.03626; distillation: Hinton et al.,
https://arxiv.org/abs/1503.02531. Their combination has no paper; constants of the
impair as in `unsir`; T 4 as is usual; alpha 1 and first_share 0.2 are ours.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.methods.taught import taught
from unlearn.methods.unsir import impair, retain_subset
from unlearn.optimizers import adam
from unlearn.problem import Problem, Variables
from unlearn.training import (
    Rows,
    batch_shape,
    cross_entropy,
    epoch,
    kl_divergence,
    predict_set,
    start,
)

NEVER = -1e9  # a logit; finite, as 0 * inf is not a number


@method(
    needs=("retain", "forget_classes"),
    paper="arXiv:2111.08947 with arXiv:1503.02531 and arXiv:1903.09848",
    differs="its parts; the combination is in no paper",
    search={"learning_rate": (1e-4, 0.1), "repair_learning_rate": (1e-4, 0.03)},
    scope="class",
    inputs="continuous",
)
def curriculum_distill(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.02,
    repair_learning_rate: float = 0.01,
    impair_epochs: int = 1,
    epochs: int = 1,
    temperature: float = 4.0,
    alpha: float = 1.0,
    first_share: float = 0.2,
    examples: int = 9000,
    batch_size: int = 256,
    noise_images: int = 3,
    noise_copies: int = 20,
    noise_learning_rate: float = 0.1,
    noise_steps: int = 40,
    penalty: float = 0.1,
) -> tuple[Variables, dict]:
    """Impairs, then distils; `info["loss"]` is of the repair.

    Constants as in `unsir`; `first_share` is the share of the subset, the easiest, that
    the curriculum starts with (1: no curriculum).
    """
    teacher, model = variables, problem.model
    key_subset, key_impair, key_rows, key_repair = jax.random.split(key, 4)
    subset = retain_subset(key_subset, problem, examples)
    student = impair(
        key_impair,
        variables,
        problem,
        subset,
        learning_rate=learning_rate,
        epochs=impair_epochs,
        batch_size=batch_size,
        noise_images=noise_images,
        noise_copies=noise_copies,
        noise_learning_rate=noise_learning_rate,
        noise_steps=noise_steps,
        penalty=penalty,
    )

    def objective(student, batch, key):
        inputs, wanted = batch.inputs
        wanted = wanted.at[:, problem.forget_classes].set(NEVER)
        logits, student = model.apply(student, inputs, train=True, key=key)
        losses = kl_divergence(wanted, logits, temperature)
        losses += alpha * cross_entropy(logits, batch.labels)
        return jnp.mean(batch.weights * losses), student

    steps, batch_size = batch_shape(len(subset), batch_size)
    ordered = easy_to_hard(problem, teacher, subset)
    rows = growing_pool(key_rows, ordered, epochs * steps, batch_size, first_share)
    optimizer = adam(repair_learning_rate)
    lessons = taught(problem, teacher, subset)
    state, losses = epoch(
        key_repair, start(student, optimizer), lessons, rows, objective, optimizer
    )
    return state.variables, {"loss": losses.reshape(epochs, steps)}


def easy_to_hard(problem: Problem, teacher: Variables, indices: jax.Array) -> jax.Array:
    """Sorts `indices` by the rank of the teacher's loss within their class."""
    labels = problem.labels[indices]
    losses = cross_entropy(predict_set(problem, teacher, indices), labels)
    by_class = jnp.lexsort((losses, labels))
    labels = labels[by_class]
    rank = jnp.arange(len(indices)) - jnp.searchsorted(labels, labels)
    count = jnp.bincount(labels, length=problem.num_classes)[labels]
    return indices[by_class[jnp.argsort((rank + 0.5) / count)]]


def growing_pool(
    key: jax.Array, ordered: jax.Array, steps: int, batch_size: int, first_share: float
) -> Rows:
    """Draws batches from the first `first_share`; in the second half, from all.

    The pool never has fewer examples than a batch.
    """
    size = len(ordered)
    progress = jnp.minimum(1, jnp.arange(steps, dtype=jnp.float32) / max(1, steps // 2))
    pool = size * (first_share + (1 - first_share) * progress)
    pool = jnp.clip(jnp.round(pool), min(batch_size, size), size)
    drawn = jax.random.uniform(key, (steps, batch_size), jnp.float32) * pool[:, None]
    drawn = jnp.minimum(drawn.astype(jnp.int32), size - 1)
    return Rows(ordered[drawn], jnp.ones((steps, batch_size), jnp.float32))
