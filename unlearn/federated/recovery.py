"""Rounds of the clients that stay: how most methods repair what they did."""

import jax

from unlearn.federated.clients import Request
from unlearn.federated.registry import costs
from unlearn.federated.rounds import Federated, federate
from unlearn.problem import Variables


def recover(
    key: jax.Array,
    federated: Federated,
    request: Request,
    variables: Variables,
    rounds: int,
    *,
    server: int = 0,
    more: jax.Array | float = 0,
) -> tuple[Variables, dict]:
    """Goes on for `rounds` on what stays; returns the variables and the costs.

    Args:
      server: messages that were sent before.
      more: passes that were done before.
    """
    recipe = federated.recipe._replace(rounds=rounds, keep_every=0)
    found = costs(request.left, recipe, server=server, more=more)
    if not rounds:
        return variables, found
    variables, history = federate(
        key, federated.problem, request.left, recipe, variables=variables
    )
    return variables, found | {"loss": history.losses}
