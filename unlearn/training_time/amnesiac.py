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
examples are `sensitive`), or one in all if they will be requested `together`.
Simplified: plain SGD (in the paper's Adam, as with momentum, an update carries
gradients of earlier batches), and batch statistics are not subtracted; the repair
renews them.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.problem import Problem
from unlearn.surgery import fresh
from unlearn.training import Recipe, classification, descend, start
from unlearn.training_time import common


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
    updates: dict  # like the parameters, with a leading axis: one entry an update
    batches: np.ndarray  # int32[updates, B]: who was in the batch
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
    problem, active = common.training_set(problem, indices)
    _, marked = common.training_set(problem, sensitive)
    batch_size = min(batch_size, int(active.sum()))
    recipe = Recipe(
        epochs, batch_size, learning_rate, momentum, weight_decay, 0, schedule
    )
    repair = recipe._replace(epochs=repair_epochs, learning_rate=repair_learning_rate)
    settings = Settings(recipe, repair, together, max_gigabytes)
    key_init, key_fit = jax.random.split(key)
    variables = _fresh(key_init, problem.replace(images=None))
    updates = jax.tree.map(
        lambda p: np.zeros((0, *p.shape), p.dtype), variables["params"]
    )
    width = int(np.sum(marked & active)) if together else batch_size
    batches = np.zeros((0, width), np.int32)
    state = State(variables, updates, batches, marked, active, problem, settings)
    return train(key_fit, state, recipe)


def forget(key: jax.Array, state: State, indices: ArrayLike) -> tuple[State, dict]:
    """Subtracts the updates of the batches that held `indices`, then repairs.

    `info`: updates `subtracted` and still `stored`, their `gigabytes`, and
    `retrained_examples` of the repair (examples times epochs).

    Raises:
      InputError: see `common.check_request`; an example is not `sensitive`, or not all
        of those stored `together` are requested.
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
    updates = jax.tree.map(np.asarray, state.updates)
    hit = np.isin(state.batches, indices).any(1)
    params = jax.tree.map(
        lambda p, u: np.float32(p - u[hit].sum(0, dtype=np.float64)),
        jax.tree.map(np.asarray, state.variables["params"]),
        updates,
    )
    active = np.array(state.active)
    active[indices] = False
    state = dataclasses.replace(
        state,
        variables={**state.variables, "params": params},
        updates=jax.tree.map(lambda u: u[~hit], updates),
        batches=np.asarray(state.batches)[~hit],
        active=active,
    )
    repair = state.settings.repair
    if repair.epochs:
        state = train(key, state, repair)
    info = {
        "subtracted": np.sum(hit),
        "stored": np.int64(len(state.batches)),
        "gigabytes": np.float64(gigabytes(params, len(state.batches))),
        "retrained_examples": np.int64(repair.epochs * active.sum()),
    }
    return state, info


def predict(state: State, images: jax.Array) -> jax.Array:
    """Returns logits float32[N, K]."""
    problem = state.problem
    return common.predict(
        problem.model, state.variables, images, problem.mean, problem.std
    )


def gigabytes(params: dict, updates: int) -> float:
    """Returns the memory that so many stored updates take."""
    return (
        updates * sum(p.size * p.dtype.itemsize for p in jax.tree.leaves(params)) / 1e9
    )


def train(key: jax.Array, state: State, recipe: Recipe) -> State:
    """Trains by `recipe` on the active examples and stores the updates it must."""
    members, together = np.flatnonzero(state.active), state.settings.together
    marked = np.flatnonzero(np.asarray(state.sensitive) & state.active)
    rng = common.random(common.key_bits(key))
    rows = common.passes(rng, members, recipe.epochs, recipe.batch_size)
    hit = np.isin(rows.indices, marked).any(1)
    count = min(int(hit.sum()), 1) if together else int(hit.sum())
    slots = np.where(hit, 0 if together else np.cumsum(hit) - 1, count)
    params = state.variables["params"]
    size = gigabytes(params, count + len(state.batches))
    if size > state.settings.max_gigabytes:
        raise InputError(
            f"the updates of {count + len(state.batches)} batches take {size:.1f} GB, "
            f"more than {state.settings.max_gigabytes:g}: name fewer `sensitive` "
            "examples, store them `together`, or raise max_gigabytes"
        )
    steps = len(rows.indices) // recipe.epochs
    slots = slots.astype(np.int32)
    args = key, state.variables, state.problem, rows, slots
    variables, updates = _run(recipe, steps, count, *args)
    if not count:
        return dataclasses.replace(state, variables=variables)
    batches = marked[None].astype(np.int32) if together else rows.indices[hit]
    return dataclasses.replace(
        state,
        variables=variables,
        updates=jax.tree.map(
            lambda *both: np.concatenate([np.asarray(u) for u in both]),
            state.updates,
            updates,
        ),
        batches=np.concatenate([np.asarray(state.batches), batches]),
    )


_fresh = jax.jit(fresh)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _run(recipe, steps, count, key, variables, problem, rows, slots):
    """Takes a step a row; adds its update to the entry that `slots` names, if any."""
    objective = classification(problem.model)
    optimizer = recipe.optimizer(steps * recipe.batch_size)

    def step(carry, scanned):
        state, updates = carry
        number, row, slot = scanned
        key_model, key_augment = jax.random.split(jax.random.fold_in(key, number))
        batch = problem.batch(*row, key=key_augment)
        moved, _ = descend(objective, optimizer, state, batch, key_model)
        if count:
            updates = jax.tree.map(
                lambda u, new, old: u.at[slot].add(new - old, mode="drop"),
                updates,
                moved.variables["params"],
                state.variables["params"],
            )
        return (moved, updates), None

    updates = jax.tree.map(
        lambda p: jnp.zeros((count, *p.shape), p.dtype), variables["params"]
    )
    carry = start(variables, optimizer), updates
    scanned = jnp.arange(len(slots), dtype=jnp.int32), rows, slots
    (state, updates), _ = jax.lax.scan(step, carry, scanned)
    return state.variables, updates
