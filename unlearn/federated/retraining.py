"""Retraining a federation without what is forgotten: what all others are compared with.

    theta <- FedAvg of the examples that stay, from fresh random weights

Exact: nothing of what was trained before is read. With fewer `rounds`, at a `rate` of
their own, it is the competitor of every method that takes rounds.
"""

import jax

from unlearn.federated.clients import Request
from unlearn.federated.registry import costs, federated
from unlearn.federated.rounds import Federated, federate
from unlearn.problem import Variables


@federated(
    paper="the definition of unlearning", kind="exact", search={"rate": (0.2, 2.0)}
)
def retrain(
    key: jax.Array,
    federated: Federated,
    request: Request,
    *,
    rounds: int = 0,
    rate: float = 1.0,
) -> tuple[Variables, dict]:
    """Trains a new federation for `rounds`, 0: as many as before.

    `rate`: times the clients' learning rate of the training.
    """
    trained = federated.recipe
    recipe = trained._replace(
        rounds=rounds or trained.rounds,
        keep_every=0,
        learning_rate=rate * trained.learning_rate,
    )
    variables, history = federate(key, federated.problem, request.left, recipe)
    return variables, costs(request.left, recipe) | {"loss": history.losses}
