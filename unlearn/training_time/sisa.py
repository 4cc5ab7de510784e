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
indices, one compiled program on one device given; on a GPU with
`XLA_FLAGS=--xla_gpu_deterministic_ops=true`, else each process has other bits. For that
to hold,
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

`kept` holds slices beyond one call: a training that was killed goes on with what it had
finished, versions share what they have in common, and processes that train some of the
shards each (`only`) are put together by a `fit` that finds everything. The name of a
slice is a hash of all it was made from, so that none can be taken for another.
"""

import dataclasses
import functools
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.problem import Problem, Variables
from unlearn.training_time import common
from unlearn.training_time import slice_training as training
from unlearn.training_time.common import Kept
from unlearn.training_time.slice_training import Settings, slice_epochs

VOTES = ("majority", "probability", "logit")
SCHEDULES = ("constant", "cosine")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "key_bits",
        "checkpoints",
        "digests",
        "shard",
        "slice",
        "active",
        "problem",
    ],
    meta_fields=["settings"],
)
@dataclasses.dataclass(frozen=True)
class State:
    """A model trained, with a checkpoint for each slice of each shard."""

    key_bits: np.ndarray  # uint32[.]: the key
    checkpoints: tuple  # checkpoints[s][r]: variables of shard s after slice r, or None
    digests: np.ndarray  # uint8[S, R, 32]: what each checkpoint was made from
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
    kept: Kept | None = None,
    only: Collection[int] | None = None,
    shards: int = 5,
    slices: int = 5,
    epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: str = "cosine",
    vote: str = "majority",
    balance: float = 0.0,
) -> State:
    """Trains all shards, a checkpoint a slice.

    `epochs` are passes over the whole data, spread over the slices. With `balance` 1
    each class counts the same among the examples that a slice is trained on, with 0
    each example, see `training.balanced`.

    Args:
      key: what everything random is derived from.
      problem: its examples, less `forget` and the like.
      indices: of the examples to train on; default: all.
      kept: where finished slices are looked up, and put as soon as they are made.
      only: the shards to train here; of others there is what is kept. Such a state
        neither predicts nor forgets until all are there.

    Raises:
      InputError: fewer epochs than give each slice one, more parts than examples, a
        shard of `only` that is none, or an unknown `schedule` or `vote`.
    """
    problem, active = common.training_set(problem, indices)
    size = len(active)
    if schedule not in SCHEDULES:
        raise InputError(f"unknown schedule {schedule!r}: {', '.join(SCHEDULES)}")
    if vote not in VOTES:
        raise InputError(f"unknown vote {vote!r}: {', '.join(VOTES)}")
    if min(shards, slices) < 1 or shards * slices > size:
        raise InputError(
            f"{shards} shards of {slices} slices need as many examples; there are "
            f"{size}: take fewer shards or slices"
        )
    slice_epochs(epochs, slices)
    common.check_batch_size(batch_size)
    check_shards(only, shards)
    batch_size = min(batch_size, size // (shards * slices))
    rates = float(learning_rate), float(momentum), float(weight_decay)
    sizes = shards, slices, epochs, batch_size
    settings = Settings(*sizes, *rates, schedule, vote, float(balance))
    key_bits = common.key_bits(key)
    state = State(
        key_bits,
        ((None,) * slices,) * shards,
        np.zeros((shards, slices, 32), np.uint8),
        *assign(key_bits, size, shards, slices),
        active,
        problem,
        settings,
    )
    return train(state, np.zeros(shards, int), kept, only)[0]


def forget(
    key: jax.Array,
    state: State,
    indices: ArrayLike,
    kept: Kept | None = None,
    only: Collection[int] | None = None,
) -> tuple[State, dict]:
    """Trains the touched shards again from the first touched slice on.

    `info`: `shards` and `slices` trained again, `retrained_examples` (examples times
    epochs) and, beside it, `full_examples` of training one model anew. `key` is unused:
    the keys are those of `fit`. `kept` and `only` are as there; what is found counts
    as trained.

    Raises:
      InputError: see `common.check_request`; a shard is not trained, or the state is
        `for_serving`.
    """
    del key
    check_shards(only, state.settings.shards)
    check_trained(state)
    if any(model is None for models in state.checkpoints for model in models):
        raise InputError(
            "this state is for serving: it holds the last slices only, which predict "
            "and cannot forget; use the state that it was made of"
        )
    indices = common.check_request(state.active, indices)
    active = np.array(state.active)
    active[indices] = False
    first = first_slices(state.shard, state.slice, indices, state.settings)
    return train(dataclasses.replace(state, active=active), first, kept, only)


def predict(state: State, examples: Any) -> jax.Array:
    """Returns float32[N, K] as `vote` says, with a softmax that sums to 1.

    majority: logarithm of the share of votes, the mean probability being one vote more
    (it settles ties and no more); probability: logarithm of the mean probability;
    logit: mean logits. A shard that has lost all its examples has no say.

    Raises:
      InputError: a shard is not trained.
    """
    check_trained(state)
    problem, voters = state.problem, np.unique(np.asarray(state.shard)[state.active])
    logits = np.stack(
        [
            common.predict(
                problem.model,
                state.checkpoints[s][-1],
                examples,
                problem.preprocess,
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


def for_serving(state: State) -> State:
    """Returns the state with the last slices only: it predicts and cannot forget.

    Raises:
      InputError: a shard is not trained.
    """
    check_trained(state)
    nothing = (None,) * (state.settings.slices - 1)
    last = tuple((*nothing, models[-1]) for models in state.checkpoints)
    return dataclasses.replace(state, checkpoints=last)


def untrained(state: State) -> list[int]:
    """Lists the shards that are not trained to their last slice."""
    return [s for s, models in enumerate(state.checkpoints) if models[-1] is None]


def check_trained(state: State) -> None:
    """Refuses a state in which shards are missing."""
    missing = untrained(state)
    if missing:
        raise InputError(
            f"shards {', '.join(map(str, missing))} are not trained in this state: "
            "train them too, then put all together by a fit with the same `kept`"
        )


def check_shards(only: Collection[int] | None, shards: int) -> None:
    """Refuses numbers that are no shard's."""
    for s in only or ():
        if s not in range(shards):
            raise InputError(f"there is no shard {s}: they are 0..{shards - 1}")


