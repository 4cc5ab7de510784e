"""Uniform outputs, then contrast and repair: first in the NeurIPS 2023 challenge.

    once:         minimise  E_f[KL(uniform || f(x))]
    every epoch:  minimise  -E_f E_r[log softmax_r(z_f . z_r / T)]    over one pass of f
                  minimise  E_r[CE(f(x), y)]                          over one pass of r

z are logits; softmax_r runs over a retain batch whose logits are held constant, so a
forgotten example is drawn towards all of them alike. Each of the three losses has an
optimiser of its own, whose momentum lives on between epochs. Described in Triantafillou
et al., "Are we making progress in unlearning?", https://arxiv.org/abs/2406.09073.
Constants: uniform SGD 0.005; 8 epochs; contrast SGD 3e-4 with cosine decay and T 1.15;
repair SGD 0.001 an example in 64 (0.004 at batch 256) with weight decay 0.01.
Simplified: the cosine ends at 0, not at 1e-6.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.training import (
    State,
    batch_shape,
    classification,
    epoch,
    epoch_keys,
    kl_divergence,
    shuffle,
    shuffled_epoch,
    start,
)


@method(
    needs=("forget", "retain"),
    paper="NeurIPS 2023 challenge, arXiv:2406.09073",
    differs="the contrast rate decays to 0, not to 1e-6",
    search={
        "learning_rate": (3e-4, 0.1),
        "uniform_learning_rate": (1e-4, 0.1),
        "forget_learning_rate": (1e-5, 0.01),
    },
)
def kl_contrastive(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 4e-3,
    uniform_learning_rate: float = 5e-3,
    forget_learning_rate: float = 3e-4,
    epochs: int = 8,
    temperature: float = 1.15,
    batch_size: int = 256,
    forget_batch_size: int = 64,
    momentum: float = 0.9,
    weight_decay: float = 0.01,
) -> tuple[Variables, dict]:
    """Flattens, then alternates contrast and repair.

    `info["loss"]` is float32[epochs, steps], of the repairing passes.
    """
    model = problem.model
    steps, _ = batch_shape(len(problem.forget), forget_batch_size)
    decay = schedule("cosine", forget_learning_rate, epochs * steps)
    flattener = sgd(uniform_learning_rate, momentum=momentum)
    contraster = sgd(decay, momentum=momentum)
    repairer = sgd(learning_rate, momentum=momentum, weight_decay=weight_decay)

    def flatten(variables, batch, key):
        logits, variables = model.apply(variables, batch.inputs, train=True, key=key)
        kl = kl_divergence(jnp.zeros_like(logits), logits)
        return jnp.mean(batch.weights * kl), variables

    def contrast(variables, batches, key):
        forget, retain = batches
        key_forget, key_retain = jax.random.split(key)
        of_forget, variables = model.apply(
            variables, forget.inputs, train=True, key=key_forget
        )
        of_retain, variables = model.apply(
            variables, retain.inputs, train=True, key=key_retain
        )
        similarity = of_forget @ jax.lax.stop_gradient(of_retain).T / temperature
        losses = -jax.nn.log_softmax(similarity).mean(-1)
        return jnp.mean(forget.weights * losses), variables

    def one(carry, key):
        variables, of_contrast, of_repair = carry
        key_forget, key_retain, key_contrast, key_repair = jax.random.split(key, 4)
        forget = shuffle(key_forget, problem.forget, forget_batch_size)
        retain = shuffle(key_retain, problem.retain, batch_size, steps)
        state, _ = epoch(
            key_contrast,
            State(variables, of_contrast),
            problem,
            (forget, retain),
            contrast,
            contraster,
        )
        variables, of_contrast = state
        state, losses = shuffled_epoch(
            key_repair,
            State(variables, of_repair),
            problem,
            problem.retain,
            classification(model),
            repairer,
            batch_size=batch_size,
        )
        return (state.variables, of_contrast, state.opt_state), losses

    key_flatten, key_epochs = jax.random.split(key)
    state, _ = shuffled_epoch(
        key_flatten,
        start(variables, flattener),
        problem,
        problem.forget,
        flatten,
        flattener,
        batch_size=forget_batch_size,
    )
    params = state.variables["params"]
    carry = state.variables, contraster.init(params), repairer.init(params)
    carry, losses = jax.lax.scan(one, carry, epoch_keys(key_epochs, epochs))
    return carry[0], {"loss": losses}
