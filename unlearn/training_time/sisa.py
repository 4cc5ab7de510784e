"""SISA: sharded, isolated, sliced, aggregated training.

    shard s, slice r  <-  a permutation of the indices by the key alone
    w_s,0 = fresh;  w_s,r = w_s,r-1 trained e_r epochs on slices 1..r of shard s
    e_r = 2 e / (R + 1),  so that a shard costs e passes over all of it
    answer: the majority vote of w_1,R ... w_S,R

A request is answered by training the shards it touches again, from the checkpoint
before the first slice that it touches. Bourtoule et al., "Machine Unlearning", IEEE S&P
2021, https://arxiv.org/abs/1912.03817. As in the released code the epochs of a slice
are whole numbers that add up, and the optimizer starts anew with each slice; the rate
may also fall to 0 in each of them (`schedule="cosine"`). 5 shards and 5 slices lie in
the range of the paper; the other constants are those of this package.

Exact means: the state is, bit for bit, that of `fit` with the same key on the remaining
indices, one compiled program on one device given. For that to hold,
- shard and slice of an example depend on its index, the number of examples and the key;
- keys belong to a shard and a slice, not to a request;
- a removed example is filtered on the host before batches are drawn: with weight 0 it
  would still enter batch statistics and the order of the others;
- the program's shapes do not depend on sizes: it scans as many batches as there are, a
  number that is a value, so that all slices and requests run the same compiled code;
- shards are trained one after another: in a vmapped pair, one could tell the other.
The key's reuse is sound for requests that do not depend on the published models
(Gupta et al., "Adaptive Machine Unlearning", https://arxiv.org/abs/2106.04378).
Cost: shards x slices checkpoints of the model in memory; see `costs`.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.problem import Problem, Variables
from unlearn.surgery import fresh
from unlearn.training import Rows, classification, descend, sgd, start
from unlearn.training_time import common

VOTES = ("majority", "probability", "logit")
SCHEDULES = ("constant", "cosine")


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
    balance: bool


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["key_bits", "checkpoints", "shard", "slice", "active", "problem"],
    meta_fields=["settings"],
)
@dataclasses.dataclass(frozen=True)
class State:
    """A model trained, with a checkpoint for each slice of each shard."""

    key_bits: np.ndarray  # uint32[.]: the key
    checkpoints: tuple  # checkpoints[s][r]: variables of shard s after slice r
    shard: np.ndarray  # int32[N]
    slice: np.ndarray  # int32[N]
    active: np.ndarray  # bool[N]: in the training set
    problem: Problem
    settings: Settings


def fit(
    key: jax.Array,
    problem: Problem,
    *,
    indices: ArrayLike | None = None,
    shards: int = 5,
    slices: int = 5,
    epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: str = "cosine",
    vote: str = "majority",
    balance: bool = False,
) -> State:
    """Trains all shards, a checkpoint a slice.

    `epochs` are passes over the whole data, spread over the slices. `balance` gives
    each class the same weight among the examples that a slice is trained on.

    Raises:
      InputError: fewer epochs than give each slice one, more parts than examples, or an
        unknown `schedule` or `vote`.
    """
    problem, active = common.training_set(problem, indices)
    size = len(active)
    if schedule not in SCHEDULES:
        raise InputError(f"unknown schedule {schedule!r}: {', '.join(SCHEDULES)}")
    if vote not in VOTES:
        raise InputError(f"unknown vote {vote!r}: {', '.join(VOTES)}")
    if not 1 <= shards * slices <= size:
        raise InputError(
            f"{shards} shards of {slices} slices need as many examples; there are "
            f"{size}: take fewer shards or slices"
        )
    slice_epochs(epochs, slices)
    batch_size = min(batch_size, size // (shards * slices))
    rates = learning_rate, momentum, weight_decay
    sizes = shards, slices, epochs, batch_size
    settings = Settings(*sizes, *rates, schedule, vote, balance)
    key_bits = common.key_bits(key)
    shard, part = assign(key_bits, size, shards, slices)
    empty = ((None,) * slices,) * shards
    state = State(key_bits, empty, shard, part, active, problem, settings)
    return train(state, np.zeros(shards, int))[0]


def forget(key: jax.Array, state: State, indices: ArrayLike) -> tuple[State, dict]:
    """Trains the touched shards again from the first touched slice on.

    `info`: `shards` and `slices` trained again, `retrained_examples` (examples times
    epochs) and, beside it, `full_examples` of training one model anew. `key` is unused:
    the keys are those of `fit`.

    Raises:
      InputError: see `common.check_request`.
    """
    del key
    indices = common.check_request(state.active, indices)
    active = np.array(state.active)
    active[indices] = False
    first = first_slices(state.shard, state.slice, indices, state.settings)
    return train(dataclasses.replace(state, active=active), first)


def predict(state: State, images: jax.Array) -> jax.Array:
    """Returns float32[N, K] as `vote` says, with a softmax that sums to 1.

    majority: logarithm of the share of votes, the mean probability being one vote more
    (it settles ties and no more); probability: logarithm of the mean probability;
    logit: mean logits. A shard that has lost all its examples has no say.
    """
    problem, voters = state.problem, np.unique(np.asarray(state.shard)[state.active])
    logits = np.stack(
        [
            common.predict(
                problem.model,
                state.checkpoints[s][-1],
                images,
                problem.mean,
                problem.std,
            )
            for s in voters
        ]
    )
    return aggregate(logits, state.settings.vote)


@functools.partial(jax.jit, static_argnums=1)
def aggregate(logits: jax.Array, vote: str) -> jax.Array:
    """Turns float32[S, N, K] into float32[N, K]; see `predict`."""
    if vote == "logit":
        return logits.mean(0)
    mean = jax.nn.softmax(logits).mean(0)
    if vote == "majority":
        winners = logits.argmax(-1)
        votes = jax.nn.one_hot(winners, logits.shape[-1], dtype=logits.dtype).sum(0)
        mean = (votes + mean) / (len(logits) + 1)
    return jnp.log(jnp.maximum(mean, 1e-30))


# Who is where, and for how long


def assign(
    key_bits: np.ndarray, size: int, shards: int, slices: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns shard and slice of each index: int32[N], sizes equal to within one."""
    position = common.random(key_bits).permutation(size).astype(np.int32)
    return position % shards, position // shards % slices


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


