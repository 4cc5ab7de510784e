"""AMUN: each forget example's nearest adversarial example is learnt with its answer.

    x* = x + d,  the first d with  argmax f_0(x + d) != y;    y* = argmax f_0(x*)
    d <- d + (radius / 10) g / |g|_2,   g = grad_d CE(f_0(x + d), y),   |d|_2 <= radius
    minimise  E[CE(f(x), y)]    over all of A = {(x*, y*)}, D_r and D_f

f_0 is the original in evaluation mode, so A is found once. The radius starts at `bound`
and doubles where `max_steps` steps have not changed the answer. An example that is
answered wrongly is its own. What the net says at x* already is soon learnt: the
boundary moves around x, and not much elsewhere. Ebrahimpour-Boroojeny et al., "Not All
Wrong is Bad", ICML 2025, https://arxiv.org/abs/2503.00917: bound 0.04 in pixels of
[0, 1], 50 steps a radius; 10 epochs of SGD 0.01 (of 0.1 to 1e-5 tried) with momentum
0.9 and decay 5e-4 at batch 128, the rate a tenth after every 1, 5 or 10 epochs. D_f
keeps its true labels, beside D_r or, where that is gone, without (`with_retain`);
`with_forget=False` is an ablation there. A is not augmented.

Of the digits true labels win: at a rate of 0.1 a perceptron keeps 99.3 % of a class and
62.5 % of 40 memorised mislabelled examples; 0.7 and 2.5 % with `with_forget=False`, and
test accuracies of 98.5 and 98.4 % (98.5 and 97.4 before).

Steps follow the log odds of y, whose gradient points as that of CE does but does not
vanish where y is certain: there the released loop gets a gradient of 0 and never ends.
A class that is forgotten as a whole is no wrong answer. Each radius begins at x, in the
released code where the last one ended. An example of which nothing is found up to the
last radius has none in A. Inputs that are no standardised images have no range: `bound`
is in their units, and x* is not clipped.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import spread
from unlearn.inputs import standardisation
from unlearn.methods.labels import bar
from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Batch, Problem, Variables
from unlearn.training import batch_shape, classification, fit, in_order

STEP = 0.1  # of the radius
BARRED = -1e9  # a logit


class Adversarial(NamedTuple):
    """The nearest adversarial example of each of N examples."""

    inputs: jax.Array  # of the model, [N, ...]
    labels: jax.Array  # int32[N]: what the model says; never the own label
    distance: jax.Array  # float32[N]: |d|_2, of images in pixels of [0, 1]
    found: jax.Array  # bool[N]; where false, the input is the example itself


class Joined(NamedTuple):
    """Examples for `training.epoch`: the N of a problem, then F adversarial ones.

    Row N + i is adversarial to the forget example i.
    """

    problem: Problem
    adversarial: Adversarial

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples at `indices`; those of the problem are augmented."""
        problem, size = self.problem, len(self.problem.labels)
        own, which = indices < size, jnp.maximum(indices - size, 0)
        near = jax.tree.map(lambda leaf: leaf[which], self.adversarial)
        near = spread.over_devices(near, problem.mesh)
        indices = jnp.where(own, indices, problem.forget[which])
        batch = problem.batch(indices, weights, key=key)
        return Batch(
            jnp.where(per_example(own, near.inputs), batch.inputs, near.inputs),
            jnp.where(own, batch.labels, near.labels),
            jnp.where(own | near.found, batch.weights, 0.0),
        )


