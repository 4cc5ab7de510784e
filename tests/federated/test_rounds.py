"""Federated averaging against a plain loop over rounds, clients and batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_problem
from plain_rounds import by_hand, loss, order_of
from trees import assert_close, flat

from unlearn.errors import InputError
from unlearn.federated import (
    Recipe,
    audit,
    by_group,
    by_label,
    federate,
    forget,
    leave,
    make_clients,
    rounds,
    train,
)

KEY = jax.random.key(5)
RECIPE = Recipe(rounds=3, epochs=2, batch_size=4, learning_rate=0.3)
compiled = jax.jit(federate, static_argnums=3)  # one program a recipe


@pytest.fixture(scope="module")
def problem():
    return tiny_problem(size=30, forget=6)


@pytest.fixture(scope="module")
def clients():
    return make_clients([range(11), range(11, 16), range(16, 30)])


@pytest.mark.parametrize(
    "server",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"server_rate": 0.5, "server_momentum": 0.9},
    ],
)
def test_rounds_are_those_of_a_plain_loop(problem, clients, server):
    recipe = RECIPE._replace(**server)
    found, history = compiled(KEY, problem, clients, recipe)
    start = rounds.start(jax.random.split(KEY)[0], problem)
    expected = by_hand(problem, clients, recipe, start, order_of(KEY, clients, recipe))
    assert_close(found["params"], expected)
    assert history.losses.shape == history.who.shape == (3, 3)
    assert history.updates is None
    assert (np.asarray(history.who) == [0, 1, 2]).all()


@pytest.mark.slow
def test_a_client_alone_is_local_training(problem):
    """An epoch of one client with everything is an epoch of SGD."""
    clients = make_clients([range(29), [29]])
    alone = leave(clients, 1).left
    recipe = RECIPE._replace(rounds=1, epochs=1)
    found, history = federate(KEY, problem, alone, recipe)
    start = rounds.start(jax.random.split(KEY)[0], problem)
    order = order_of(KEY, alone, recipe)
    expected = by_hand(problem, alone, recipe, start, order)
    assert_close(found["params"], expected)
    rows = jnp.asarray(order(0, 0, 0)[:4])
    assert history.losses[0, 0] > 0 and jnp.isnan(history.losses[0, 1])
    assert loss(start["params"], problem, rows) > 0


def test_others_do_as_if_an_absent_client_had_never_been_there(problem, clients):
    without = make_clients([range(11), range(16, 30)])
    found, _ = compiled(KEY, problem, leave(clients, 1).left, RECIPE)

    order = order_of(KEY, leave(clients, 1).left, RECIPE)
    start = rounds.start(jax.random.split(KEY)[0], problem)
    expected = by_hand(
        problem,
        without,
        RECIPE,
        start,
        lambda number, client, epoch: order(number, 2 * client, epoch),
    )
    assert_close(found["params"], expected)


def test_of_an_absent_client_no_loss_is_known(problem, clients):
    left = leave(clients, 1).left
    _, history = federate(KEY, problem, left, RECIPE._replace(rounds=1))
    np.testing.assert_array_equal(np.isnan(history.losses), [[False, True, False]])


@pytest.mark.parametrize("client", [0, 1, 2])
def test_batches_do_not_depend_on_how_long_the_row_is(clients, client):
    """What fills the last one neither: batch statistics see it."""
    row, size = clients.indices[client], clients.sizes[client]
    alone = row[: int(size)]
    steps = -(-int(size) // 4)
    short = rounds.own_batches(KEY, alone, size, steps, 4)
    long = rounds.own_batches(KEY, row, size, -(-len(row) // 4), 4)
    np.testing.assert_array_equal(short.indices, long.indices[:steps])
    np.testing.assert_array_equal(short.weights, long.weights[:steps])


@pytest.mark.slow
def test_old_keys_keep_rounds_as_well(problem, clients):
    old = jax.random.PRNGKey(5)
    recipe = RECIPE._replace(rounds=4, keep_every=2)
    found, _ = compiled(old, problem, clients, recipe)
    assert_close(found["params"], compiled(KEY, problem, clients, recipe)[0]["params"])


@pytest.mark.slow
def test_some_take_part(problem):
    clients = by_label(np.asarray(problem.labels), 5, 100.0)
    recipe = RECIPE._replace(participants=2, rounds=40, epochs=1)
    request = leave(clients, 4)
    _, history = federate(KEY, problem, request.left, recipe)
    who = np.asarray(history.who)
    assert who.shape == (40, 2)
    assert (who[:, 0] != who[:, 1]).all()
    assert set(who.ravel()) == {0, 1, 2, 3}
    few = make_clients([range(10), range(10, 20), range(20, 30)])
    few = leave(few, 0).left
    found, history = federate(KEY, problem, few, RECIPE._replace(participants=3))
    everyone, _ = federate(KEY, problem, few, RECIPE)
    assert_close(found, everyone)


def test_kept_updates_add_up_to_what_was_trained(problem, clients):
    recipe = RECIPE._replace(keep_every=1)
    made = train(KEY, problem, clients, recipe)
    shares = np.asarray(clients.sizes) / 30
    total = jax.tree.map(
        lambda w, u: w + np.einsum("c,rc...->...", shares, np.asarray(u)),
        made.first,
        made.history.updates,
    )
    assert_close(total, made.variables)
    again, _ = compiled(KEY, problem, clients, RECIPE)
    assert_close(made.variables, again)


@pytest.mark.slow
@pytest.mark.parametrize("every, kept", [(2, [0, 2]), (3, [0]), (5, [])])
def test_every_so_many_rounds_are_kept(problem, clients, every, kept):
    recipe = RECIPE._replace(rounds=4 if every < 5 else 3)
    _, whole = compiled(KEY, problem, clients, recipe._replace(keep_every=1))
    _, some = compiled(KEY, problem, clients, recipe._replace(keep_every=every))
    assert len(some.kept_who) == len(kept)
    assert len(some.losses) == len(some.who) == recipe.rounds
    np.testing.assert_allclose(some.losses, whole.losses, rtol=1e-5)
    for one, other in zip(
        jax.tree.leaves(some.updates), jax.tree.leaves(whole.updates), strict=True
    ):
        np.testing.assert_allclose(one, other[np.array(kept, int)], atol=1e-6)


@pytest.mark.slow
def test_it_is_pure_and_maps_over_keys(problem, clients):
    keys = jax.random.split(KEY, 2)
    many = jax.vmap(lambda k: federate(k, problem, clients, RECIPE)[0])(keys)
    for number in (0, 1):
        alone, _ = compiled(keys[number], problem, clients, RECIPE)
        picked = jax.tree.map(lambda leaf, n=number: leaf[n], many)
        np.testing.assert_allclose(flat(alone), flat(picked), atol=1e-5)


# Who holds what


@pytest.mark.parametrize("alpha, shares", [(1000.0, (0.25, 0.45)), (0.05, (0.7, 1.0))])
def test_small_alphas_give_clients_few_classes(alpha, shares):
    labels = np.repeat([0, 1, 2], 200)
    clients = by_label(labels, 5, alpha, seed=1)
    held = np.concatenate([clients.of(c) for c in range(5)])
    assert sorted(held) == list(range(600))
    largest = [
        np.bincount(labels[clients.of(c)], minlength=3).max() / len(clients.of(c))
        for c in range(5)
    ]
    assert shares[0] <= np.mean(largest) <= shares[1]
    assert min(clients.sizes) >= 2
    again = by_label(labels, 5, alpha, seed=1)
    np.testing.assert_array_equal(again.indices, clients.indices)


def test_groups_are_clients():
    clients, names = by_group([7, 3, 7, 3, 9])
    assert names.tolist() == [3, 7, 9]
    assert [clients.of(c).tolist() for c in range(3)] == [[1, 3], [0, 2], [4]]


def test_a_mask_is_a_mask(clients):
    request = forget(clients, np.arange(30) % 10 == 3)
    assert request.forgotten.of(0).tolist() == [3]
    assert request.forgotten.of(1).tolist() == [13]


def test_examples_that_are_not_there_are_refused(problem):
    far = make_clients([range(10), range(25, 33)])
    for call in (
        lambda: train(KEY, problem, far, RECIPE),
        lambda: audit.per_client({}, problem, far),
    ):
        with pytest.raises(InputError, match="client 1 holds example 30, and there"):
            call()


@pytest.mark.parametrize("name", ["rounds", "batch_size", "keep_every"])
def test_numbers_that_make_no_sense_are_refused(problem, clients, name):
    with pytest.raises(InputError, match=f"{name} must be at least .; it is -1"):
        federate(KEY, problem, clients, RECIPE._replace(**{name: -1}))


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(learning_rate=-0.1), "learning_rate must be finite and above 0; it is -"),
        (dict(learning_rate=np.inf), "learning_rate must be finite and above 0; it is"),
        (dict(server_rate=0.0), "server_rate must be finite and above 0; it is 0.0"),
        (dict(server_rate=np.nan), "server_rate must be finite and above 0; it is nan"),
        (dict(momentum=1.0), "momentum must be at least 0 and below 1; it is 1.0"),
        (dict(server_momentum=-0.1), "server_momentum must be at least 0 and below 1"),
        (dict(weight_decay=-1e-3), "weight_decay must be finite and at least 0; it is"),
        (dict(participants=4), "participants is 4, and there are 3 clients: lower it"),
    ],
)
def test_a_recipe_that_cannot_train_is_refused(problem, clients, changes, words):
    with pytest.raises(InputError, match=words) as caught:
        train(KEY, problem, clients, RECIPE._replace(**changes))
    assert "\n" not in str(caught.value)


def test_floats_of_a_recipe_can_be_traced(problem, clients):
    def losses(rate, decay):
        floats = dict(learning_rate=rate, weight_decay=decay, momentum=decay)
        return federate(KEY, problem, clients, RECIPE._replace(**floats))[1].losses

    shapes = jax.eval_shape(jax.vmap(losses), jnp.ones(2), jnp.zeros(2))
    assert shapes.shape == (2, 3, 3)


def test_examples_that_no_client_holds_are_asked_about(problem):
    some = make_clients([range(4), range(4, 6)])
    with pytest.raises(InputError, match="hold 6 of the problem's 30 examples: deal"):
        train(KEY, problem, some, RECIPE)
    short = RECIPE._replace(rounds=1, epochs=1)
    made = train(KEY, problem, some, short, partial=True)
    expected, _ = federate(KEY, problem, some, short)
    assert_close(made.variables["params"], expected["params"])

    def traced(sizes):  # of traced clients nothing is known
        return train(KEY, problem, some._replace(sizes=sizes), short).variables

    jax.eval_shape(traced, some.sizes)
    jax.eval_shape(lambda key: train(key, problem, some, short, partial=True), KEY)


@pytest.mark.parametrize(
    "groups, words",
    [
        (["a", None, "b"], "row 1 has no group; it is None: name one, or leave"),
        (["a", "b", " ", ""], "row 2 has no group; it is ' '"),
        (np.array(["a", "", "b"]), "row 1 has no group; it is "),
        (["a", "b", float("nan")], "row 2 has no group; it is nan"),
        (np.array([1.0, np.nan]), "row 1 has no group; it is .*nan"),
        (np.array(["a", 1, None], object), "row 2 has no group; it is None"),
        (np.array(["a", 1], object), "groups are of several types: make all of them"),
    ],
)
def test_an_example_without_a_group_is_refused(groups, words):
    with pytest.raises(InputError, match=words):
        by_group(groups)


@pytest.mark.parametrize("client", ["1", [1, 2], 1.5, None])
def test_a_client_that_leaves_is_one_number(clients, client):
    with pytest.raises(InputError, match="a client is one whole number, from 0 to 2"):
        leave(clients, client)
    assert leave(clients, np.int64(1)).left.sizes.tolist() == [11, 0, 14]


def test_a_request_says_what_goes_and_what_stays(clients):
    request = forget(clients, [3, 4, 12, 29])
    assert request.forgotten.sizes.tolist() == [2, 1, 1]
    assert request.left.sizes.tolist() == [9, 4, 13]
    assert request.left.of(1).tolist() == [11, 13, 14, 15]
    assert request.left.indices.shape == clients.indices.shape
    gone = leave(clients, 1)
    assert gone.left.sizes.tolist() == [11, 0, 14]
    assert gone.forgotten.of(1).tolist() == [11, 12, 13, 14, 15]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: make_clients([[1]]), "needs two clients or more; there are 1"),
        (lambda: make_clients([[1], []]), "client 1 has no examples"),
        (lambda: make_clients([[1, 2], [2]]), "example 2 is held twice"),
        (lambda: by_label([0, 1], -4, 1.0), "two clients or more; clients is -4"),
        (lambda: by_label([0, 1], 0, 1.0), "two clients or more; clients is 0"),
        (lambda: by_label([0, 1], 2, 0.0), "alpha must be above 0; it is 0.0"),
        (lambda: by_label([0, 1, 0], 2, 1.0), "cannot be dealt out to 2 clients"),
        (lambda: leave(make_clients([[1], [2]]), 2), "they are 0 to 1"),
        (lambda: forget(make_clients([[1], [2]]), [3]), "no client holds example 3"),
        (lambda: forget(make_clients([[1], [2]]), [0.5]), "these are float64.1."),
        (lambda: make_clients([[-1], [2]]), "numbered from 0; -1 is none"),
        (lambda: forget(make_clients([[1], [2]]), []), "must name examples"),
        (lambda: forget(make_clients([[1], [2]]), [1, 2]), "leave some to train on"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