def first_slices(
    shard: np.ndarray, part: np.ndarray, indices: np.ndarray, settings: Settings
) -> np.ndarray:
    """Returns for each shard the first slice with one of `indices`; else `slices`."""
    first = np.full(settings.shards, settings.slices)
    np.minimum.at(first, np.asarray(shard)[indices], np.asarray(part)[indices])
    return first


# Training


def train(state: State, first: np.ndarray) -> tuple[State, dict]:
    """Trains shard s from slice `first[s]` on."""
    settings, problem = state.settings, state.problem
    shard, part = np.asarray(state.shard), np.asarray(state.slice)
    epochs = slice_epochs(settings.epochs, settings.slices)
    capacity = most_steps(len(shard), settings)
    checkpoints, examples = [list(models) for models in state.checkpoints], 0
    for s in np.flatnonzero(first < settings.slices):
        for r in range(first[s], settings.slices):
            members = np.flatnonzero(state.active & (shard == s) & (part <= r))
            model = checkpoints[s][r - 1] if r else begin(state.key_bits, s, problem)
            checkpoints[s][r] = train_slice(
                state.key_bits,
                model,
                problem,
                members,
                (s, r),
                epochs[r],
                settings,
                capacity,
            )
            examples += epochs[r] * len(members)
    info = {
        "shards": np.sum(first < settings.slices),
        "slices": np.sum(settings.slices - first),
        "retrained_examples": np.int64(examples),
        "full_examples": np.int64(settings.epochs * np.sum(state.active)),
    }
    checkpoints = tuple(map(tuple, checkpoints))
    return dataclasses.replace(state, checkpoints=checkpoints), info


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
    return _fresh(key, problem.replace(images=None))


def train_slice(
    key_bits: np.ndarray,
    variables: Variables,
    problem: Problem,
    members: np.ndarray,
    shard_and_slice: tuple[int, int],
    epochs: int,
    settings: Settings,
    capacity: int,
) -> Variables:
    """Trains `epochs` passes over `members` from `variables`."""
    if not len(members):
        return variables
    rng = common.random(key_bits, *map(int, shard_and_slice))
    rows = common.passes(rng, members, int(epochs), settings.batch_size)
    if settings.balance:
        weights = rows.weights * class_weights(problem, members)[rows.indices]
        rows = rows._replace(weights=weights)
    steps = len(rows.indices)
    fill = [(0, capacity - steps), (0, 0)]
    rows = Rows(*(np.pad(x, fill) for x in rows))
    rates = settings.learning_rate, settings.momentum, settings.weight_decay
    args = common.draw_key(rng), variables, problem, rows, steps, rates
    return _run(settings.schedule, *args)


def class_weights(problem: Problem, members: np.ndarray) -> np.ndarray:
    """Returns n / (classes * examples of the class) over `members`: float32[N]."""
    labels = np.asarray(problem.labels)
    counts = np.bincount(labels[members], minlength=problem.num_classes)
    weights = len(members) / (np.sum(counts > 0) * np.maximum(counts, 1))
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
