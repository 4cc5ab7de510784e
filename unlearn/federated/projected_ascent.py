"""PGA: the client that leaves climbs its own loss, no farther than a ball allows.

    reference <- (theta - s theta_f) / (1 - s)      the model less what f had sent
    maximise  E_f[CE(f(x), y)]  over  |theta - reference| <= radius

s is the client's share of the examples, theta_f what it would send once more. The
radius is a share of the mean distance from the reference to fresh random models: beyond
it a model is no better than random. Then the others go on. Halimi et al., "Federated
Unlearning: How to Efficiently Erase a Client in FL?", 2022,
https://arxiv.org/abs/2207.05521: a third of the distance, gradients clipped at 5, early
stopping at a given accuracy.
"""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from unlearn import training
from unlearn.federated.asked import asked_updates
from unlearn.federated.clients import Request
from unlearn.federated.recovery import recover
from unlearn.federated.registry import federated
from unlearn.federated.rounds import Federated, local_training, start
from unlearn.problem import Variables
from unlearn.training import classification

CLIP = 5.0


@federated(
    paper="arXiv:2207.05521",
    differs="a given number of epochs in the place of early stopping",
    asks=True,
    scope="client",
    search={
        "learning_rate": (1e-3, 0.1),
        "radius": (0.03, 1.0),
        "rate": (0.2, 2.0),
    },
)
def projected_ascent(
    key: jax.Array,
    federated: Federated,
    request: Request,
    *,
    learning_rate: float = 0.01,
    epochs: int = 2,
    radius: float = 1 / 3,
    samples: int = 10,
    rounds: int = 6,
    rate: float = 1.0,
) -> tuple[Variables, dict]:
    """Climbs within the ball, then recovers.

    `rate`: times the clients' learning rate of the training, where it recovers.
    `info["distance"]`: how far it had climbed, as a share of the radius.

    Raises:
      InputError: the request is not of one whole client.
    """
    problem, variables = federated.problem, federated.variables
    key_asked, key_fresh, key_climb, key_rounds = jax.random.split(key, 4)
    updates, who = asked_updates(key_asked, federated, request, 1)
    held, client = request.forgotten, who[0]
    share = held.sizes[client] / federated.clients.sizes.sum()
    reference = jax.tree.map(
        lambda w, u: (w - share * (w + u[0])) / (1 - share), variables, updates
    )
    center, unravel = ravel_pytree(reference["params"])

    def far(key):
        return jnp.linalg.norm(center - ravel_pytree(start(key, problem)["params"])[0])

    distances = jax.lax.map(far, jax.random.split(key_fresh, samples))
    limit = radius * jnp.mean(distances)
    descent = classification(problem.model)

    def climb(variables, batch, key):
        loss, variables = descent(variables, batch, key)
        return -loss, variables

    optimizer = optax.chain(
        optax.clip_by_global_norm(CLIP), optax.scale_by_learning_rate(learning_rate)
    )

    def within(state):
        away = ravel_pytree(state.variables["params"])[0] - center
        away = away * jnp.minimum(1, limit / jnp.linalg.norm(away))
        params = unravel(center + away)
        return state._replace(variables={**state.variables, "params": params})

    state, _ = local_training(
        key_climb,
        training.start(reference, optimizer),
        problem,
        held,
        client,
        climb,
        optimizer,
        epochs=epochs,
        batch_size=federated.recipe.batch_size,
        after_step=within,
    )
    moved = ravel_pytree(state.variables["params"])[0] - center
    passes = (federated.recipe.epochs + epochs) * held.sizes[client]
    after, info = recover(
        key_rounds,
        federated,
        request,
        state.variables,
        rounds,
        rate=rate,
        asked={"rounds": 1, "messages": 2, "passes": passes},
    )
    return after, info | {"distance": jnp.linalg.norm(moved) / limit}
