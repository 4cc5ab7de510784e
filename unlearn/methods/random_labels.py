"""Random labels: train the forget set towards wrong labels, the retain set as before.

    minimise  (sum_f CE(f(x), y') + alpha sum_r CE(f(x), y)) / N,    y' uniform, != y
    phases:   each epoch one pass over f with y', then one pass over r, by one optimiser

Golatkar et al., CVPR 2020 (https://arxiv.org/abs/1911.04933). One joint loss, as in the
paper of SalUn (Fan et al., ICLR 2024, https://arxiv.org/abs/2310.12508), but a mean
over examples: its E_f + a E_r is alpha = a F / R here. Batches are drawn from the
union, so every example is seen once an epoch; labels are redrawn each epoch, never the
own nor one of a class that is forgotten as a whole. `phases` is the loop of SalUn's
released code for CIFAR-10 and SVHN, with which its numbers were made (on the larger
data sets it shuffles the union); that code may draw the true label. The retain pass
comes last and heals: 98.4 % of a class of the digits stayed, 0.3 % by the joint loss.
Constants: 10 epochs of SGD 0.01 at batch 256. With one epoch over part of the retain
set the rate should `decay`: its last steps, wrong labels among them, are what is left.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.labels import wrong_labels
from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.training import (
    batch_shape,
    classification,
    epoch,
    epoch_keys,
    shuffle,
    start,
)


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:1911.04933",
    differs="one joint loss, a mean over examples (theirs: phases=True); the true "
    "label is never drawn",
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
    phases: bool = False,
    trainable: dict | None = None,
) -> tuple[Variables, dict]:
    """Trains on relabelled data; `info["loss"]` is float32[epochs, steps].

    `decay` is the schedule of the learning rate: constant, cosine or step. With
    `phases` all forget batches come first, then all retain batches, each epoch;
    `alpha` weighs these here too.
    `trainable`: a tree of booleans like the parameters; false keeps a weight's bits.
    """
    parts = [problem.forget, problem.retain]
    if not phases:
        parts = [jnp.concatenate(parts)]
    steps = sum(batch_shape(len(part), batch_size)[0] for part in parts)
    rate = schedule(decay, learning_rate, epochs * steps)
    optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)
    weigh = (
        jnp.full(problem.labels.shape, alpha, jnp.float32).at[problem.forget].set(1.0)
    )

    def one(state, key):
        key_labels, *keys = jax.random.split(key, 1 + len(parts))
        wrong = wrong_labels(key_labels, problem)
        labels, losses = problem.labels.at[problem.forget].set(wrong), []
        for key, part in zip(keys, parts, strict=True):
            key_order, key_steps = jax.random.split(key)
            rows = shuffle(key_order, part, batch_size)
            rows = rows._replace(weights=rows.weights * weigh[rows.indices])
            state, of_part = epoch(
                key_steps,
                state,
                problem.replace(labels=labels),
                rows,
                classification(problem.model),
                optimizer,
                trainable=trainable,
            )
            losses.append(of_part)
        return state, jnp.concatenate(losses)

    state = start(variables, optimizer)
    state, losses = jax.lax.scan(one, state, epoch_keys(key, epochs))
    return state.variables, {"loss": losses}
