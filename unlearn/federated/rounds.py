"""Federated averaging: clients train on their own, the server averages what changed.

    each round:  theta_c <- local training of theta on client c's examples
                 theta   <- server optimiser(theta, sum_c n_c / n (theta_c - theta))

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
Data", 2017, https://arxiv.org/abs/1602.05629; with a server optimiser Reddi et al.,
"Adaptive Federated Optimization", 2021, https://arxiv.org/abs/2003.00295. A round is
one program: it scans over rounds and maps over clients (vectorised on an accelerator,
one after another on a CPU), and it maps over keys, so that many federations are one
program as well. Batch statistics are averaged like the weights.
"""

import dataclasses
import functools
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from unlearn import parallel, training
from unlearn.errors import InputError
from unlearn.federated.clients import Clients, check_held
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import Rows, classification

__all__ = [
    "Federated",
    "History",
    "Recipe",
    "federate",
    "local_update",
    "mean_update",
    "start",
    "train",
]


class Recipe(NamedTuple):
    """How a federation trains; for `federate` alone the floats may be traced."""

    rounds: int = 30
    participants: int = 0  # clients a round, drawn at random; 0: all
    epochs: int = 1  # of a client, a round
    batch_size: int = 32
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    server_rate: float = 1.0  # with 1 and no momentum: the average
    server_momentum: float = 0.0
    keep_every: int = 0  # rounds of which what clients sent is kept; 0: of none

    def check(self) -> None:
        """Refuses numbers that make no sense.

        Raises:
          InputError: in one line.
        """
        least = {"rounds": 1, "epochs": 1, "batch_size": 1}
        least |= {"participants": 0, "keep_every": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise InputError(
                    f"{name} must be at least {lowest}; it is {getattr(self, name)}"
                )
        for name in ("learning_rate", "server_rate"):
            rate = getattr(self, name)
            if isinstance(rate, numbers.Real) and not 0 < rate < math.inf:
                raise InputError(f"{name} must be finite and above 0; it is {rate}")
        training.check_rates(self._asdict())

    def optimizer(self) -> optax.GradientTransformation:
        """Makes the optimizer of a client, which starts anew each round."""
        options = dict(momentum=self.momentum, weight_decay=self.weight_decay)
        return sgd(self.learning_rate, **options)

    def server(self) -> optax.GradientTransformation:
        """Makes the optimizer of the server."""
        return sgd(self.server_rate, momentum=self.server_momentum)


class History(NamedTuple):
    """What was seen, and kept, of a federation: R rounds of P participants."""

    losses: jax.Array  # float32[R, P], of each participant's training
    who: jax.Array  # int32[R, P]
    kept_who: jax.Array  # int32[K, P]: the same of the rounds that are kept
    updates: Any  # tree of float32[K, P, ...]: what they sent; None if none is kept
    watched: Any = None  # what `watch` said after each round: [R, ...]


def local_update(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    clients: Clients,
    client: jax.Array,
    recipe: Recipe,
) -> tuple[Variables, jax.Array]:
    """Trains on one client's examples; returns the change and the mean loss."""
    state, loss = local_training(
        key,
        training.start(variables, recipe.optimizer()),
        problem,
        clients,
        client,
        classification(problem.model),
        recipe.optimizer(),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
    )
    return jax.tree.map(jnp.subtract, state.variables, variables), loss


def local_training(
    key: jax.Array,
    state: training.State,
    problem: Problem,
    clients: Clients,
    client: jax.Array,
    objective: training.Objective,
    optimizer: optax.GradientTransformation,
    *,
    epochs: int,
    batch_size: int,
    after_step: Callable[[training.State], training.State] = lambda state: state,
) -> tuple[training.State, jax.Array]:
    """Passes over one client's examples; returns the state and the mean loss.

    The loss of a batch is the mean over its examples, however few they are. A client
    takes as many steps as it has batches, and `after_step` each time.
    """
    indices, size = clients.indices[client], clients.sizes[client]
    steps, batch_size = training.batch_shape(len(indices), batch_size)

    def one_epoch(state, key):
        key_order, key_steps = jax.random.split(key)
        rows = own_batches(key_order, indices, size, steps, batch_size)

        def step(number, carry):
            state, total = carry
            row = jax.tree.map(lambda x: x[number], rows)
            keys = jax.random.split(jax.random.fold_in(key_steps, number))
            batch = problem.batch(*row, key=keys[0])
            state, loss = training.descend(objective, optimizer, state, batch, keys[1])
            return after_step(state), total + loss

        return jax.lax.fori_loop(0, taken, step, (state, jnp.float32(0)))

    taken = -(-size // batch_size)
    state, losses = jax.lax.scan(one_epoch, state, training.epoch_keys(key, epochs))
    mean = jnp.sum(losses) / jnp.maximum(taken * epochs, 1)
    return state, jnp.where(taken > 0, mean, jnp.nan)


def own_batches(
    key: jax.Array, indices: jax.Array, size: jax.Array, steps: int, batch_size: int
) -> Rows:
    """Shuffles the first `size` of a client's row; batches weigh 1 in the mean.

    The last one is filled from the head of the same order, with weight 0, whatever else
    is in the row.
    """
    count = len(indices)
    places = jnp.arange(count)
    drawn = jnp.where(places < size, jax.random.uniform(key, (count,)), 2.0)
    order = jnp.argsort(drawn)
    total = steps * batch_size
    filled = order[jnp.arange(total) % jnp.maximum(size, 1)]
    rows = indices[filled].reshape(steps, batch_size)
    own = (jnp.arange(total) < size).reshape(steps, batch_size)
    weights = own * batch_size / jnp.maximum(own.sum(axis=1, keepdims=True), 1)
    return Rows(rows, weights.astype(jnp.float32))


def mean_update(updates: Variables, shares: jax.Array) -> Variables:
    """Averages changes [P, ...] by shares float32[P] that need not add up to 1."""
    shares = shares / jnp.maximum(jnp.sum(shares), 1e-12)
    return jax.tree.map(lambda u: jnp.tensordot(shares, u, axes=1), updates)


def start(key: jax.Array, problem: Problem) -> Variables:
    """Returns fresh random variables: those of a federation that `key` trains."""
    return problem.model.init(key, problem.inputs(jnp.zeros(1, jnp.int32)))


def federate(
    key: jax.Array,
    problem: Problem,
    clients: Clients,
    recipe: Recipe,
    *,
    variables: Variables | None = None,
    watch: Callable[[Variables], Any] | None = None,
) -> tuple[Variables, History]:
    """Trains a federation; returns the server's variables and its history.

    Args:
      key: of the initial variables and of all rounds.
      clients: those without examples are absent, and the others do as if they had
        never been there.
      variables: to go on from, in the place of fresh ones.
      watch: a pure function of the server's variables, asked after each round.

    Raises:
      InputError: a recipe that makes no sense, or clients that do not fit it or the
        problem.
    """
    recipe.check()
    if recipe.participants > clients.number:
        raise InputError(
            f"participants is {recipe.participants}, and there are {clients.number} "
            "clients: lower it, or set it to 0 for all of them"
        )
    key_start, key_rounds = jax.random.split(key)
    check_held(clients, len(problem.labels))
    if variables is None:
        variables = start(key_start, problem)
    present = clients.sizes > 0
    watch = watch or (lambda variables: ())
    server, every = recipe.server(), max(recipe.keep_every, 1)
    asked = recipe.participants or clients.number
    clipped = recipe.rounds // every * every

    def one_round(carry, key):
        variables, state = carry
        key_draw, key_train = key
        who = participants(key_draw, present, asked)

        def train(scanned):
            client, key = scanned
            return local_update(key, variables, problem, clients, client, recipe)

        keys = jax.vmap(jax.random.fold_in, (None, 0))(key_train, who)
        updates, losses = over_clients(train, (who, keys))
        shares = clients.sizes[who].astype(jnp.float32)
        variables, state = apply_mean(server, variables, state, updates, shares)
        return (variables, state), ((losses, who, watch(variables)), updates)

    def without_updates(carry, key):
        carry, (seen, _) = one_round(carry, key)
        return carry, seen

    def group(carry, keys):
        """So many rounds, the first of which is kept."""
        carry, (seen, updates) = one_round(carry, keys[0])
        carry, rest = jax.lax.scan(without_updates, carry, keys[1:])
        both = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), seen, rest)
        return carry, (both, seen[1], updates)

    carry = variables, server.init(variables["params"])
    keys = jax.vmap(keys_of_round, (None, 0))(
        key_rounds, jnp.arange(recipe.rounds, dtype=jnp.int32)
    )
    if not recipe.keep_every:
        carry, (losses, who, seen) = jax.lax.scan(without_updates, carry, keys)
        return carry[0], History(losses, who, who[:0], None, seen)
    grouped = keys[:clipped].reshape(-1, every, *keys.shape[1:])
    carry, (kept, kept_who, updates) = jax.lax.scan(group, carry, grouped)
    carry, more = jax.lax.scan(without_updates, carry, keys[clipped:])
    losses, who, seen = jax.tree.map(
        lambda a, b: jnp.concatenate([a.reshape(clipped, *a.shape[2:]), b]), kept, more
    )
    return carry[0], History(losses, who, kept_who, updates, seen)


