"""Noise on the filters, then balanced fine-tuning: third in the NeurIPS 2023 challenge.

    theta_1 += N(0, sigma^2)           before the first epoch
    minimise  E_r[w_y CE(f(x), y)]     w_c = R / (classes in r * examples of c in r)
    theta_1 += N(0, last_sigma^2)      before the last epoch

theta_1 is the kernel of the first layer: the released code walks over a ResNet's
top-level modules, where only the first convolution is found. With `every=True` it is
every convolution kernel (every kernel in a net without convolutions). Described in
Triantafillou et al., https://arxiv.org/abs/2406.09073. Constants: sigma 0.6, then
0.005; 4 epochs of SGD 7e-4 at batch 64, cosine decay by the epoch. A class without
retained examples has weight 0. In the released code the weights of a batch only
multiply its mean loss; here each example has its own. The constants are for thousands
of steps: on random digits (19 steps an epoch) they end at 89 % validation accuracy, 16
times the rate at 96 %; retraining has 97 %.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn.methods.masked_small_gradients import filters
from unlearn.methods.registry import method
from unlearn.optimizers import by_epoch, schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import mask, weighted_layers
from unlearn.training import (
    State,
    batch_shape,
    cross_entropy,
    epoch_keys,
    shuffled_epoch,
    start,
)


def class_weights(problem: Problem, power: float = 1.0) -> jax.Array:
    """Returns weights like count^-power in the retain set, of mean 1 over it: [K]."""
    counts = jnp.bincount(
        problem.labels[problem.retain], length=problem.num_classes
    ).astype(jnp.float32)
    weights = jnp.where(counts > 0, jnp.maximum(counts, 1) ** -power, 0.0)
    return weights * counts.sum() / jnp.sum(weights * counts)


def gaussian(key: jax.Array, params: dict) -> dict:
    """Draws independent standard normal numbers, a tree like the parameters."""
    flat, unflatten = ravel_pytree(params)
    return unflatten(jax.random.normal(key, flat.shape, flat.dtype))


@method(
    needs=("retain",),
    paper="NeurIPS 2023 challenge, arXiv:2406.09073",
    differs="class weights for each example, not for batches",
    search={"learning_rate": (3e-4, 0.1), "sigma": (0.01, 3.0)},
)
def noise_reset(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 7e-4,
    epochs: int = 4,
    sigma: float = 0.6,
    last_sigma: float = 0.005,
    every: bool = False,
    batch_size: int = 64,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Adds noise and fine-tunes; `info["loss"]` is float32[epochs, steps]."""
    model, params = problem.model, variables["params"]
    if every:
        noised = filters(params)
    else:
        first = mask(params, weighted_layers(problem, variables)[:1])
        noised = jax.tree.map(lambda w, first: first and w.ndim > 1, params, first)
    steps, _ = batch_shape(len(problem.retain), batch_size)
    rate = by_epoch(schedule("cosine", learning_rate, epochs * steps), steps)
    optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)
    weights = class_weights(problem)

    def objective(variables, batch, key):
        logits, variables = model.apply(variables, batch.inputs, train=True, key=key)
        losses = weights[batch.labels] * cross_entropy(logits, batch.labels)
        return jnp.mean(batch.weights * losses), variables

    def one(state, scanned):
        key, std = scanned
        key_noise, key_epoch = jax.random.split(key)
        variables, opt_state = state
        params = jax.tree.map(
            lambda p, noise, chosen: p + std * noise if chosen else p,
            variables["params"],
            gaussian(key_noise, variables["params"]),
            noised,
        )
        return shuffled_epoch(
            key_epoch,
            State({**variables, "params": params}, opt_state),
            problem,
            problem.retain,
            objective,
            optimizer,
            batch_size=batch_size,
        )

    number = jnp.arange(epochs)
    stds = jnp.where(number == epochs - 1, last_sigma, 0.0)
    stds = jnp.where(number == 0, sigma, stds).astype(jnp.float32)
    state = start(variables, optimizer)
    state, losses = jax.lax.scan(one, state, (epoch_keys(key, epochs), stds))
    return state.variables, {"loss": losses}
