"""Retraining a federation without what is forgotten: what all others are compared with.

    theta <- FedAvg of the examples that stay, from fresh random weights

Exact: nothing of what was trained before is read. With fewer `rounds` it is the
competitor of every method that takes rounds.
"""

import jax

from unlearn.federated.clients import Request
from unlearn.federated.registry import costs, federated
from unlearn.federated.rounds import Federated, federate
from unlearn.problem import Variables


@federated(paper="the definition of unlearning", kind="exact")
def retrain(
    key: jax.Array, federated: Federated, request: Request, *, rounds: int = 0
) -> tuple[Variables, dict]:
    """Trains a new federation for `rounds`, 0: as many as before."""
    recipe = federated.recipe._replace(keep_every=0)
    recipe = recipe._replace(rounds=rounds or recipe.rounds)
    variables, history = federate(key, federated.problem, request.left, recipe)
    return variables, costs(request.left, recipe) | {"loss": history.losses}
