"""Images made of noise that stand for a class: what several methods train on.

    error-maximising:  x = argmax  CE(f(x), y) - penalty |x|^2
    error-minimising:  x = argmin  CE(f(x), y)

by Adam from standard normal noise; f is the model as given, in evaluation mode. Each
image is optimised for itself, so those of one class differ. No data is needed.
Tarun et al., "Fast Yet Effective Machine Unlearning", IEEE TNNLS 2023,
https://arxiv.org/abs/2111.08947; Chundawat et al., "Zero-Shot Machine Unlearning",
IEEE TIFS 2023, https://arxiv.org/abs/2201.05629. Constants: Adam 0.1; 40 steps and
penalty 0.1 to maximise, 30 steps to minimise.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from unlearn import chunks
from unlearn.problem import Batch, Problem, Variables
from unlearn.training import cross_entropy


def error_maximizing_noise(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    labels: jax.Array,
    *,
    learning_rate: float = 0.1,
    steps: int = 40,
    penalty: float = 0.1,
) -> jax.Array:
    """Makes an input for each label on which the model errs: float32[M, ...].

    They are what the model is applied to. `labels` is int32[M], its values may be
    traced.
    """

    def loss(inputs, logits, labels):
        norm = jnp.sum(inputs**2, tuple(range(1, inputs.ndim)))
        return penalty * norm - cross_entropy(logits, labels)

    return _descend(key, variables, problem, labels, loss, learning_rate, steps)


def error_minimizing_noise(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    labels: jax.Array,
    *,
    learning_rate: float = 0.1,
    steps: int = 30,
) -> jax.Array:
    """Makes an input for each label that the model takes for it: as above."""

    def loss(inputs, logits, labels):
        del inputs
        return cross_entropy(logits, labels)

    return _descend(key, variables, problem, labels, loss, learning_rate, steps)


def _descend(key, variables, problem, labels, loss, learning_rate, steps):
    """Descends `loss(inputs, logits, labels)`, of as many inputs as fit at once."""
    optimizer = optax.adam(learning_rate)
    shape = len(labels), *problem.input_spec.continuous_shape()
    inputs = jax.random.normal(key, shape, jnp.float32)

    def total(inputs, labels):
        logits, _ = problem.model.apply(variables, inputs)
        return jnp.sum(loss(inputs, logits, labels))

    def optimise(part):
        inputs, labels = part

        def step(state, _):
            inputs, opt_state = state
            gradient = jax.grad(total)(inputs, labels)
            updates, opt_state = optimizer.update(gradient, opt_state)
            return (optax.apply_updates(inputs, updates), opt_state), None

        state = inputs, optimizer.init(inputs)
        return jax.lax.scan(step, state, None, steps)[0][0]

    each = chunks.backward_bytes(
        lambda inputs: total(inputs, labels[:1]), inputs[:1], shared=variables
    )
    at_once = chunks.at_once(each, len(labels))
    if at_once == len(labels):
        return optimise((inputs, labels))
    parts, size = chunks.even(len(labels), at_once)
    places = jnp.arange(parts * size, dtype=jnp.int32) % len(labels)
    split = inputs[places], labels[places]
    split = jax.tree.map(lambda x: x.reshape(parts, size, *x.shape[1:]), split)
    return jax.lax.map(optimise, split).reshape(-1, *shape[1:])[: len(labels)]


class WithNoise(NamedTuple):
    """A problem whose training set goes on with noise, for `training.epoch`.

    Indices from `len(problem.labels)` on mean the noise, which is not augmented. Of a
    problem without examples: the noise alone, from index 0.
    """

    problem: Problem
    noise: jax.Array  # float32[M, ...]
    labels: jax.Array  # int32[M]

    @property
    def indices(self) -> jax.Array:
        """Returns the indices of the noise: int32[M]."""
        return self._start + jnp.arange(len(self.labels), dtype=jnp.int32)

    @property
    def _start(self) -> int:
        return 0 if self.problem.examples is None else len(self.problem.labels)

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples and the noise at `indices`, see `Problem.batch`."""
        if weights is None:
            weights = jnp.ones(indices.shape, jnp.float32)
        of_noise = jnp.maximum(indices - self._start, 0)
        made = Batch(self.noise[of_noise], self.labels[of_noise], weights)
        if not self._start:
            return made
        is_noise = indices >= self._start
        real = self.problem.batch(jnp.where(is_noise, 0, indices), weights, key=key)
        one = (1,) * (made.inputs.ndim - 1)
        return Batch(
            jnp.where(is_noise.reshape(-1, *one), made.inputs, real.inputs),
            jnp.where(is_noise, made.labels, real.labels),
            weights,
        )
