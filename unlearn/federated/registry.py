"""The registry of federated methods: each declares itself where it is defined.

    @federated(paper="arXiv:...", stores=True)
    def name(key, federated, request, *, rounds=5): ...

A method is `fn(key, federated, request, *, ...) -> (variables, info)`, as pure as those
of `unlearn.methods`. `info` has what it cost: `rounds`, in which clients took part;
`messages`, models that were sent either way; `passes`, examples that were trained on.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from unlearn.errors import InputError
from unlearn.federated.clients import Clients
from unlearn.federated.rounds import Recipe
from unlearn.problem import Variables

SCOPES = ("any", "client")


class FederatedInfo(NamedTuple):
    """What a federated method declares of itself."""

    name: str
    fn: Callable[..., Any]
    paper: str
    differs: str  # in what it is not as in the paper
    stores: bool  # whether it needs what clients sent while training
    asks: bool  # whether who forgets has to take part once more
    scope: str  # client: for one that leaves with all it has; any: any examples
    kind: str  # exact or approximate


FEDERATED: dict[str, FederatedInfo] = {}


def federated(
    *,
    paper: str,
    differs: str = "",
    stores: bool = False,
    asks: bool = False,
    scope: str = "any",
    kind: str = "approximate",
) -> Callable:
    """Registers the decorated function.

    Args:
      paper: where it is described.
      differs: what is not as in the paper.
      stores: it needs the updates that were kept (`Recipe.keep_every`).
      asks: the clients that forget take part once more.
      scope: `client` if it only forgets whole clients, else `any`.
      kind: exact or approximate.

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
        FEDERATED[fn.__name__] = FederatedInfo(
            fn.__name__, fn, paper, differs, stores, asks, scope, kind
        )
        return fn

    return register


def costs(
    clients: Clients, recipe: Recipe, *, server: int = 0, more: Any = 0
) -> dict[str, jax.Array]:
    """Counts what rounds of the clients that stay cost.

    Args:
      clients: those that take part.
      recipe: of the rounds.
      server: messages beside those of the rounds.
      more: passes beside those of the rounds.
    """
    present = (clients.sizes > 0).sum()
    asked = recipe.participants or clients.number
    each = clients.sizes.sum() / present * (present.clip(max=asked))
    return {
        "rounds": jax.numpy.int32(recipe.rounds),
        "messages": 2 * recipe.rounds * present.clip(max=asked) + server,
        "passes": recipe.rounds * recipe.epochs * each + more,
    }


def size_in_bytes(variables: Variables) -> int:
    """Returns the bytes of a model, or of a tree of updates."""
    leaves = jax.tree.leaves(variables)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
