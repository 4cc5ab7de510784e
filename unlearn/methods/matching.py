"""Fitting all logits on the forget set and a fresh sample of the retain set.

    minimise  E_{F ∪ S}[ |f(x) − t(x)|² / K ],   S: some examples of R for each of F

What the target t is makes a method (`datamodel_matching`) or a control of audits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from unlearn.methods.taught import Taught, Teacher
from unlearn.problem import Problem, Variables
from unlearn.training import batch_shape, epoch_keys, shuffled_epoch, start


class Matching(NamedTuple):
    """How long and how fast logits are fitted; the floats may be traced."""

    epochs: int = 5
    ratio: int = 3  # retained examples, drawn anew each epoch, for one to forget
    batch_size: int = 64
    learning_rate: float = 5e-3
    decay_rate: float = 0.95  # of the rate, an epoch


def match_logits(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    teacher: Teacher,
    matching: Matching,
) -> tuple[Variables, jax.Array]:
    """Fits the teacher's logits by Adam; returns also the losses float32[epochs, S]."""
    forget, retain, model = problem.forget, problem.retain, problem.model
    drawn = min(matching.ratio * len(forget), len(retain))
    steps, _ = batch_shape(len(forget) + drawn, matching.batch_size)

    def rate(step):
        return matching.learning_rate * matching.decay_rate ** (step // steps)

    def objective(variables, batch, key):
        inputs, answers = batch.inputs
        logits, variables = model.apply(variables, inputs, train=True, key=key)
        errors = jnp.mean((logits.astype(jnp.float32) - answers) ** 2, axis=-1)
        return jnp.mean(batch.weights * errors), variables

    optimizer, lesson = optax.adam(rate), Taught(problem, teacher)

    def one(state, key):
        key_drawn, key_epoch = jax.random.split(key)
        sample = jax.random.choice(key_drawn, retain, (drawn,), replace=False)
        indices = jnp.concatenate([forget, sample])
        args = key_epoch, state, lesson, indices, objective, optimizer
        return shuffled_epoch(*args, batch_size=matching.batch_size)

    begin, keys = start(variables, optimizer), epoch_keys(key, matching.epochs)
    state, losses = jax.lax.scan(one, begin, keys)
    return state.variables, losses
