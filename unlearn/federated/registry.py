"""The registry of federated methods: each declares itself where it is defined.

    @federated(paper="arXiv:...", stores=True)
    def name(key, federated, request, *, rounds=5): ...

A method is `fn(key, federated, request, *, ...) -> (variables, info)`, as pure as those
of `unlearn.methods`. `info` has what it cost: `rounds`, in which clients took part;
`messages`, models that were sent either way; `passes`, examples that were trained on.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from unlearn.errors import InputError
from unlearn.federated.clients import Clients, Request
from unlearn.federated.rounds import Recipe
from unlearn.problem import Variables

SCOPES = ("any", "clients", "client")


class FederatedInfo(NamedTuple):
    """What a federated method declares of itself."""

    name: str
    fn: Callable[..., Any]
    paper: str
    differs: str  # in what it is not as in the paper
    stores: bool  # whether it needs what clients sent while training
    asks: bool  # whether who forgets has to take part once more
    scope: str  # any examples; clients that leave with all they have; one of these
    kind: str  # exact or approximate
    search: dict[str, tuple[float, float]]  # floats to tune: lowest and highest value


FEDERATED: dict[str, FederatedInfo] = {}


def federated(
    *,
    paper: str,
    differs: str = "",
    stores: bool = False,
    asks: bool = False,
    scope: str = "any",
    kind: str = "approximate",
    search: dict[str, tuple[float, float]] | None = None,
) -> Callable:
    """Registers the decorated function.

    Args:
      paper: where it is described.
      differs: what is not as in the paper.
      stores: it needs the updates that were kept (`Recipe.keep_every`).
      asks: the clients that forget take part once more.
      scope: `clients` if it only forgets whole clients, `client` if one of them at a
        time, else `any`.
      kind: exact or approximate.
      search: floats worth tuning, each with its lowest and highest value.

    Raises:
      InputError: a declaration that does not fit the function.
    """

    def register(fn: Any) -> Any:
        parameters = list(inspect.signature(fn).parameters.values())
        if [p.name for p in parameters[:3]] != ["key", "federated", "request"]:
            raise InputError(
                f"federated method {fn.__name__}: the first three arguments must be "
                "key, federated, request"
            )
        if scope not in SCOPES:
            raise InputError(
                f"federated method {fn.__name__}: unknown scope {scope!r}: choose from "
                f"{', '.join(SCOPES)}"
            )

        floats = {p.name for p in parameters[3:] if isinstance(p.default, float)}
        if unknown := set(search or {}) - floats:
            raise InputError(
                f"federated method {fn.__name__}: search names {sorted(unknown)[0]!r}, "
                "which is no argument with a float default"
            )

        @functools.wraps(fn)
        def checked(key, federated, request, **constants):
            check_scope(fn.__name__, scope, request)
            check_same(federated.clients, request)
            return fn(key, federated, request, **constants)

        FEDERATED[fn.__name__] = FederatedInfo(
            *(fn.__name__, checked, paper, differs, stores, asks, scope, kind),
            search or {},
        )
        return checked

    return register


def check_scope(name: str, scope: str, request: Request) -> None:
    """Refuses a request that a method cannot answer; traced ones are not known.

    Raises:
      InputError: some examples of a client, or several clients, where it cannot.
    """
    sizes = request.forgotten.sizes, request.left.sizes
    if scope == "any" or any(isinstance(x, Tracer) for x in sizes):
        return
    gone, stays = (np.asarray(x) for x in sizes)
    if (stays[gone > 0] > 0).any():
        raise InputError(
            f"{name} forgets whole clients, and this request leaves some of a client's "
            "examples: choose a method of scope any"
        )
    if scope == "client" and (gone > 0).sum() > 1:
        raise InputError(
            f"{name} forgets one client at a time; the request names "
            f"{(gone > 0).sum()}: answer them one after another"
        )


def check_same(clients: Clients, request: Request) -> None:
    """Refuses a request of other clients; of traced ones nothing can be said.

    Raises:
      InputError: a client whose examples to forget and to keep are not what it holds.
    """
    if any(isinstance(x, Tracer) for x in jax.tree.leaves((clients, request))):
        return
    held, *parts = (Clients(*map(np.asarray, who)) for who in (clients, *request))
    if any(part.number != held.number for part in parts) or any(
        not np.array_equal(
            np.sort(held.of(client)),
            np.sort(np.concatenate([part.of(client) for part in parts])),
        )
        for client in range(held.number)
    ):
        raise InputError(
            "the request is of other clients than the federation's: make it with "
            "leave(federated.clients, ...) or forget(federated.clients, ...)"
        )


def costs(
    clients: Clients,
    recipe: Recipe,
    *,
    rounds: int = 0,
    messages: Any = 0,
    passes: Any = 0,
) -> dict[str, jax.Array]:
    """Counts what rounds of the clients that stay cost, and what came before.

    Args:
      clients: those that take part.
      recipe: of the rounds.
      rounds, messages, passes: before these.
    """
    present = (clients.sizes > 0).sum()
    asked = recipe.participants or clients.number
    each = clients.sizes.sum() / present * (present.clip(max=asked))
    return {
        "rounds": jax.numpy.int32(recipe.rounds + rounds),
        "messages": 2 * recipe.rounds * present.clip(max=asked) + messages,
        "passes": recipe.rounds * recipe.epochs * each + passes,
    }


def size_in_bytes(variables: Variables) -> int:
    """Returns the bytes of a model, or of a tree of updates."""
    leaves = jax.tree.leaves(variables)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
