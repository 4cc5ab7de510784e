"""Residual knowledge: what perturbed queries still find of the forget set.

    p(f, x) = P(f answers x' with the label of x),  x' uniform in a ball around x
    residual knowledge of x:  p(unlearned, x) > p(retrained, x)

A method may fix the answers to the very inputs that it was given and leave those to
inputs nearby. Hsu et al., "The Unseen Threat: Residual Knowledge in Machine Unlearning
under Perturbed Samples", NeurIPS 2025, https://arxiv.org/abs/2601.22359: on CIFAR-10
more than 7 % of the forget set.

Two retrained models differ as well, so the floor is what a second retrained model shows
in the place of the unlearned one: where the two are equally good, each example is as
often above as below.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.problem import Problem, Variables

__all__ = ["neighbour_answers", "residual_knowledge"]


class Residual(NamedTuple):
    """What one model knows of the neighbours of examples that another does not."""

    ratio: float  # right answers over those of the retrained model; 1: as many
    share: float  # of the examples that have residual knowledge
    excess: float  # share of neighbours that only the unlearned model answers right


def neighbour_answers(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    *,
    radius: float = 0.5,
    samples: int = 20,
) -> jax.Array:
    """Says which neighbours of examples a model answers right: bool[samples, F].

    Pure: it jits. All models of a comparison get the same key, hence the same
    neighbours.

    Args:
      key: of the perturbations, uniform in a ball of the Euclidean norm.
      indices: int[F], the examples.
      radius: of the ball, in standard deviations of the inputs: the norm of a
        perturbation is at most `radius * sqrt(D) * sd` for inputs of D numbers.
      samples: neighbours of an example.

    Raises:
      InputError: inputs that are not one array of floats.
    """
    shape = problem.input_spec.continuous_shape()
    inputs, labels = problem.inputs(indices), problem.labels[indices]
    size, spread = int(np.prod(shape)), jnp.std(inputs)

    def one(key):
        key_direction, key_length = jax.random.split(key)
        direction = jax.random.normal(key_direction, (len(indices), size))
        direction /= jnp.linalg.norm(direction, axis=1, keepdims=True)
        length = jax.random.uniform(key_length, (len(indices), 1)) ** (1 / size)
        step = radius * jnp.sqrt(size) * spread * length * direction
        moved = inputs + step.reshape(inputs.shape).astype(inputs.dtype)
        logits, _ = problem.model.apply(variables, moved)
        return jnp.argmax(logits, axis=-1) == labels

    return jax.lax.map(one, jax.random.split(key, samples))


def residual_knowledge(unlearned: ArrayLike, retrained: ArrayLike) -> Residual:
    """Compares the answers of an unlearned and of a retrained model.

    Args:
      unlearned, retrained: bool[samples, F], `neighbour_answers` of each, with one key.

    Returns: see `Residual`; the ratio is infinite where the retrained model knows
      none and the other one does, NaN if neither does.

    Raises:
      InputError: other shapes, or nothing in them.
    """
    ours, theirs = (np.asarray(x, bool) for x in (unlearned, retrained))
    if ours.ndim != 2 or ours.shape != theirs.shape or not ours.size:
        raise InputError(
            f"answers must be [samples, F] alike, not {ours.shape} and {theirs.shape}"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.float64(ours.sum()) / np.float64(theirs.sum())
    return Residual(
        float(ratio),
        float(np.mean(ours.mean(0) > theirs.mean(0))),
        float(np.mean(ours & ~theirs)),
    )