def keys_of_round(key: jax.Array, number: jax.Array | int) -> jax.Array:
    """Makes the keys of a round: of who takes part, and of their training.

    A client's own key is the second one and its number (`jax.random.fold_in`).
    """
    return jax.random.split(jax.random.fold_in(key, number))


def participants(key: jax.Array, present: jax.Array, asked: int) -> jax.Array:
    """Draws int32[asked] different clients, absent ones if there are no others."""
    drawn = jnp.where(present, jax.random.uniform(key, present.shape), 2.0)
    chosen = jnp.argsort(drawn)[:asked]
    return jnp.sort(chosen) if asked == len(present) else chosen


def over_clients(fn: Callable, scanned: Any) -> Any:
    """Maps over clients: one after another on a CPU, vectorised elsewhere."""
    if parallel.choose_mode() == "map":
        return jax.lax.map(fn, scanned)
    return jax.vmap(fn)(scanned)


def apply_mean(
    server: optax.GradientTransformation,
    variables: Variables,
    state: optax.OptState,
    updates: Variables,
    shares: jax.Array,
) -> tuple[Variables, optax.OptState]:
    """Takes the server's step; batch statistics take the average as it is."""
    mean = mean_update(updates, shares)
    gradient = jax.tree.map(jnp.negative, mean["params"])
    step, state = server.update(gradient, state, variables["params"])
    changes = {**mean, "params": step}
    return jax.tree.map(jnp.add, variables, changes), state


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["problem", "clients", "first", "variables", "history"],
    meta_fields=["recipe"],
)
@dataclasses.dataclass(frozen=True)
class Federated:
    """A federation that was trained: what its unlearning methods are given."""

    problem: Problem
    clients: Clients
    recipe: Recipe
    first: Variables  # that it began with
    variables: Variables  # that it ended with
    history: History

    def replace(self, **changes: Any) -> "Federated":
        """Returns a copy with other fields."""
        return dataclasses.replace(self, **changes)


def train(
    key: jax.Array,
    problem: Problem,
    clients: Clients,
    recipe: Recipe,
    *,
    watch: Callable[[Variables], Any] | None = None,
    partial: bool = False,
) -> Federated:
    """Trains a federation, see `federate`; returns all that unlearning may need.

    Args:
      partial: the clients may hold some of the problem's examples only.

    Raises:
      InputError: as `federate`, or examples that no client holds.
    """
    if not partial and not isinstance(clients.sizes, Tracer):
        held, there = np.asarray(clients.sizes).sum(), len(problem.labels)
        check_held(clients, there)
        if held < there:
            raise InputError(
                f"the clients hold {held} of the problem's {there} examples: deal out "
                "all of them, or pass partial=True"
            )
    variables, history = federate(key, problem, clients, recipe, watch=watch)
    first = start(jax.random.split(key)[0], problem)
    return Federated(problem, clients, recipe, first, variables, history)
