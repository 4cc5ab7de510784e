"""UNSIR: impair with noise that stands for the class, then repair with retained data.

    noise:   x_c = argmax CE(f(x), c) - penalty |x|^2     for each forgotten class c
    impair:  minimise E[CE(f(x), y)] over the noise, labelled c, and a retain subset
    repair:  minimise E[CE(f(x), y)] over the retain subset

The network learns to see class c in what looks least like it, which overwrites what it
knew; the forget set itself is not needed. Tarun et al., "Fast Yet Effective Machine
Unlearning", IEEE TNNLS 2023, https://arxiv.org/abs/2111.08947. Constants: noise by 40
steps of Adam 0.1; one epoch of Adam 0.02, one of Adam 0.01; 1,000 retained examples of
each of 9 classes. The released code makes 256 images a class and feeds 3 of them (it
takes the channels for the batch), each 20 times, which its numbers come from: so here.
All 256 are 5,120 rows against 9,000, and cost points of accuracy that the repair does
not bring back. Simplified: the subset is drawn at random, not class by class.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.noise import WithNoise, error_maximizing_noise
from unlearn.methods.registry import method
from unlearn.optimizers import adam
from unlearn.problem import Problem, Variables
from unlearn.training import classification, fit


@method(
    needs=("retain", "forget_classes"),
    paper="arXiv:2111.08947",
    differs="a random retain subset; 3 noise images a class, as released, not 256",
    search={"learning_rate": (1e-4, 0.1), "repair_learning_rate": (1e-4, 0.03)},
    scope="class",
    inputs="continuous",
)
def unsir(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.02,
    repair_learning_rate: float = 0.01,
    impair_epochs: int = 1,
    epochs: int = 1,
    examples: int = 9000,
    batch_size: int = 256,
    noise_images: int = 3,
    noise_copies: int = 20,
    noise_learning_rate: float = 0.1,
    noise_steps: int = 40,
    penalty: float = 0.1,
) -> tuple[Variables, dict]:
    """Impairs, then repairs for `epochs`; `info["loss"]` is of the repair.

    `learning_rate` is that of the impair epochs. `examples` is the size of the retain
    subset; 0: all of it.
    """
    key_subset, key_impair, key_repair = jax.random.split(key, 3)
    subset = retain_subset(key_subset, problem, examples)
    variables = impair(
        key_impair,
        variables,
        problem,
        subset,
        learning_rate=learning_rate,
        epochs=impair_epochs,
        batch_size=batch_size,
        noise_images=noise_images,
        noise_copies=noise_copies,
        noise_learning_rate=noise_learning_rate,
        noise_steps=noise_steps,
        penalty=penalty,
    )
    variables, losses = fit(
        key_repair,
        variables,
        problem,
        subset,
        classification(problem.model),
        adam(repair_learning_rate),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}


def retain_subset(key: jax.Array, problem: Problem, examples: int) -> jax.Array:
    """Draws the indices of that many retained examples; 0: of all."""
    if not examples:
        return problem.retain
    return jax.random.permutation(key, problem.retain)[:examples]


def impair(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    subset: jax.Array,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    noise_images: int,
    noise_copies: int,
    noise_learning_rate: float,
    noise_steps: int,
    penalty: float,
) -> Variables:
    """Trains on noise of the forgotten classes and on `subset`."""
    key_noise, key_fit = jax.random.split(key)
    labels = jnp.repeat(problem.forget_classes, noise_images)
    noise = error_maximizing_noise(
        key_noise,
        variables,
        problem,
        labels,
        learning_rate=noise_learning_rate,
        steps=noise_steps,
        penalty=penalty,
    )
    noisy = WithNoise(problem, noise, labels)
    variables, _ = fit(
        key_fit,
        variables,
        noisy,
        jnp.concatenate([subset, jnp.tile(noisy.indices, noise_copies)]),
        classification(problem.model),
        adam(learning_rate),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables
