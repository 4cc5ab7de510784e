"""DP-SGD: a training of which no example can be told, beyond epsilon and delta.

    each step:  B  <- every example with probability batch_size / N
                g  <- sum_B clip(grad CE(f(x), y), clip) + N(0, (noise clip)^2)
                theta <- theta - rate g / batch_size     (with momentum)

Whoever sees the weights, every step of them included, can hardly tell whether an
example was there: P(with it) <= exp(epsilon) P(without it) + delta. For a request of k
examples epsilon grows k-fold and delta by k exp((k - 1) epsilon), so it says something
of one person's few examples and nothing of a class. It is of examples that are added
or taken away, and of this training alone: constants that were chosen on the same data
are not counted.

Abadi et al., "Deep Learning with Differential Privacy", 2016,
https://arxiv.org/abs/1607.00133. The accounting is that of jax-privacy
(https://github.com/google-deepmind/jax_privacy), by privacy loss distributions. Its
clipped gradients are these to rounding (`tests/privacy`), and a dense layer's take five
times as long on a CPU: here the sum is a product of the scales with all gradients. Of a
Poisson sample at most `most` examples are taken; that one is ever larger has a chance
of 1e-12 or so, which is counted into delta.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import scipy

from unlearn.errors import InputError
from unlearn.optimizers import sgd
from unlearn.problem import Batch, Model, Problem, Variables
from unlearn.training import cross_entropy


class Recipe(NamedTuple):
    """How a private model is trained."""

    steps: int = 1000
    batch_size: int = 256  # expected
    learning_rate: float = 0.5
    momentum: float = 0.0
    clip: float = 1.0  # the largest norm of an example's gradient
    microbatch: int = 64  # examples whose gradients are there at once

    @property
    def most(self) -> int:
        """Returns how many examples a step takes at most, a multiple of `microbatch`.

        Eight standard deviations above the expected number.
        """
        above = self.batch_size + 8 * math.sqrt(self.batch_size)
        return -(-math.ceil(above) // self.microbatch) * self.microbatch


class Budget(NamedTuple):
    """What a training may reveal, of one example or of a request of several."""

    epsilon: float
    delta: float

    def of(self, examples: int) -> "Budget":
        """Returns the budget of a request of so many examples (group privacy)."""
        if examples < 1:
            raise InputError(f"a request has 1 example or more; it has {examples}")
        grown = (examples - 1) * self.epsilon
        delta = examples * math.exp(min(grown, 700.0)) * self.delta
        return Budget(examples * self.epsilon, min(1.0, delta))


def require() -> None:
    """Refuses to go on without jax-privacy.

    Raises:
      InputError: it is not installed.
    """
    _accounting()


def noise_for(budget: Budget, examples: int, recipe: Recipe) -> float:
    """Returns the noise multiplier that spends a budget in a training.

    Args:
      examples: N, of the training set.

    Raises:
      InputError: a budget or a recipe that makes no sense.
    """
    check(budget, examples, recipe)
    calibrate = _accounting().calibrate_noise_multiplier
    rare = (1 + math.exp(min(budget.epsilon, 700.0))) * too_large(examples, recipe)
    if rare >= budget.delta / 2:
        raise InputError(
            f"a sample of more than {recipe.most} examples is not rare enough for a "
            f"delta of {budget.delta:g}: take a larger batch_size"
        )
    return calibrate(
        target_epsilon=budget.epsilon,
        target_delta=budget.delta - rare,
        accountant=_accountant(),
        batch_sizes=recipe.batch_size,
        num_updates=recipe.steps,
        num_samples=examples,
        tol=1e-3,
    )


def spent(noise: float, delta: float, examples: int, recipe: Recipe) -> Budget:
    """Returns what a training with this noise multiplier reveals of one example."""
    params = _accounting().DpParams(
        noise_multipliers=noise,
        batch_size=recipe.batch_size,
        num_samples=examples,
        delta=delta,
    )
    epsilon = float(_accountant().compute_epsilon(recipe.steps, params))
    rare = (1 + math.exp(min(epsilon, 700.0))) * too_large(examples, recipe)
    return Budget(epsilon, min(1.0, delta + rare))


def too_large(examples: int, recipe: Recipe) -> float:
    """Returns the chance that a sample of the training is larger than `most`."""
    rate = recipe.batch_size / examples
    return recipe.steps * float(scipy.stats.binom.sf(recipe.most, examples, rate))


def check(budget: Budget, examples: int, recipe: Recipe) -> None:
    """Refuses what makes no sense.

    Raises:
      InputError: in one line.
    """
    if not 0 < budget.epsilon < math.inf or not 0 < budget.delta < 1 / examples:
        raise InputError(
            "epsilon must be above 0 and finite, and delta between 0 and "
            f"1/{examples}, one example's share; they are {budget.epsilon:g} and "
            f"{budget.delta:g}"
        )
    if not 0 < recipe.batch_size <= examples:
        raise InputError(
            f"batch_size must be from 1 to {examples}; it is {recipe.batch_size}"
        )
    for name in ("steps", "clip", "microbatch"):
        if not getattr(recipe, name) > 0:
            raise InputError(f"{name} must be above 0; it is {getattr(recipe, name)}")


def train(
    key: jax.Array,
    problem: Problem,
    indices: jax.Array,
    recipe: Recipe,
    noise: float | jax.Array,
) -> tuple[Variables, jax.Array]:
    """Trains on `indices` int32[N] from scratch; pure.

    Args:
      key: of everything that is drawn. Who knows it knows the noise: keep it secret, or
        nothing is private.
      noise: the noise multiplier, of `noise_for`.

    Returns: the variables, and float32[steps], the largest norm of a gradient before
      clipping. That and whatever else is computed of the data is not private.

    Raises:
      InputError: a model with batch statistics, which mix examples.
    """
    key_init, key_steps = jax.random.split(key)
    variables = problem.model.init(key_init, problem.inputs(indices[:1]))
    if others := set(variables) - {"params"}:
        raise InputError(
            f"the model has {', '.join(sorted(others))}, which mix examples: choose a "
            "net without batch normalisation"
        )
    rate, most = recipe.batch_size / len(indices), min(recipe.most, len(indices))

    optimizer = sgd(recipe.learning_rate, momentum=recipe.momentum)

    def step(carry, number):
        params, state = carry
        keys = jax.random.split(jax.random.fold_in(key_steps, number), 3)
        batch = problem.batch(*sample(keys[0], indices, rate, most))
        gradient, norms = clipped_sum(params, batch, keys[1], problem.model, recipe)
        gradient = _noisy(keys[2], gradient, noise * recipe.clip)
        gradient = jax.tree.map(lambda g: g / recipe.batch_size, gradient)
        updates, state = optimizer.update(gradient, state, params)
        carry = optax.apply_updates(params, updates), state
        return carry, jnp.max(norms)

    start = variables["params"], optimizer.init(variables["params"])
    steps = jnp.arange(recipe.steps, dtype=jnp.int32)
    (params, _), norms = jax.lax.scan(step, start, steps)
    return {"params": params}, norms


def clipped_sum(
    params: dict, batch: Batch, key: jax.Array, model: Model, recipe: Recipe
) -> tuple[dict, jax.Array]:
    """Sums the gradients of all examples, each of norm `recipe.clip` at most.

    What is no number in a gradient counts as 0, so that no example passes its limit.

    Returns the sum, and the norms before clipping, float32[B], 0 of weight 0.
    """

    def loss(params, inputs, label, weight, key):
        alone = jax.tree.map(lambda x: x[None], inputs)
        logits, _ = model.apply({"params": params}, alone, train=True, key=key)
        return weight * cross_entropy(logits, label[None])[0]

    def add(total, part):
        gradients = jax.vmap(jax.grad(loss), (None, 0, 0, 0, 0))(params, *part)
        rows = jax.tree.map(lambda g: finite(g).reshape(len(g), -1), gradients)
        squares = sum(jnp.sum(g**2, axis=1) for g in jax.tree.leaves(rows))
        norms = jnp.sqrt(squares)
        scales = recipe.clip / jnp.maximum(norms, recipe.clip)
        summed = jax.tree.map(
            lambda t, g: t + product(scales, g).reshape(t.shape), total, rows
        )
        return summed, norms

    finite = functools.partial(jnp.nan_to_num, posinf=0.0, neginf=0.0)
    # Rounded factors, as accelerators have by default, would let norms pass the limit.
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    size = len(batch.labels)
    each = min(recipe.microbatch, size)
    whole = size + -size % each
    filled = jnp.arange(whole) % size
    batch = jax.tree.map(lambda x: x[filled], batch) if whole > size else batch
    own = jnp.arange(whole) < size
    batch = batch._replace(weights=jnp.where(own, batch.weights, 0))
    examples = *batch, jax.random.split(key, whole)
    parts = jax.tree.map(lambda x: x.reshape(-1, each, *x.shape[1:]), examples)
    total, norms = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), parts)
    return total, norms.reshape(-1)[:size]


def sample(
    key: jax.Array, indices: jax.Array, rate: float, most: int
) -> tuple[jax.Array, jax.Array]:
    """Draws each example with probability `rate`, at most `most` of those drawn.

    Returns int32[most] and their weights: 1, or 0 for the filling.
    """
    drawn = jax.random.uniform(key, indices.shape)
    least, places = jax.lax.top_k(-drawn, most)
    return indices[places], (-least < rate).astype(jnp.float32)


def _noisy(key, tree, deviation):
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf + deviation * jax.random.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


def _accounting():
    try:
        from jax_privacy import accounting
    except ImportError as error:
        raise InputError(
            'private training needs jax-privacy: pip install "unlearn-jax[privacy]"'
        ) from error
    return accounting


def _accountant():
    accounting = _accounting()
    config = accounting.PldAccountantConfig()
    return accounting.DpsgdTrainingAccountant(dp_accountant_config=config)
