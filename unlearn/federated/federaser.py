"""FedEraser: stored updates keep their sizes, and who stays gives them a direction.

    theta <- theta_first
    for each round that was kept:
        d_c   <- a short local training of theta, by each client of then that stays
        theta <- theta + sum_c n_c / n |u_c| d_c / |d_c|       u_c: what c had sent

Sizes are those of each layer's tensor. The first kept round takes the stored updates as
they are, of clients that have nothing to forget: they were computed at the weights that
everything began with. Liu et al., "FedEraser: Enabling Efficient Client-Level Data
Removal from Federated Learning Models", 2021,
https://ieeexplore.ieee.org/document/9521274: calibration trains for half as many
epochs, on every second round. Where a client forgets some of its examples, the sizes of
its old updates have still seen them.
"""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.federated.clients import Request
from unlearn.federated.registry import federated
from unlearn.federated.rounds import Federated, local_update, mean_update, over_clients
from unlearn.problem import Variables


@federated(
    paper="IWQoS 2021, FedEraser",
    differs="the server's optimiser of the training is not repeated: plain averages",
    stores=True,
)
def federaser(
    key: jax.Array, federated: Federated, request: Request, *, epochs: int = 1
) -> tuple[Variables, dict]:
    """Goes through the kept rounds again, in `epochs` of each client a round.

    Raises:
      InputError: no updates were kept.
    """
    problem, history = federated.problem, federated.history
    if history.updates is None or not len(history.kept_who):
        raise InputError(
            "federaser needs the updates of the training: train with keep_every=2, or "
            "choose another method"
        )
    recipe, left = federated.recipe._replace(epochs=epochs), request.left
    untouched = request.forgotten.sizes == 0

    def calibrated(variables, kept):
        number, who, updates = kept
        key_round = jax.random.fold_in(key, number)
        as_it_was = untouched[who] & (number == 0)

        def one(scanned):
            client, stored, as_it_was = scanned

            def train():
                own = jax.random.fold_in(key_round, client)
                change, _ = local_update(own, variables, problem, left, client, recipe)
                return jax.tree.map(of_the_size_of, change, stored)

            return jax.lax.cond(as_it_was, lambda: stored, train)

        changes = over_clients(one, (who, updates, as_it_was))
        sizes = left.sizes[who]
        mean = mean_update(changes, sizes.astype(jnp.float32))
        trained = jnp.where(as_it_was, 0, sizes)
        return jax.tree.map(jnp.add, variables, mean), trained

    count = len(history.kept_who)
    scanned = jnp.arange(count), history.kept_who, history.updates
    variables, trained = jax.lax.scan(calibrated, federated.first, scanned)
    return variables, {
        "rounds": jnp.sum(jnp.any(trained > 0, axis=1)),
        "messages": 2 * jnp.sum(trained > 0),
        "passes": jnp.float32(epochs * jnp.sum(trained)),
    }


def of_the_size_of(change: jax.Array, stored: jax.Array) -> jax.Array:
    """Scales one tensor to the norm of another; one of zeros stays."""
    norms = [jnp.linalg.norm(x.reshape(-1)) for x in (change, stored)]
    return change * norms[1] / jnp.maximum(norms[0], 1e-12)
