"""Knowledge distillation: a client's updates are taken away, and the rest comes back.

    theta <- theta - sum_t s_t u_t          what the client had added to the average
    minimise  KL(original(x) || theta(x))   on unlabelled examples that the server has

s_t is the client's share of the round, times what a momentum of the server made of it.

The client's updates are gone from the weights, but later ones were computed at weights
that had them: the model is broken, and the server repairs it with the original for a
teacher. No client takes part. Wu et al., "Federated Unlearning with Knowledge
Distillation", 2022, https://arxiv.org/abs/2201.09441.
"""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.federated.clients import Request
from unlearn.federated.registry import federated
from unlearn.federated.rounds import Federated, Recipe
from unlearn.methods.taught import taught
from unlearn.optimizers import sgd
from unlearn.problem import Variables
from unlearn.training import fit, kl_divergence


@federated(
    paper="arXiv:2201.09441",
    differs="of rounds that were not kept the update of the kept one before stands",
    stores=True,
    scope="clients",
    search={"learning_rate": (0.002, 0.1), "temperature": (1.0, 10.0)},
)
def distillation(
    key: jax.Array,
    federated: Federated,
    request: Request,
    *,
    learning_rate: float = 0.05,
    epochs: int = 5,
    temperature: float = 3.0,
    batch_size: int = 64,
) -> tuple[Variables, dict]:
    """Subtracts and distils on the validation set, whose labels are not used.

    Batch statistics are left to the distillation.

    Raises:
      InputError: no updates were kept, or the problem has no validation set.
    """
    problem, history, recipe = federated.problem, federated.history, federated.recipe
    if history.updates is None or not len(history.kept_who):
        raise InputError(
            "distillation needs the updates of the training: train with keep_every=1, "
            "or choose another method"
        )
    if problem.validation is None:
        raise InputError(
            "distillation needs examples that the server has: give the problem a "
            "validation set, or choose another method"
        )
    gone = request.left.sizes == 0
    sizes = federated.clients.sizes[history.kept_who].astype(jnp.float32)
    shares = sizes / sizes.sum(axis=1, keepdims=True)
    added = weight_of_rounds(recipe, len(sizes))[:, None] * shares
    added = jnp.where(gone[history.kept_who], added, 0)
    params = jax.tree.map(
        lambda w, u: w - jnp.tensordot(added, u, axes=2),
        federated.variables["params"],
        history.updates["params"],
    )
    variables = {**federated.variables, "params": params}
    server = problem.validation
    rows = jnp.arange(len(server.labels), dtype=jnp.int32)

    def objective(variables, batch, key):
        inputs, wanted = batch.inputs
        logits, variables = problem.model.apply(variables, inputs, train=True, key=key)
        losses = kl_divergence(wanted, logits, temperature)
        return jnp.mean(batch.weights * losses), variables

    variables, losses = fit(
        key,
        variables,
        taught(server, federated.variables, rows),
        rows,
        objective,
        sgd(learning_rate, momentum=0.9),
        epochs=epochs,
        batch_size=batch_size,
    )
    nothing = jnp.int32(0)
    return variables, {
        "rounds": nothing,
        "messages": nothing,
        "passes": jnp.float32(epochs * len(rows)),
        "loss": losses,
    }


def weight_of_rounds(recipe: Recipe, kept: int) -> jax.Array:
    """Returns how often the mean update of each kept round is in the final weights.

    Each stands for the rounds until the next one that is kept, and a round's update
    comes again with the momentum of those after it.
    """
    rounds = jnp.arange(recipe.rounds)
    powers = jnp.float32(recipe.server_momentum) ** rounds
    times = recipe.server_rate * jnp.cumsum(powers)[::-1]
    group = jnp.minimum(rounds // recipe.keep_every, kept - 1)
    return jnp.zeros(kept).at[group].add(times)
