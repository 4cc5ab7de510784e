"""Rounds of the clients that stay: how most methods repair what they did."""

from typing import Any

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
    rate: float = 1.0,
    asked: dict[str, Any] | None = None,
) -> tuple[Variables, dict]:
    """Goes on for `rounds` on what stays; returns the variables and the costs.

    Args:
      rate: times the clients' learning rate of the training.
      asked: `rounds`, `messages` and `passes` that came before.
    """
    trained = federated.recipe
    recipe = trained._replace(
        rounds=rounds, keep_every=0, learning_rate=rate * trained.learning_rate
    )
    found = costs(request.left, recipe, **(asked or {}))
    if not rounds:
        return variables, found
    variables, history = federate(
        key, federated.problem, request.left, recipe, variables=variables
    )
    return variables, found | {"loss": history.losses}
