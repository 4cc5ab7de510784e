"""The clients that forget, asked once more."""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.federated.clients import Request
from unlearn.federated.rounds import Federated, local_update, over_clients
from unlearn.problem import Variables


def asked_updates(
    key: jax.Array,
    federated: Federated,
    request: Request,
    clients: int,
) -> tuple[Variables, jax.Array]:
    """Trains locally on what is forgotten; returns changes [clients, ...] and who.

    Asked are the clients with most to forget: int32[clients]; 0: all.

    Raises:
      InputError: there are not so many.
    """
    if not 0 <= clients <= federated.clients.number:
        raise InputError(
            f"clients must be from 0 (all) to {federated.clients.number}; it is "
            f"{clients}"
        )
    clients = clients or federated.clients.number
    who = jnp.argsort(-request.forgotten.sizes)[:clients]
    start, held = federated.variables, request.forgotten

    def one(scanned):
        client, key = scanned
        args = key, start, federated.problem, held, client, federated.recipe
        return local_update(*args)[0]

    return over_clients(one, (who, jax.random.split(key, clients))), who
