"""Amnesiac relabelling: learn fixed wrong labels for the forget set, keep the rest.

    minimise  (sum_f CE(f(x), y') + sum_r CE(f(x), y)) / N,    y' drawn once

y' is uniform over the labels that are neither the example's own nor those of a class
that is forgotten as a whole (`labels.bar`). Unlike
`random_labels`, which redraws every epoch, the net can memorise y'. Graves, Nagisetty
and Ganesh, "Amnesiac Machine Learning", AAAI 2021, https://arxiv.org/abs/2010.10981
("unlearning"; its other half, subtracting stored updates, is `unlearn.training_time`).
Constants: 3 epochs of Adam 1e-4 at batch 128, of the comparisons in the code of bad
teaching and of SSD.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.labels import wrong_labels
from unlearn.methods.registry import method
from unlearn.optimizers import adam, schedule
from unlearn.problem import Problem, Variables
from unlearn.training import batch_shape, classification, fit


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2010.10981",
    search={"learning_rate": (1e-5, 1e-2)},
)
def amnesiac_relabel(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-4,
    epochs: int = 3,
    batch_size: int = 128,
    weight_decay: float = 0.0,
    decay: str = "constant",
) -> tuple[Variables, dict]:
    """Trains on relabelled data; `info["loss"]` is float32[epochs, steps].

    `decay` is the schedule of the learning rate: constant, cosine or step.
    """
    union = jnp.concatenate([problem.forget, problem.retain])
    steps, _ = batch_shape(len(union), batch_size)
    rate = schedule(decay, learning_rate, epochs * steps)
    key_labels, key_fit = jax.random.split(key)
    wrong = wrong_labels(key_labels, problem)
    variables, losses = fit(
        key_fit,
        variables,
        problem.replace(labels=problem.labels.at[problem.forget].set(wrong)),
        union,
        classification(problem.model),
        adam(rate, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