# Who is where


def assign(
    key_bits: np.ndarray, size: int, shards: int, slices: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns shard and slice of each index: int32[N], sizes equal to within one."""
    position = common.random(key_bits).permutation(size).astype(np.int32)
    return position % shards, position // shards % slices


def first_slices(
    shard: np.ndarray, part: np.ndarray, indices: np.ndarray, settings: Settings
) -> np.ndarray:
    """Returns for each shard the first slice with one of `indices`; else `slices`."""
    first = np.full(settings.shards, settings.slices)
    np.minimum.at(first, np.asarray(shard)[indices], np.asarray(part)[indices])
    return first


# Training


def train(
    state: State,
    first: np.ndarray,
    kept: Kept | None = None,
    only: Collection[int] | None = None,
) -> tuple[State, dict]:
    """Trains shard s from slice `first[s]` on; `kept` and `only` as in `fit`."""
    settings, touched = state.settings, np.flatnonzero(first < state.settings.slices)
    epochs, examples = slice_epochs(settings.epochs, settings.slices), 0
    checkpoints, digests = list(state.checkpoints), np.array(state.digests)
    for s in touched:
        parts = members(state, s)
        digests[s] = training.digests(state.key_bits, state.problem, s, parts, settings)
        names = list(map(name_of, digests[s]))
        models = checkpoints[s][: first[s]] + tuple(
            find(kept, name, state.problem) for name in names[first[s] :]
        )
        if only is None or s in only:
            models = train_shard(state, s, parts, models, names, kept)
        checkpoints[s] = models
        sizes = np.cumsum([len(part) for part in parts])
        examples += np.sum((epochs * sizes)[first[s] :])
    info = {
        "shards": np.int64(len(touched)),
        "slices": np.sum(settings.slices - first),
        "retrained_examples": np.int64(examples),
        "full_examples": np.int64(settings.epochs * np.sum(state.active)),
    }
    made = dict(checkpoints=tuple(checkpoints), digests=digests)
    return dataclasses.replace(state, **made), info


def members(state: State, shard: int) -> list[np.ndarray]:
    """Returns the active indices of each slice of a shard."""
    inside = np.asarray(state.active) & (np.asarray(state.shard) == shard)
    part = np.asarray(state.slice)
    return [np.flatnonzero(inside & (part == r)) for r in range(state.settings.slices)]


def name_of(digest: np.ndarray) -> str:
    """Returns the name under which a slice is kept, of its digest uint8[32]."""
    return np.asarray(digest).tobytes().hex()


def find(kept: Kept | None, name: str, problem: Problem) -> Variables | None:
    """Returns the slice of that name, if it is kept."""
    arrays = None if kept is None else kept.get(name)
    if arrays is None:
        return None
    return common.from_arrays(arrays, training.structure(problem))


def train_shard(
    state: State,
    shard: int,
    parts: list[np.ndarray],
    models: tuple,
    names: list[str],
    kept: Kept | None,
) -> tuple:
    """Trains the slices of a shard that are None in `models`, each after another."""
    made = list(models)
    key_bits, problem, settings = state.key_bits, state.problem, state.settings
    for r in range(len(made)):
        if made[r] is not None:
            continue
        before = made[r - 1] if r else training.begin(key_bits, shard, problem)
        members = np.sort(np.concatenate(parts[: r + 1]))
        part = shard, r
        made[r] = training.train_slice(
            key_bits, before, problem, members, part, settings
        )
        if kept is not None:
            kept.put(names[r], common.to_arrays(made[r]))
    return tuple(made)
