"""MUNBa: the forget and the retain gradient combined as two players would agree to.

    g_r = grad E_r[CE(f(x), y)],   g_f = grad E_f[CE(f(x), y')],   y' uniform, wrong
    maximise over directions d in a ball:   log(g_r . d) + log(g_f . d)
    => d = a_r g_r + a_f g_f   with   G^T G a = 1 / a,   G = [g_r, g_f]
    => a_i = 1 / (|g_i| sqrt(1 + cos(g_r, g_f))),   |d| = sqrt(2)
    theta -= rate * d min(1, max_norm / |d|)

The Nash bargaining solution: to first order the step lowers both losses, however much
the gradients conflict (short of opposite), and no scale of a loss changes it. Of two
players it is the bisector of the gradients, and its length is always the same: steps do
not shrink by themselves, so the learning rate is a distance and may `decay`. Where the
gradients are opposite no step helps both; the sum is 0 there and the weights stay. Wu
and Harandi, "MUNBa: Machine Unlearning via Nash Bargaining", ICCV 2025,
https://arxiv.org/abs/2411.15537. Constants of the released code, its defaults: 10
epochs of SGD 0.01, momentum 0.9, decay 5e-4, at batch 256, d clipped to norm 1 (always,
as it is sqrt(2) long). That code draws y' anew each step and may draw the true label;
its formula divides by g_r . g_f, so where the gradients are orthogonal the bargain
fails and it descends CE_r + CE_f / 10. In its loop an epoch is a pass over r: as many
steps as f has batches bargain, the rest descend, unclipped, on r alone: `phases`. Here
every step bargains; forget batches follow each other, pass after pass. Of a class of
the digits (3 and 7, at batch 64) that leaves 0 %, phases 7 %, but answers nearer to
retrained ones: .28 in total variation, against .61.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.labels import wrong_labels
from unlearn.methods.registry import method
from unlearn.methods.sfron import clipped
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.training import (
    Objective,
    batch_shape,
    classification,
    epoch,
    epoch_keys,
    shuffle,
    start,
)


def inner(a: dict, b: dict) -> jax.Array:
    """Returns the inner product of two trees of arrays."""
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)
    return sum(jax.tree.leaves(products), jnp.zeros(()))


def bargaining_weights(gram: jax.Array) -> jax.Array:
    """Returns the weights a > 0 of two gradients with gram a = 1 / a: float32[2].

    Finite also where a gradient is zero or the two are opposite, but no solution there.

    Args:
      gram: float32[2, 2], the inner products of the gradients.
    """
    lengths = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 1e-24))
    cosine = jnp.clip(gram[0, 1] / lengths[0] / lengths[1], -1, 1)
    return 1 / (lengths * jnp.sqrt(jnp.maximum(1 + cosine, 1e-6)))


def bargain(descent: Objective) -> Objective:
    """Makes an objective of a retain and a forget batch whose gradient is the bargain.

    Its value is the sum of the two losses that `descent` gives.
    """

    def loss_fn(params, variables, batch, key):
        return descent({**variables, "params": params}, batch, key)

    gradient_of = jax.value_and_grad(loss_fn, has_aux=True)

    def objective(variables, batches, key):
        params = variables["params"]
        fixed = jax.lax.stop_gradient(params)
        losses, gradients = [], []
        for batch, one in zip(batches, jax.random.split(key), strict=True):
            (loss, variables), gradient = gradient_of(fixed, variables, batch, one)
            losses.append(loss)
            gradients.append(gradient)
        gram = jnp.array([[inner(a, b) for a in gradients] for b in gradients])
        weights = bargaining_weights(gram)
        agreed = jax.tree.map(
            lambda r, f: (weights[0] * r + weights[1] * f).astype(r.dtype), *gradients
        )
        # 0 as a value, `agreed` as a gradient
        way = inner(jax.tree.map(jnp.subtract, params, fixed), agreed)
        return sum(losses) + way, variables

    return objective


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2411.15537",
    differs="every step bargains (theirs: phases=True); wrong labels are drawn once an "
    "epoch, never the true one; orthogonal gradients bargain too",
    search={"learning_rate": (1e-4, 0.1)},
)
def munba(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    max_norm: float = 1.0,
    batch_size: int = 256,
    forget_batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    decay: str = "constant",
    phases: bool = False,
    statistics: str = "batch",
) -> tuple[Variables, dict]:
    """Bargains for each step; an epoch is a pass over the retain set.

    `info["loss"]` is float32[epochs, steps]: both losses, retain's alone where only it
    is descended. `decay` is the schedule of the learning rate: constant, cosine or
    step. With `phases` one pass over the forget set bargains each epoch, the other
    retain batches are fine-tuned on. `statistics`: see `statistics.by_batch`.
    """
    descent = classification(problem.model, train=by_batch(statistics))
    steps, _ = batch_shape(len(problem.retain), batch_size)
    bargained = steps
    if phases:
        bargained = min(steps, batch_shape(len(problem.forget), forget_batch_size)[0])
    rate = schedule(decay, learning_rate, epochs * steps)
    optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)

    def one(state, key):
        key_labels, key_retain, key_forget, *keys = jax.random.split(key, 5)
        wrong = wrong_labels(key_labels, problem)
        aimed = problem.replace(labels=problem.labels.at[problem.forget].set(wrong))
        retain = shuffle(key_retain, problem.retain, batch_size)
        forget = shuffle(key_forget, problem.forget, forget_batch_size, bargained)
        first = jax.tree.map(lambda x: x[:bargained], retain), forget
        state, losses = epoch(
            keys[0],
            state,
            aimed,
            first,
            bargain(descent),
            clipped(optimizer, max_norm),
        )
        if bargained < steps:
            rest = jax.tree.map(lambda x: x[bargained:], retain)
            state, more = epoch(keys[1], state, aimed, rest, descent, optimizer)
            losses = jnp.concatenate([losses, more])
        return state, losses

    state = start(variables, optimizer)
    state, losses = jax.lax.scan(one, state, epoch_keys(key, epochs))
    return state.variables, {"loss": losses}
