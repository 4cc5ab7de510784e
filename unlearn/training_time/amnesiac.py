"""Amnesiac unlearning: take back the updates of every batch that held the examples.

    training:  theta_t+1 = theta_t + Delta_t;  Delta_t is kept if batch t holds an
               example that may be requested
    request:   theta <- theta - sum of Delta_t over batches that held one of them
    repair:    a few epochs on the rest, its updates kept as well

Graves et al., "Amnesiac Machine Learning", AAAI 2021, https://arxiv.org/abs/2010.10981.
What the examples did to *later* updates stays, and nothing bounds it: no guarantee.
Examples in most batches (a class) take almost everything with them; the repair is then
a training from the start.
Memory: one copy of the parameters for each stored update (batches x epochs if all
examples are `sensitive`), or one in all if they will be requested `together`. That is
checked when training; a request is never refused for it: it takes back one update or
more, and where there is no room for the updates of its repair, batch by batch, their
sum is stored as one, which the next request takes back whole.
Simplified: plain SGD (in the paper's Adam, as with momentum, an update carries
gradients of earlier batches), and batch statistics are not subtracted; the repair
renews them.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem
from unlearn.surgery import fresh
from unlearn.training import Recipe, Rows, classification, descend, start
from unlearn.training_time import common

EVERYONE = -1
"""Stands for all sensitive examples that there were, in the place of a batch."""


class Settings(NamedTuple):
    """The constants of `fit` that `forget` needs."""

    recipe: Recipe
    repair: Recipe
    together: bool
    max_gigabytes: float


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["variables", "updates", "batches", "sensitive", "active", "problem"],
    meta_fields=["settings"],
)
@dataclasses.dataclass(frozen=True)
class State:
    """A model trained, with the updates that can be taken back."""

    variables: dict
    updates: dict | None  # like the parameters, a leading axis: one entry an update
    batches: np.ndarray  # int32[updates, B]: who was in the batch, or EVERYONE
    sensitive: np.ndarray  # bool[N]: may be requested
    active: np.ndarray  # bool[N]: in the training set
    problem: Problem
    settings: Settings


def fit(
    key: jax.Array,
    problem: Problem,
    *,
    indices: ArrayLike | None = None,
    sensitive: ArrayLike | None = None,
    together: bool = False,
    epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    momentum: float = 0.0,
    weight_decay: float = 5e-4,
    schedule: str = "cosine",
    repair_epochs: int = 1,
    repair_learning_rate: float = 0.05,
    max_gigabytes: float = 4.0,
) -> State:
    """Trains, and keeps the updates that may have to be taken back.

    `sensitive` holds the indices that may be requested (default: all); with `together`
    they can only be requested all at once, and their updates are summed.

    Raises:
      InputError: the updates would take more than `max_gigabytes`; an index of
        `sensitive` is out of range.
    """
    common.check_batch_size(batch_size)
    problem, active = common.training_set(problem, indices)
    _, marked = common.training_set(problem, sensitive)
    batch_size = min(batch_size, int(active.sum()))
    recipe = Recipe(
        epochs, batch_size, learning_rate, momentum, weight_decay, 0, schedule
    )
    repair = recipe._replace(epochs=repair_epochs, learning_rate=repair_learning_rate)
    settings = Settings(recipe, repair, together, max_gigabytes)
    key_init, key_fit = jax.random.split(key)
    variables = jax.device_get(_fresh(key_init, problem.replace(examples=None)))
    updates = jax.tree.map(
        lambda p: np.zeros((0, *p.shape), p.dtype), variables["params"]
    )
    batches = np.zeros((0, batch_size), np.int32)
    state = State(variables, updates, batches, marked, active, problem, settings)
    rows, hit = draw(key_fit, state, recipe)
    check_room(variables["params"], 1 if together else int(hit.sum()), max_gigabytes)
    return train(key_fit, state, recipe, rows, hit, together)


def forget(key: jax.Array, state: State, indices: ArrayLike) -> tuple[State, dict]:
    """Subtracts the updates of the batches that held `indices`, then repairs.

    `info`: updates `subtracted` and still `stored`, their `gigabytes`, and
    `retrained_examples` of the repair (examples times epochs).

    Raises:
      InputError: see `common.check_request`; an example is not `sensitive`, not all of
        those stored `together` are requested, or the state is `for_serving`.
    """
    indices = common.check_request(state.active, indices)
    marked = np.asarray(state.sensitive)
    unknown = indices[~marked[indices]]
    if unknown.size:
        raise InputError(
            f"the updates of example {unknown[0]} were not stored: "
            "name it in `sensitive` when training"
        )
    if state.settings.together and len(indices) < np.sum(marked & state.active):
        raise InputError(
            "the sensitive examples are stored together: request all of them, "
            "or train with together=False"
        )
    if state.updates is None:
        raise InputError(
            "this state is for serving: it predicts and cannot forget; use the state "
            "that it was made of"
        )
    batches, updates = np.asarray(state.batches), jax.device_get(state.updates)
    variables = jax.device_get(state.variables)
    hit = np.any(np.isin(batches, [*indices, EVERYONE]), axis=1)
    taken = jax.tree.map(lambda u: u[hit].sum(0, dtype=np.float64), updates)
    params = jax.tree.map(
        lambda p, u: (p - u).astype(p.dtype), variables["params"], taken
    )
    active = np.array(state.active)
    active[indices] = False
    state = dataclasses.replace(
        state,
        variables={**variables, "params": params},
        updates=jax.tree.map(lambda u: u[~hit], updates),
        batches=batches[~hit],
        active=active,
    )
    if state.settings.repair.epochs:
        state = repair(key, state)
    info = {
        "subtracted": np.sum(hit),
        "stored": np.int64(len(state.batches)),
        "gigabytes": np.float64(gigabytes(params, len(state.batches))),
        "retrained_examples": np.int64(state.settings.repair.epochs * active.sum()),
    }
    return state, info


def predict(state: State, examples: Any) -> jax.Array:
    """Returns logits float32[N, K]."""
    problem = state.problem
    return common.predict(problem.model, state.variables, examples, problem.preprocess)


def for_serving(state: State) -> State:
    """Returns the state without updates: it predicts and cannot forget."""
    return dataclasses.replace(state, updates=None, batches=state.batches[:0])


def gigabytes(params: dict, updates: int) -> float:
    """Returns the memory that so many stored updates take."""
    return (
        updates * sum(p.size * p.dtype.itemsize for p in jax.tree.leaves(params)) / 1e9
    )


def check_room(params: dict, updates: int, max_gigabytes: float) -> None:
    """Refuses a training whose updates would not fit, before it begins.

    Raises:
      InputError: `updates`, or the one that a repair needs, take more than the limit.
    """
    size = gigabytes(params, max(updates, 1))
    if size > max_gigabytes:
        raise InputError(
            f"the updates of {max(updates, 1)} batches take {size:.2g} GB, "
            f"more than {max_gigabytes:g}: name fewer `sensitive` examples, store them "
            "`together`, or raise max_gigabytes"
        )


def draw(key: jax.Array, state: State, recipe: Recipe) -> tuple[Rows, np.ndarray]:
    """Draws the batches of active examples, and says which hold one to be requested."""
    rng = common.random(common.key_bits(key))
    members = np.flatnonzero(state.active)
    rows = common.passes(rng, members, recipe.epochs, recipe.batch_size)
    return rows, (np.asarray(state.sensitive) & state.active)[rows.indices].any(1)


def repair(key: jax.Array, state: State) -> State:
    """Trains on what is left; its updates are stored, as one if there is no room.

    There is room for one: the request has taken back the last repair, or a batch.
    """
    recipe, limit = state.settings.repair, state.settings.max_gigabytes
    rows, hit = draw(key, state, recipe)
    stored = len(state.batches) + int(hit.sum())
    summed = gigabytes(state.variables["params"], stored) > limit
    return train(key, state, recipe, rows, hit, summed)


def train(
    key: jax.Array,
    state: State,
    recipe: Recipe,
    rows: Rows,
    hit: np.ndarray,
    summed: bool,
) -> State:
    """Takes a step a row and stores the updates of those that `hit` names.

    Shapes are those of a pass over all examples, whoever is left: requests run the
    same compiled code.
    """
    most = recipe.epochs * -(-len(state.active) // recipe.batch_size)
    fill = [(0, most - len(hit)), (0, 0)]
    padded = Rows(*(np.pad(x, fill) for x in rows))
    count = int(np.any(hit)) if summed else int(hit.sum())
    slots = np.full(most, most, np.int32)
    slots[: len(hit)][hit] = 0 if summed else np.arange(count)
    constants = rates(recipe, len(hit), most), recipe.momentum, recipe.weight_decay
    variables, updates = jax.device_get(
        _run(
            1 if summed else min(most, room(state, recipe)),
            key,
            state.variables,
            state.problem,
            padded,
            slots,
            len(hit),
            constants,
        )
    )
    everyone = np.full((count, recipe.batch_size), EVERYONE, np.int32)
    batches = everyone if summed else rows.indices[hit]
    return dataclasses.replace(
        state,
        variables=variables,
        updates=jax.tree.map(
            lambda old, new: np.concatenate([old, new[:count]]), state.updates, updates
        ),
        batches=np.concatenate([state.batches, batches]),
    )


def room(state: State, recipe: Recipe) -> int:
    """Returns a number of updates that a training never stores more of."""
    single = gigabytes(state.variables["params"], 1)
    # The last batch of an epoch is filled up: who is in it may be in another too.
    at_most = 2 * recipe.epochs * int(np.sum(state.sensitive))
    return min(at_most, int(state.settings.max_gigabytes / single))


def rates(recipe: Recipe, steps: int, most: int) -> np.ndarray:
    """Returns the learning rate of each step: float32[most], of `steps` in all."""
    rate = schedule(recipe.schedule, recipe.learning_rate, steps)
    return np.broadcast_to(np.asarray(rate(jnp.arange(most)), np.float32), most)


_fresh = jax.jit(fresh)


@functools.partial(jax.jit, static_argnums=0)
def _run(count, key, variables, problem, rows, slots, steps, constants):
    """Takes `steps` steps; adds each update to the entry its slot names, if any."""
    objective = classification(problem.model)
    rates, momentum, weight_decay = constants
    optimizer = sgd(
        lambda step: rates[step], momentum=momentum, weight_decay=weight_decay
    )

    def step(number, carry):
        state, updates = carry
        key_model, key_augment = jax.random.split(jax.random.fold_in(key, number))
        row = jax.tree.map(lambda x: x[number], rows)
        batch = problem.batch(*row, key=key_augment)
        moved, _ = descend(objective, optimizer, state, batch, key_model)
        updates = jax.tree.map(
            lambda u, new, old: u.at[slots[number]].add(new - old, mode="drop"),
            updates,
            moved.variables["params"],
            state.variables["params"],
        )
        return moved, updates

    updates = jax.tree.map(
        lambda p: jnp.zeros((count, *p.shape), p.dtype), variables["params"]
    )
    carry = start(variables, optimizer), updates
    state, updates = jax.lax.fori_loop(0, steps, step, carry)
    return state.variables, updates
