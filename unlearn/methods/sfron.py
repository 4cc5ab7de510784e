"""SFRon: masked, adaptive ascent on f, followed by steps that repair r.

    m = 1[ I_f >= gamma I_r ]    of the original's diagonal Fisher information
    forget step:     theta += rate alpha_t m * grad sum_f w CE,    w ~ CE^-lambda, sum 1
    retain_steps x:  theta -= rate grad E_r[CE]

The weights w are constants to the gradient: what is forgotten already is not pushed
further. alpha_t and the rate fall by a cosine; the masked gradient is clipped. Weights
outside the mask never feel the forget gradient and keep their bits in forget steps,
whatever momentum and weight decay say; retain steps move all weights. An epoch is a
pass over f. Huang et al., "Unified Gradient-Based Machine Unlearning with Remain
Geometry Enhancement", NeurIPS 2024, https://arxiv.org/abs/2409.19732: gamma 1, lambda
0.5, alpha 25, norm 7, 5 retain steps of SGD 0.01 at batch 128, 1500 of them (8 epochs
for 10 % of CIFAR-10). As w favours what is remembered best, where the gradient is
least, well-fitted small nets take an alpha of about 1000. Left out is the slow update,
which their constant of 1 disables. CE is floored at 1e-6 in w, about what float32
resolves: 0 would give no number. As released, the importances are of mean gradients of
`group` examples, one backward pass a group; group=1 is exact, and is a backward pass
for each retained example, which takes longer than all the steps. Groups are as large as
the forget set if that is smaller, for both sets: means over more examples are smaller.
"""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from unlearn.curvature import fisher_diagonal
from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import select
from unlearn.training import (
    batch_shape,
    classification,
    cross_entropy,
    descend,
    epoch,
    epoch_keys,
    shuffle,
    start,
)


def fisher_mask(
    variables: Variables, problem: Problem, threshold: float, *, group: int
) -> dict:
    """Returns a mask: true where f matters at least `threshold` times as much as r."""
    group = min(group, len(problem.forget), len(problem.retain))
    on_forget = fisher_diagonal(variables, problem, problem.forget, group=group)
    on_retain = fisher_diagonal(variables, problem, problem.retain, group=group)
    return jax.tree.map(
        lambda f, r: f + 1e-15 >= threshold * (r + 1e-15), on_forget, on_retain
    )


def adaptive_mean(losses: jax.Array, weights: jax.Array, exponent: float) -> jax.Array:
    """Averages with weights `losses ** -exponent`, held constant."""
    shares = weights * jnp.maximum(losses, 1e-6) ** -exponent
    shares = jax.lax.stop_gradient(shares / shares.sum())
    return jnp.sum(shares * losses)


def clipped(
    optimizer: optax.GradientTransformation, max_norm: float
) -> optax.GradientTransformation:
    """Wraps an optimizer, with the same state, to bound the norm of gradients."""

    def update(updates, state, params=None):
        norm = jnp.linalg.norm(ravel_pytree(updates)[0])
        shrink = max_norm / jnp.maximum(norm, max_norm)
        updates = jax.tree.map(lambda g: (shrink * g).astype(g.dtype), updates)
        return optimizer.update(updates, state, params)

    return optax.GradientTransformation(optimizer.init, update)


@method(
    needs=("forget", "retain"),
    paper="arXiv:2409.19732",
    differs="forget steps keep the bits of masked weights; no slow update (off in "
    "their code); groups no larger than the forget set",
    search={"learning_rate": (1e-3, 0.1), "alpha": (10.0, 1e5)},
    ascends=True,
)
def sfron(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 8,
    alpha: float = 25.0,
    threshold: float = 1.0,
    exponent: float = 0.5,
    max_norm: float = 7.0,
    retain_steps: int = 5,
    batch_size: int = 128,
    forget_batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    group: int = 128,
) -> tuple[Variables, dict]:
    """Alternates forgetting and repair; `threshold` is gamma, `exponent` lambda.

    Returns `info` with `loss` (float32[epochs, steps], of the retain steps) and the
    `trained` share of weights that forget steps may move.
    """
    model = problem.model
    mask = fisher_mask(variables, problem, threshold, group=group)
    steps, _ = batch_shape(len(problem.forget), forget_batch_size)
    rate = schedule("cosine", learning_rate, epochs * steps * (1 + retain_steps))
    optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)
    strength = schedule("cosine", alpha, epochs * steps)

    def forget_step(key, number, state, row):
        key_model, key_augment = jax.random.split(key)

        def ascent(variables, batch, key):
            params = variables["params"]
            params = select(mask, params, jax.lax.stop_gradient(params))
            logits, variables = model.apply(
                {**variables, "params": params}, batch.inputs, train=True, key=key
            )
            losses = cross_entropy(logits, batch.labels)
            mean = adaptive_mean(losses, batch.weights, exponent)
            return -strength(number) * mean, variables

        batch = problem.batch(*row, key=key_augment)
        climb = clipped(optimizer, max_norm)
        return descend(ascent, climb, state, batch, key_model, mask)[0]

    def forget_then_repair(state, scanned):
        key, number, forget, retain = scanned
        key_forget, key_retain = jax.random.split(key)
        state = forget_step(key_forget, number, state, forget)
        return epoch(
            key_retain, state, problem, retain, classification(model), optimizer
        )

    def one(state, scanned):
        key, numbers = scanned
        key_forget, key_retain, key_steps = jax.random.split(key, 3)
        forget = shuffle(key_forget, problem.forget, forget_batch_size)
        retain = shuffle(key_retain, problem.retain, batch_size, steps * retain_steps)
        retain = jax.tree.map(
            lambda x: x.reshape(steps, retain_steps, *x.shape[1:]), retain
        )
        keys = jax.random.split(key_steps, steps)
        state, losses = jax.lax.scan(
            forget_then_repair, state, (keys, numbers, forget, retain)
        )
        return state, losses.reshape(-1)

    numbers = jnp.arange(epochs * steps, dtype=jnp.int32).reshape(epochs, steps)
    state, losses = jax.lax.scan(
        one, start(variables, optimizer), (epoch_keys(key, epochs), numbers)
    )
    trained = jnp.mean(ravel_pytree(mask)[0].astype(jnp.float32))
    return state.variables, {"loss": losses, "trained": trained}