def per_example(values: jax.Array, like: jax.Array) -> jax.Array:
    """Shapes values [B] to go with an array [B, ...]."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def norms(x: jax.Array) -> jax.Array:
    """Returns the norm of each example, [B] of [B, ...]."""
    return jnp.sqrt(jnp.sum(jnp.square(x.reshape(len(x), -1)), -1))


def scaled(x: jax.Array, lengths: jax.Array) -> jax.Array:
    """Scales each example to a length [B]; zeros stay."""
    return x * per_example(lengths / jnp.maximum(norms(x), 1e-30), x)


def nearest_adversarial(
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    bound: float | jax.Array = 0.04,
    *,
    max_steps: int = 50,
    doublings: int = 15,
    batch_size: int = 256,
) -> Adversarial:
    """Finds the nearest adversarial examples of those at `indices`, [N].

    Radii are bound, 2 bound, ..., 2^doublings bound, each of `max_steps` at most. No
    more are tried than the examples of a batch need.
    """
    known = standardisation(problem.preprocess)
    mean, std = (known.mean, known.std) if known else (0.0, 1.0)
    mean, std = (np.asarray(x, np.float32) for x in (mean, std))

    def one(row):
        x, y, _ = problem.batch(*row)
        # The wrong answers, bool[B, K].
        stays = bar(jnp.zeros((len(y), problem.num_classes)), y, problem) == 0

        def moved(d):
            return (x + d / std).astype(x.dtype)

        def logits_at(d):
            logits, _ = problem.model.apply(variables, moved(d))
            return logits.astype(jnp.float32)

        def odds(d):
            logits = logits_at(d)
            sides = (jnp.where(side, logits, BARRED) for side in (stays, ~stays))
            other, own = (jax.nn.logsumexp(side, axis=-1) for side in sides)
            answer = jnp.argmax(logits, -1, keepdims=True)
            return jnp.sum(other - own), jnp.take_along_axis(stays, answer, -1)[:, 0]

        def within(d, radius):
            d = scaled(d, jnp.minimum(norms(d), radius))
            if known is None:
                return d
            pixels = x * std + mean
            return jnp.clip(d, jnp.minimum(-pixels, 0), jnp.maximum(1 - pixels, 0))

        def step(carry):
            count, d, _ = carry
            (_, wrong), gradient = jax.value_and_grad(odds, has_aux=True)(d)
            doubled, number = count // (max_steps + 1), count % (max_steps + 1)
            radius = bound * 2.0 ** doubled.astype(jnp.float32)
            lengths = jnp.full(len(y), STEP * radius, jnp.float32)
            further = within(d + scaled(gradient, lengths), radius)
            further = jnp.where(number == max_steps, 0.0, further)  # the next radius
            return count + 1, jnp.where(per_example(wrong, d), d, further), wrong

        def unfinished(carry):
            count, _, wrong = carry
            return (count < (doublings + 1) * (max_steps + 1)) & ~jnp.all(wrong)

        start = jnp.int32(0), jnp.zeros(x.shape, jnp.float32), jnp.zeros(len(y), bool)
        _, d, wrong = jax.lax.while_loop(unfinished, step, start)
        labels = jnp.argmax(jnp.where(stays, logits_at(d), BARRED), -1)
        return Adversarial(moved(d), labels.astype(jnp.int32), norms(d), wrong)

    found = jax.lax.map(one, in_order(indices, batch_size))
    count = len(indices)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], found)


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2503.00917",
    differs="steps follow the log odds, in the direction of theirs; a class that is "
    "forgotten as a whole is no wrong answer; a constant rate (theirs: or one by step)",
    search={"learning_rate": (1e-4, 0.1)},
    inputs="continuous",
)
def amun(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    bound: float = 0.04,
    max_steps: int = 50,
    doublings: int = 15,
    with_retain: bool = True,
    with_forget: bool = True,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    decay: str = "constant",
    statistics: str = "batch",
) -> tuple[Variables, dict]:
    """Fine-tunes on the nearest adversarial examples, and on what else is asked for.

    `decay` is the schedule of the learning rate: constant, cosine or step.
    `statistics`: see `statistics.by_batch`; with forgotten examples alone
    (`with_retain=False`) frozen ones are the safer.

    Returns `info` with `loss` (float32[epochs, steps]), and of each forget example the
    adversarial `labels` (int32[F]), its `distance` (float32[F]) and whether one was
    `found` (bool[F]).
    """
    near = nearest_adversarial(
        variables,
        problem,
        problem.forget,
        bound,
        max_steps=max_steps,
        doublings=doublings,
    )
    numbers = jnp.arange(len(problem.forget), dtype=jnp.int32)
    parts = [len(problem.labels) + numbers]
    parts += [problem.retain] if with_retain else []
    parts += [problem.forget] if with_forget else []
    everything = jnp.concatenate(parts)
    count, _ = batch_shape(len(everything), batch_size)
    rate = schedule(decay, learning_rate, epochs * count)
    variables, losses = fit(
        key,
        variables,
        Joined(problem, near),
        everything,
        classification(problem.model, train=by_batch(statistics)),
        sgd(rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {
        "loss": losses,
        "labels": near.labels,
        "distance": near.distance,
        "found": near.found,
    }
