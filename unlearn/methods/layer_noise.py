"""Noise on random layers, epoch after epoch: seventh in the NeurIPS 2023 challenge.

    the head starts anew; each epoch minimises  E_r[CE(f(x), y)]:
    epoch 1:                        over `count` random layers
    2 .. epochs - tail_epochs:      the same, a `share` of them first += N(0, sigma^2)
    the last tail_epochs:           all layers, the very last at `last` x the rate

Layers outside the draw keep their weights in that epoch; normalisations always train.
Momentum starts anew with every epoch. Described in Triantafillou et al.,
https://arxiv.org/abs/2406.09073. Constants: 9 epochs, 4 of them the tail, of SGD 2e-4
at batch 64, the last one at 1e-3; 9 layers, of which 0.7 noised, sigma 0.04.
Simplified: a layer is a kernel with its bias (released code draws them apart) and may
be noised more than once (there, only before the first epoch that trains it).
"""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.methods.noise_reset import gaussian
from unlearn.methods.registry import method
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import at, fresh, mask, replace, select, weighted_layers
from unlearn.training import classification, epoch_keys, shuffled_epoch, start


@method(
    needs=("retain",),
    paper="NeurIPS 2023 challenge, arXiv:2406.09073",
    differs="a layer is a kernel with its bias, and may be noised more than once",
    search={"learning_rate": (3e-4, 0.1), "sigma": (0.01, 0.5)},
)
def layer_noise(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 2e-4,
    epochs: int = 9,
    tail_epochs: int = 4,
    last: float = 5.0,
    count: int = 9,
    share: float = 0.7,
    sigma: float = 0.04,
    batch_size: int = 64,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Resets the head, noises and fine-tunes; `info["loss"]` is float32[epochs, steps].

    Raises:
      InputError: no epoch is left for noise.
    """
    if epochs < tail_epochs + 2:
        raise InputError(
            f"layer_noise with {tail_epochs} tail epochs has noise from "
            f"{tail_epochs + 2} epochs on; there are {epochs}: lower tail_epochs"
        )
    key_fresh, key_epochs = jax.random.split(key)
    layers = weighted_layers(problem, variables)
    count = min(count, len(layers))
    noised = jnp.maximum(1, jnp.floor(share * count + 1e-4))
    params = select(
        mask(variables["params"], layers[-1:]),
        fresh(key_fresh, problem)["params"],
        variables["params"],
    )
    trues, falses = (
        jax.tree.map(lambda _, value=value: value, params) for value in (True, False)
    )

    def spread(tree, flags):
        """Gives `tree` one flag for all arrays of each layer."""
        for path, flag in zip(layers, flags, strict=True):
            layer = jax.tree.map(lambda _, flag=flag: flag, at(params, path))
            tree = replace(tree, path, layer)
        return tree

    def one(variables, scanned):
        key, number = scanned
        key_layers, key_noise, key_epoch = jax.random.split(key, 3)
        in_tail = number > epochs - tail_epochs
        rank = jax.random.permutation(
            key_layers, jnp.arange(len(layers), dtype=jnp.int32)
        )
        moved = spread(falses, (rank < noised) & (number > 1) & ~in_tail)
        trainable = spread(trues, (rank < count) | in_tail)
        params = jax.tree.map(
            lambda p, noise, flag: jnp.where(flag, p + sigma * noise, p),
            variables["params"],
            gaussian(key_noise, variables["params"]),
            moved,
        )
        rate = jnp.where(in_tail & (number == epochs), last, 1.0) * learning_rate
        optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)
        state, losses = shuffled_epoch(
            key_epoch,
            start({**variables, "params": params}, optimizer),
            problem,
            problem.retain,
            classification(problem.model),
            optimizer,
            batch_size=batch_size,
            trainable=trainable,
        )
        return state.variables, losses

    scanned = epoch_keys(key_epochs, epochs), jnp.arange(1, epochs + 1, dtype=jnp.int32)
    after, losses = jax.lax.scan(one, {**variables, "params": params}, scanned)
    return after, {"loss": losses}
