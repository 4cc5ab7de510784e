"""Random labels: train the forget set towards wrong labels, the retain set as before.

    minimise  (sum_f CE(f(x), y') + alpha sum_r CE(f(x), y)) / N,    y' uniform, != y

Golatkar et al., CVPR 2020 (https://arxiv.org/abs/1911.04933). One joint loss, as in the
paper of SalUn (Fan et al., ICLR 2024, https://arxiv.org/abs/2310.12508), but a mean
over examples: its E_f + a E_r is alpha = a F / R here. Batches are drawn from the
union, so every example is seen once an epoch; labels are redrawn each epoch.
SalUn's released code instead runs all forget batches and then all retain batches (on
the larger data sets it shuffles the union), and may draw the true label. Constants: 10
epochs of SGD 0.01 at batch 256. With one epoch over part of the retain set the rate
should `decay`: its last steps, wrong labels among them, are what is left of it.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import (
    batch_shape,
    classification,
    epoch,
    epoch_keys,
    schedule,
    sgd,
    shuffle,
    start,
)


def wrong_labels(key: jax.Array, labels: jax.Array, num_classes: int) -> jax.Array:
    """Draws uniformly from the other labels: int32 like `labels`."""
    offset = jax.random.randint(key, labels.shape, 1, num_classes, jnp.int32)
    return (labels + offset) % num_classes


@method(
    needs=("forget", "retain"),
    paper="arXiv:1911.04933",
    differs="one joint loss, a mean over examples; not the released code's two phases",
    search={"learning_rate": (1e-4, 0.2), "alpha": (0.3, 30.0)},
)
def random_labels(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    alpha: float = 1.0,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    decay: str = "constant",
    trainable: dict | None = None,
) -> tuple[Variables, dict]:
    """Trains on relabelled data; `info["loss"]` is float32[epochs, steps].

    `decay` is the schedule of the learning rate: constant, cosine or step.
    `trainable`: a tree of booleans like the parameters; false keeps a weight's bits.
    """
    union = jnp.concatenate([problem.forget, problem.retain])
    steps, _ = batch_shape(len(union), batch_size)
    rate = schedule(decay, learning_rate, epochs * steps)
    optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)
    weigh = (
        jnp.full(problem.labels.shape, alpha, jnp.float32).at[problem.forget].set(1.0)
    )

    def one(state, key):
        key_labels, key_order, key_steps = jax.random.split(key, 3)
        wrong = wrong_labels(
            key_labels, problem.labels[problem.forget], problem.num_classes
        )
        labels = problem.labels.at[problem.forget].set(wrong)
        rows = shuffle(key_order, union, batch_size)
        rows = rows._replace(weights=rows.weights * weigh[rows.indices])
        return epoch(
            key_steps,
            state,
            problem.replace(labels=labels),
            rows,
            classification(problem.model),
            optimizer,
            trainable=trainable,
        )

    state = start(variables, optimizer)
    state, losses = jax.lax.scan(one, state, epoch_keys(key, epochs))
    return state.variables, {"loss": losses}
