"""The same clients and server under Flower, where a federation outgrows one machine.

    # app.py of a Flower app; pyproject.toml names `app:client` and `app:server`
    client = client_app(load)            # load(context) -> Held
    server = server_app(begin, finish)   # begin(context) -> Plan

The server is `rounds.apply_mean` and a client `rounds.local_update`, with the keys that
`rounds.federate` has: the same federation ends at the same weights, to rounding; with
batch statistics, if each client has a batch of examples or its row is as long. Flower
(`pip install flwr`) carries the messages; it is imported when an app is made.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.errors import InputError
from unlearn.federated.clients import Clients
from unlearn.federated.rounds import (
    Recipe,
    apply_mean,
    keys_of_round,
    local_update,
    start,
)
from unlearn.problem import Problem, Variables

if TYPE_CHECKING:
    from flwr.app import Context

PATIENCE = 0.5  # seconds between two looks for clients


class Held(NamedTuple):
    """What a client has."""

    problem: Problem  # its own examples at least
    clients: Clients  # of which `row` is this one; alone, one row of all its examples
    row: int
    number: int  # in the federation: its randomness depends on it
    recipe: Recipe


class Plan(NamedTuple):
    """What the server trains."""

    key: jax.Array  # as of `federate`
    problem: Problem  # for its model and the shape of its inputs
    recipe: Recipe
    clients: int  # that it waits for
    variables: Variables | None = None  # to go on from


def client_app(load: Callable[["Context"], Held]) -> Any:
    """Makes a `ClientApp` that trains on what `load` gives and sends what changed."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(message: Any, context: "Context") -> Any:
        held = load(context)
        variables = unpacked(message.content["arrays"], held.problem)
        key = jax.random.wrap_key_data(
            jnp.array(message.content["config"]["key"], jnp.uint32)
        )
        change, loss = _program(held.recipe)(
            jax.random.fold_in(key, held.number),
            variables,
            held.problem,
            held.clients,
            held.row,
        )
        told = {
            "client": held.number,
            "size": int(held.clients.sizes[held.row]),
            "loss": float(loss),
        }
        content = {"arrays": ArrayRecord(packed(change)), "metrics": MetricRecord(told)}
        return Message(content=RecordDict(content), reply_to=message)

    return app


def server_app(
    begin: Callable[["Context"], Plan],
    finish: Callable[[Variables, "Context"], None],
) -> Any:
    """Makes a `ServerApp` that trains by `begin`'s plan and hands over to `finish`.

    A client that fails in a round counts for nothing in it.
    """
    from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
    from flwr.serverapp import ServerApp

    app = ServerApp()

    @app.main()
    def main(grid: Any, context: "Context") -> None:
        plan = begin(context)
        if plan.recipe.participants:
            raise InputError("under Flower every client takes part: participants=0")
        key_start, key_rounds = jax.random.split(plan.key)
        variables = plan.variables or start(key_start, plan.problem)
        server = plan.recipe.server()
        state, nodes = server.init(variables["params"]), awaited(grid, plan.clients)
        for number in range(plan.recipe.rounds):
            _, key = keys_of_round(key_rounds, number)
            bits = np.asarray(jax.random.key_data(key)).tolist()
            content = {
                "arrays": ArrayRecord(packed(variables)),
                "config": ConfigRecord({"key": bits}),
            }
            replies = grid.send_and_receive(
                [
                    Message(
                        content=RecordDict(content),
                        message_type="train",
                        dst_node_id=node,
                    )
                    for node in nodes
                ]
            )
            told = [reply.content for reply in replies if not reply.has_error()]
            if not told:
                raise InputError(f"no client answered in round {number + 1}")
            told.sort(key=lambda content: content["metrics"]["client"])
            changes = [unpacked(content["arrays"], plan.problem) for content in told]
            sizes = [content["metrics"]["size"] for content in told]
            variables, state = apply_mean(
                server,
                variables,
                state,
                jax.tree.map(lambda *leaves: jnp.stack(leaves), *changes),
                jnp.array(sizes, jnp.float32),
            )
        finish(variables, context)

    return app


def awaited(grid: Any, count: int) -> Sequence[int]:
    """Waits until so many clients are there; returns their numbers in Flower."""
    while len(nodes := sorted(grid.get_node_ids())) < count:
        time.sleep(PATIENCE)
    return nodes


def packed(variables: Variables) -> list[np.ndarray]:
    """Returns the arrays of variables in the order of their tree."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]


def unpacked(record: Any, problem: Problem) -> Variables:
    """Makes variables of arrays that `packed` returned.

    Raises:
      InputError: they are of another model.
    """
    like = jax.eval_shape(lambda key: start(key, problem), jax.random.key(0))
    leaves, arrays = jax.tree.leaves(like), record.to_numpy_ndarrays()
    if [leaf.shape for leaf in leaves] != [array.shape for array in arrays]:
        raise InputError(
            "the server and this client have other models: give both the same"
        )
    tree = jax.tree.structure(like)
    return jax.tree.unflatten(tree, [jnp.asarray(array) for array in arrays])


@functools.lru_cache(maxsize=8)
def _program(recipe: Recipe) -> Callable:
    return jax.jit(functools.partial(local_update, recipe=recipe))
