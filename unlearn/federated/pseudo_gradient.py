"""PUF: what the forgetting client would send in a round is taken away, enlarged.

    theta <- theta - scale (theta_f - theta)     theta_f: trained on what is forgotten
    then FedAvg of what stays

An ordinary round of an ordinary client, in which the server changes the sign, so it
needs no storage. PUF, 2025, https://arxiv.org/abs/2504.05822.
"""

import jax
import jax.numpy as jnp

from unlearn.federated.asked import asked_updates
from unlearn.federated.clients import Request
from unlearn.federated.recovery import recover
from unlearn.federated.registry import federated
from unlearn.federated.rounds import Federated, mean_update
from unlearn.problem import Variables


@federated(
    paper="arXiv:2504.05822",
    differs="PUF-Special in one unlearning round; several who forget are averaged",
    asks=True,
    search={"scale": (0.2, 5.0), "rate": (0.2, 2.0)},
)
def pseudo_gradient(
    key: jax.Array,
    federated: Federated,
    request: Request,
    *,
    scale: float = 5.0,
    clients: int = 0,
    rounds: int = 6,
    rate: float = 1.0,
) -> tuple[Variables, dict]:
    """Takes the pseudo-gradient away, then recovers.

    `clients`: so many of those with most to forget are asked; 0: all. One that has
    nothing to forget takes no step, and to know how many have saves the asking.
    `rate`: times the clients' learning rate of the training, where it recovers.

    Raises:
      InputError: there are not so many clients.
    """
    key_asked, key_rounds = jax.random.split(key)
    updates, who = asked_updates(key_asked, federated, request, clients)
    shares = request.forgotten.sizes[who].astype(jnp.float32)
    mean = mean_update(updates, shares)
    variables = {
        **federated.variables,
        "params": jax.tree.map(
            lambda w, u: w - scale * u, federated.variables["params"], mean["params"]
        ),
    }
    asked = {
        "rounds": 1,
        "messages": 2 * jnp.sum(shares > 0),
        "passes": federated.recipe.epochs * jnp.sum(shares),
    }
    return recover(
        *(key_rounds, federated, request, variables, rounds), rate=rate, asked=asked
    )
