"""How a slice of SISA is trained, and the hash that says what it was made from."""

import functools
import hashlib
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.errors import InputError
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.stored import Reading
from unlearn.surgery import fresh
from unlearn.training import Rows, classification, descend, start
from unlearn.training_time import common


class Settings(NamedTuple):
    """The constants of `fit` that `forget` needs."""

    shards: int
    slices: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: str
    vote: str
    balance: float


def slice_epochs(epochs: int, slices: int) -> np.ndarray:
    """Returns whole epochs of each slice: they add up to 2 e R / (R + 1), rounded down.

    Raises:
      InputError: some slice would get none.
    """
    if 2 * epochs < slices + 1:
        raise InputError(
            f"{epochs} epochs give some of {slices} slices none: "
            f"give at least {-(-(slices + 1) // 2)} epochs, or fewer slices"
        )
    return np.diff(np.arange(slices + 1) * 2 * epochs // (slices + 1))


def most_steps(size: int, settings: Settings) -> int:
    """Returns the steps of the longest slice, whoever is removed."""
    epochs = slice_epochs(settings.epochs, settings.slices)
    in_shard = -(-size // settings.shards)
    in_slice = -(-in_shard // settings.slices)
    counts = np.minimum(in_slice * np.arange(1, settings.slices + 1), in_shard)
    return int(np.max(epochs * -(-counts // settings.batch_size)))


def begin(key_bits: np.ndarray, shard: int, problem: Problem) -> Variables:
    """Makes the untrained model of a shard."""
    key = common.draw_key(common.random(key_bits, int(shard)))
    return jax.device_get(_fresh(key, problem.replace(examples=None)))


def structure(problem: Problem) -> Variables:
    """Returns the shapes and dtypes of the model's variables."""
    return jax.eval_shape(_fresh, jax.random.key(0), problem.replace(examples=None))


def train_slice(
    key_bits: np.ndarray,
    variables: Variables,
    problem: Problem,
    members: np.ndarray,
    shard_and_slice: tuple[int, int],
    settings: Settings,
) -> Variables:
    """Trains the slice's passes over `members` from `variables`."""
    if not len(members):
        return variables
    rng = common.random(key_bits, *map(int, shard_and_slice))
    epochs = slice_epochs(settings.epochs, settings.slices)[shard_and_slice[1]]
    rows = common.passes(rng, members, int(epochs), settings.batch_size)
    if settings.balance:
        weights = class_weights(problem, members, settings.balance)
        rows = rows._replace(weights=rows.weights * weights[rows.indices])
    steps = len(rows.indices)
    fill = [(0, most_steps(len(problem.labels), settings) - steps), (0, 0)]
    rows = Rows(*(np.pad(x, fill) for x in rows))
    args = common.draw_key(rng), variables, problem, rows, steps, rates(settings)
    return jax.device_get(_run(settings.schedule, *args))


def rates(settings: Settings) -> tuple[float, float, float]:
    """Returns learning rate, momentum and weight decay."""
    return settings.learning_rate, settings.momentum, settings.weight_decay


def class_weights(
    problem: Problem, members: np.ndarray, power: float = 1.0
) -> np.ndarray:
    """Returns the weights of `training.balanced` over `members`: float32[N]."""
    labels = np.asarray(problem.labels)
    counts = np.bincount(labels[members], minlength=problem.num_classes)
    weights = np.maximum(counts, 1.0) ** -power
    weights *= len(members) / np.sum(counts * weights)
    return weights.astype(np.float32)[labels]


_fresh = jax.jit(fresh)


@functools.partial(jax.jit, static_argnums=0)
def _run(schedule, key, variables, problem, rows, steps, rates):
    """Runs the first `steps` rows; a value, so that one program serves all."""
    rate, momentum, weight_decay = rates
    objective = classification(problem.model)

    def falling(step):
        return rate * 0.5 * (1 + jnp.cos(jnp.pi * step / steps))

    optimizer = sgd(
        falling if schedule == "cosine" else rate,
        momentum=momentum,
        weight_decay=weight_decay,
    )

    def step(number, state):
        key_model, key_augment = jax.random.split(jax.random.fold_in(key, number))
        row = jax.tree.map(lambda x: x[number], rows)
        batch = problem.batch(*row, key=key_augment)
        return descend(objective, optimizer, state, batch, key_model)[0]

    return jax.lax.fori_loop(0, steps, step, start(variables, optimizer)).variables


# Names


def digests(
    key_bits: np.ndarray,
    problem: Problem,
    shard: int,
    parts: list[np.ndarray],
    settings: Settings,
) -> np.ndarray:
    """Returns uint8[R, 32]: SHA-256 of all that each slice of a shard is made from.

    That is the compiled programs, the key, the constants, and index, content and label
    of the examples of the slice and those before.

    Args:
      parts: the indices of the examples of each slice.
    """
    text = json.dumps([np.asarray(key_bits).tolist(), int(shard), *settings[:-2]])
    digest = hashlib.sha256(program_hash(problem, settings).encode())
    digest.update(f"{text} {settings.balance}".encode())
    found = []
    for part in parts:
        digest.update(common.rows_hash(problem, part).encode())
        found.append(np.frombuffer(digest.digest(), np.uint8))
    return np.array(found)


def program_hash(problem: Problem, settings: Settings) -> str:
    """Returns the SHA-256 of the programs that initialise and train, and of their JAX.

    They hold the model, its loss and optimizer, how inputs are made and augmented.
    """
    if isinstance(problem.preprocess, Reading):  # wherever the examples lie
        examples = problem.preprocess.struct(len(problem.examples))
        problem = problem.replace(
            examples=examples, preprocess=problem.preprocess.prepare
        )
    leaves, tree = jax.tree.flatten(problem)
    shapes = tuple((x.shape, np.dtype(x.dtype)) for x in leaves)
    return _program_hash(tree, shapes, settings)


@functools.lru_cache(maxsize=16)
def _program_hash(tree, shapes, settings):
    problem = tree.unflatten([jax.ShapeDtypeStruct(*shape) for shape in shapes])
    key, variables = jax.random.key(0), structure(problem)
    shape = most_steps(len(problem.labels), settings), settings.batch_size
    rows = Rows(np.zeros(shape, np.int32), np.zeros(shape, np.float32))
    run = settings.schedule, key, variables, problem, rows, 0, rates(settings)
    digest = hashlib.sha256(f"{jax.__version__} {problem.num_classes}".encode())
    for traced in (
        _fresh.trace(key, problem.replace(examples=None)),
        _run.trace(*run),
    ):
        lowered = traced.lower(lowering_platforms=("cpu",))
        digest.update(lowered.as_text().encode())
    return digest.hexdigest()
