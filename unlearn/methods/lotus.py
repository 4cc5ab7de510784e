"""LoTUS: the original's answers, blurred on f for as long as f is better known.

    before each epoch:  gap = accuracy of f - accuracy of the original on held-out data
                        stop for good if gap <= -margin
                        tau = exp(alpha gap)
    minimise  -E_{f and r'}[sum_c t_c(x) log softmax_c(f(x))]    over one pass
    t(x) = softmax((f_0(x) + g) / tau)         on f
    t(x) = one-hot of argmax(f_0(x) + g)       on r'    g: Gumbel noise, fresh each time

f_0 is the original in evaluation mode, never updated; r' is a random share of r, drawn
once. No label is read but for the accuracies. A hard target is a draw from the
original's softmax, the limit of the soft one at tau 0. Classes that are forgotten as a
whole should not be known at all: the accuracy aimed at is 0, and no held-out data is
needed. Spartalis et al., "LoTUS: Large-Scale Machine Unlearning with a Taste of
Uncertainty", CVPR 2025, https://arxiv.org/abs/2503.18314: 30 % of r, margin 0.01, AdamW
with weight decay 5e-4. ResNet-18: 10 epochs of 1e-4 at batch 128, alpha 2, for CIFAR-10
8 and for classes 32; ViT: 3 epochs of 1e-6 at batch 32 (ImageNet 256), alpha 2. The
released code rounds accuracies to percents before it compares them.
`gumbel=False` is its ablation: g is 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.methods.taught import Taught, taught
from unlearn.problem import Batch, Problem, Variables
from unlearn.training import (
    batch_shape,
    epoch_keys,
    predict_set,
    shuffled_epoch,
    start,
)


@method(
    needs=("forget", "retain", "forget_classes", "validation"),
    paper="arXiv:2503.18314",
    differs="accuracies are not rounded to percents; a ragged last batch counts by its "
    "examples",
    search={"learning_rate": (1e-6, 1e-2), "alpha": (1.0, 32.0)},
)
def lotus(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-4,
    epochs: int = 10,
    alpha: float = 2.0,
    margin: float = 0.01,
    retain_percent: int = 30,
    batch_size: int = 128,
    weight_decay: float = 5e-4,
    gumbel: bool = True,
) -> tuple[Variables, dict]:
    """Distils blurred answers until f is known no better than held-out data.

    Returns `info` with `loss` (float32[epochs, steps]), `forget_accuracy` and
    `temperature` (float32[epochs], before each epoch), the `target_accuracy` and
    `epochs`, how many there were before it stopped; later ones have a loss of 0.

    Raises:
      InputError: no validation set, and no classes that are forgotten as a whole.
    """
    key_share, key_fit = jax.random.split(key)
    count = max(1, len(problem.retain) * retain_percent // 100)
    retain = jax.random.choice(key_share, problem.retain, (count,), replace=False)
    chosen = jnp.concatenate([problem.forget, retain])
    forgotten = jnp.zeros(problem.labels.shape, bool).at[problem.forget].set(True)
    marked = Marked(taught(problem, variables, chosen), forgotten)
    target = target_accuracy(problem, variables)
    optimizer = optax.adamw(learning_rate, weight_decay=weight_decay)
    steps, _ = batch_shape(len(chosen), batch_size)

    def distil(variables, batch, key, temperature):
        inputs, answers, blurred = batch.inputs
        key_model, key_noise = jax.random.split(key)
        logits, variables = problem.model.apply(
            variables, inputs, train=True, key=key_model
        )
        noise = jax.random.gumbel(key_noise, answers.shape, answers.dtype)
        noise = noise if gumbel else jnp.zeros_like(noise)
        wanted = targets(answers + noise, blurred, temperature)
        losses = -jnp.sum(wanted * jax.nn.log_softmax(logits.astype(jnp.float32)), -1)
        return jnp.mean(batch.weights * losses), variables

    def train(state, key, temperature):
        def objective(variables, batch, key):
            return distil(variables, batch, key, temperature)

        args = key, state, marked, chosen, objective, optimizer
        return shuffled_epoch(*args, batch_size=batch_size)

    def leave(state, key, temperature):
        return state, jnp.zeros(steps, jnp.float32)

    def one(state, key):
        found = accuracy(problem, state.variables, problem.forget)
        gap = found - target
        going = gap > -margin  # once it is false, nothing changes any more
        temperature = jnp.exp(alpha * gap)
        state, losses = jax.lax.cond(going, train, leave, state, key, temperature)
        return state, (losses, going, found, temperature)

    state = start(variables, optimizer)
    state, told = jax.lax.scan(one, state, epoch_keys(key_fit, epochs))
    losses, going, found, temperatures = told
    return state.variables, {
        "loss": losses,
        "forget_accuracy": found,
        "temperature": temperatures,
        "target_accuracy": target,
        "epochs": jnp.sum(going.astype(jnp.int32)),
    }


class Marked(NamedTuple):
    """A taught problem whose batches have `(inputs, answers, forgotten)` as inputs."""

    taught: Taught
    forgotten: jax.Array  # bool[N]

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples at `indices`, taught, and which of them go: bool[B]."""
        batch = self.taught.batch(indices, weights, key=key)
        return batch._replace(inputs=(*batch.inputs, self.forgotten[indices]))


def targets(
    noisy: jax.Array, blurred: jax.Array, temperature: float | jax.Array
) -> jax.Array:
    """Returns what the student should answer, float32[B, K].

    Args:
      noisy: the original's logits, with Gumbel noise or without, float32[B, K].
      blurred: bool[B]: a softmax at `temperature`; elsewhere the one-hot maximum.
    """
    soft = jax.nn.softmax(noisy / temperature)
    hard = jax.nn.one_hot(jnp.argmax(noisy, -1), noisy.shape[-1], dtype=noisy.dtype)
    return jnp.where(blurred[:, None], soft, hard)


def target_accuracy(problem: Problem, variables: Variables) -> jax.Array:
    """Returns the accuracy that the forget set should have, a float32.

    That of the model on the validation set, or 0 if classes are forgotten as a whole.

    Raises:
      InputError: there is no validation set to take it from.
    """
    if problem.forget_classes is not None and len(problem.forget_classes):
        return jnp.float32(0)
    held_out = problem.validation
    if held_out is None:
        raise InputError(
            "lotus needs a validation set, whose accuracy it aims at: give "
            "data.validation, or choose another method"
        )
    return accuracy(held_out, variables, jnp.arange(len(held_out.labels)))


def accuracy(problem: Problem, variables: Variables, indices: jax.Array) -> jax.Array:
    """Returns the share of rightly classified examples at `indices`, a float32."""
    logits = predict_set(problem, variables, indices)
    right = jnp.argmax(logits, -1) == problem.labels[indices]
    return jnp.mean(right.astype(jnp.float32))
