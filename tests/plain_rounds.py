"""Federated averaging as a plain loop, for the tests of `unlearn.federated`."""

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import training
from unlearn.federated import rounds


def loss(params, problem, rows):
    logits, _ = problem.model.apply({"params": params}, problem.inputs(rows))
    return jnp.mean(training.cross_entropy(logits, problem.labels[rows]))


slope_of = jax.jit(jax.grad(loss))


def by_hand(problem, clients, recipe, start, order):
    """FedAvg with lists; `order(round, client, epoch)` is a client's order."""
    params, momentum = start["params"], None
    for number in range(recipe.rounds):
        changes = []
        for client in range(clients.number):
            own = clients.of(client)
            if not len(own):
                continue
            local = params
            for epoch in range(recipe.epochs):
                rows = order(number, client, epoch)
                assert sorted(rows) == sorted(own)
                for first in range(0, len(rows), recipe.batch_size):
                    batch = jnp.asarray(rows[first : first + recipe.batch_size])
                    slope = slope_of(local, problem, batch)
                    local = jax.tree.map(
                        lambda w, g: w - recipe.learning_rate * g, local, slope
                    )
            changes.append((len(own), jax.tree.map(jnp.subtract, local, params)))
        total = sum(size for size, _ in changes)
        mean = jax.tree.map(jnp.zeros_like, params)
        for size, change in changes:
            mean = jax.tree.map(lambda m, c, s=size / total: m + s * c, mean, change)
        if momentum is None:
            momentum = jax.tree.map(jnp.zeros_like, params)
        momentum = jax.tree.map(
            lambda b, m: recipe.server_momentum * b + m, momentum, mean
        )
        params = jax.tree.map(lambda w, b: w + recipe.server_rate * b, params, momentum)
    return params


def order_of(key, clients, recipe):
    """The order in which `federate` with this key shows a client its examples."""
    key_rounds = jax.random.split(key)[1]

    def order(number, client, epoch):
        of_round = jax.random.fold_in(key_rounds, number)
        own = jax.random.fold_in(jax.random.split(of_round)[1], client)
        key_order = jax.random.split(jax.random.fold_in(own, epoch))[0]
        size = int(clients.sizes[client])
        steps, _ = training.batch_shape(clients.indices.shape[1], recipe.batch_size)
        rows = rounds.own_batches(
            key_order,
            clients.indices[client],
            clients.sizes[client],
            steps,
            recipe.batch_size,
        )
        return np.asarray(rows.indices).reshape(-1)[:size].tolist()

    return order
