"""Federated methods against plain re-expressions, closed forms and controls."""

import functools
import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import NormNet, tiny_problem
from jax.flatten_util import ravel_pytree
from plain_rounds import by_hand, order_of
from trees import assert_close, flat

import unlearn
from unlearn.errors import InputError
from unlearn.federated import (
    FEDERATED,
    Recipe,
    distillation,
    federaser,
    federate,
    federated,
    forget,
    leave,
    make_clients,
    negation,
    projected_ascent,
    pseudo_gradient,
    train,
)
from unlearn.federated.distillation import weight_of_rounds
from unlearn.federated.registry import check_same, size_in_bytes
from unlearn.federated.rounds import local_update
from unlearn.models import from_linen
from unlearn.training import kl_divergence, predict_set

KEY = jax.random.key(5)
RECIPE = Recipe(rounds=4, batch_size=4, learning_rate=0.3, keep_every=1)


@functools.cache
def program(name, **constants):
    """One compiled program of a method serves every test of it with these constants."""
    return jax.jit(functools.partial(FEDERATED[name].fn, **constants))


updated = jax.jit(local_update, static_argnames="recipe")


@pytest.fixture(scope="module")
def made():
    problem = tiny_problem(size=30, forget=6)
    clients = make_clients([range(11), range(11, 16), range(16, 30)])
    return train(KEY, problem, clients, RECIPE)


@pytest.fixture(scope="module")
def request_(made):
    return leave(made.clients, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", FEDERATED)
def test_every_method_is_pure_and_says_what_it_cost(made, request_, name):
    info = FEDERATED[name]
    before = flat(made.variables)
    found, told = program(name)(KEY, made, request_)
    again, _ = program(name)(KEY, made, request_)
    other, _ = program(name)(jax.random.key(6), made, request_)
    np.testing.assert_array_equal(flat(found), flat(again))
    assert np.abs(flat(found) - flat(other)).max() > 0
    np.testing.assert_array_equal(flat(made.variables), before)
    assert np.isfinite(flat(found)).all()
    assert np.abs(flat(found) - before).max() > 1e-4
    assert {"rounds", "messages", "passes"} <= set(told)
    assert info.paper and (info.kind == "exact") == (name == "retrain")
    defaults = list(inspect.signature(info.fn).parameters.values())[3:]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in defaults)


def blanked(made):
    """The federation, but other examples in the place of the first client's."""
    blank = np.asarray(made.problem.examples).copy()
    blank[made.clients.of(0)] = 7
    return made.replace(problem=made.problem.replace(examples=jnp.asarray(blank)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, i in FEDERATED.items() if not i.asks])
def test_who_need_not_be_asked_is_not(made, request_, name):
    """Other examples of the client that leaves, the same model: nothing is read."""
    found, _ = program(name)(KEY, made, request_)
    again, _ = program(name)(KEY, blanked(made), request_)
    np.testing.assert_array_equal(flat(found), flat(again))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, i in FEDERATED.items() if i.asks])
def test_who_is_asked_is_read(made, request_, name):
    found, _ = program(name)(KEY, made, request_)
    again, _ = program(name)(KEY, blanked(made), request_)
    assert np.abs(flat(found) - flat(again)).max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, i in FEDERATED.items() if i.scope == "any"])
def test_some_examples_of_some_clients_are_forgotten(made, name):
    found, _ = program(name)(KEY, made, forget(made.clients, [1, 2, 20]))
    assert np.isfinite(flat(found)).all()


@pytest.mark.slow
def test_who_forgets_some_is_calibrated_from_the_first_round_on(made):
    """Nothing of what was trained on the forgotten is taken as it was, but sizes."""
    bare = train(KEY, made.problem, made.clients, RECIPE._replace(keep_every=4))
    request = forget(made.clients, [1, 2, 20])
    found, told = federaser(KEY, bare, request)
    expected = bare.first
    key = jax.random.fold_in(KEY, 0)
    for client in range(3):
        stored = jax.tree.map(lambda u, c=client: u[0, c], bare.history.updates)
        if client != 1:
            own, at = jax.random.fold_in(key, client), jnp.int32(client)
            args = own, bare.first, made.problem, request.left, at
            change, _ = updated(*args, recipe=RECIPE)
            stored = jax.tree.map(
                lambda d, u: d / jnp.linalg.norm(d) * jnp.linalg.norm(u), change, stored
            )
        share = int(request.left.sizes[client]) / 27
        expected = jax.tree.map(
            lambda w, s, share=share: w + share * s, expected, stored
        )
    assert_close(found, expected, atol=1e-5)
    assert (told["rounds"], told["messages"], told["passes"]) == (1, 4, 9 + 13)


def test_a_request_that_a_method_cannot_answer_is_refused(made):
    some = forget(made.clients, [1, 2, 20])
    two = forget(made.clients, range(16))
    for method in (distillation, projected_ascent):
        with pytest.raises(InputError, match="forgets whole clients, and this request"):
            method(KEY, made, some)
    with pytest.raises(InputError, match="one client at a time; the request names 2"):
        projected_ascent(KEY, made, two)
    with pytest.raises(InputError, match="clients must be from 0 .all. to 3; it is 4"):
        pseudo_gradient(KEY, made, some, clients=4)


@pytest.mark.slow
def test_batch_statistics_stay_finite():
    problem = tiny_problem(from_linen(NormNet()), size=60, forget=6)
    clients = make_clients([range(20), range(20, 40), range(40, 60)])
    given = train(KEY, problem, clients, RECIPE._replace(rounds=12))
    found, _ = distillation(KEY, given, leave(clients, 0), epochs=1)
    for variables in (given.variables, found):
        logits = predict_set(problem, variables, jnp.arange(60))
        assert np.isfinite(logits).all()
        (norm,) = variables["batch_stats"].values()
        assert (norm["var"] > 0).all()


@pytest.mark.parametrize("every, momentum", [(1, 0.0), (2, 0.0), (1, 0.6), (3, 0.6)])
def test_every_update_counts_as_often_as_it_was_added(every, momentum):
    """Against the weights of a server whose clients always send 1."""
    recipe = Recipe(
        rounds=7, keep_every=every, server_rate=0.5, server_momentum=momentum
    )
    weights, velocity = np.zeros(7), np.zeros(7)
    for number in range(7):
        velocity = momentum * velocity + (np.arange(7) == number)
        weights += 0.5 * velocity
    kept = 7 // every
    group = np.minimum(np.arange(7) // every, kept - 1)
    expected = np.bincount(group, weights, minlength=kept)
    np.testing.assert_allclose(weight_of_rounds(recipe, kept), expected, rtol=1e-5)


@pytest.mark.slow
def test_retraining_is_a_federation_of_what_stays(made, request_):
    found, told = program("retrain")(KEY, made, request_)
    expected, _ = federate(KEY, made.problem, request_.left, RECIPE)
    assert_close(found, expected)
    assert (told["rounds"], told["messages"], told["passes"]) == (4, 16, 4 * 19)
    short, told = program("retrain", rounds=2)(KEY, made, request_, rate=1.0)
    assert np.abs(flat(short) - flat(found)).max() > 1e-3
    assert (told["rounds"], told["messages"], told["passes"]) == (2, 8, 2 * 19)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n in FEDERATED if "rate" in FEDERATED[n].search]
)
def test_a_rate_is_that_of_the_rounds(made, request_, name):
    """Twice the rate of a training is one of twice its rate, where all is repaired."""
    constants, floats = {}, {}
    if name == "projected_ascent":
        constants = {"epochs": 3, "samples": 3}
        floats = {"learning_rate": 0.0, "radius": 0.2}  # asks the client as in training
    if name == "pseudo_gradient":
        floats = {"scale": 0.0}
    run, given = program(name, rounds=2, **constants), (KEY, made, request_)
    found, _ = run(*given, **floats, rate=2.0)
    plain, _ = run(*given, **floats, rate=1.0)
    twice = RECIPE._replace(learning_rate=0.6)
    if name == "projected_ascent":
        start, _ = program(name, rounds=0, **constants)(*given, **floats)
        key, recipe = jax.random.split(KEY, 4)[3], twice._replace(rounds=2)
        recipe = recipe._replace(keep_every=0)
        on = made.problem, request_.left, recipe
        expected, _ = federate(key, *on, variables=start)
    else:
        expected, _ = run(KEY, made.replace(recipe=twice), request_, **floats, rate=1.0)
    assert_close(found, expected)
    assert np.abs(flat(found) - flat(plain)).max() > 1e-3


@pytest.mark.slow
def test_negation_changes_a_layer_and_goes_on(made, request_):
    found, told = negation(KEY, made, request_, rounds=0)
    for layer, sign in (("trunk", -1), ("head", 1)):
        for name in ("kernel", "bias"):
            ours, theirs = (v["params"][layer][name] for v in (found, made.variables))
            np.testing.assert_array_equal(ours, sign * np.asarray(theirs))
    assert told["rounds"] == told["messages"] == told["passes"] == 0
    on, told = program("negation", rounds=2)(KEY, made, request_, rate=1.0)
    recipe = RECIPE._replace(rounds=2)
    expected = by_hand(
        made.problem,
        request_.left,
        recipe,
        found,
        order_of(KEY, request_.left, recipe),
    )
    assert_close(on["params"], expected, atol=1e-5)
    assert told["messages"] == 2 * 2 * 2


@pytest.mark.slow
def test_a_pseudo_gradient_is_taken_away(made, request_):
    """Twice the scale, twice as far, against what the client would have sent."""
    run = program("pseudo_gradient", rounds=0)
    some, told = run(KEY, made, request_, scale=1.0)
    more, _ = run(KEY, made, request_, scale=2.0)
    start = flat(made.variables)
    key = jax.random.split(jax.random.split(KEY)[0], 1)[0]
    args = key, made.variables, made.problem, made.clients, jnp.int32(0)
    change, _ = updated(*args, recipe=RECIPE)
    np.testing.assert_allclose(flat(some) - start, -flat(change), atol=1e-5)
    np.testing.assert_allclose(flat(more) - start, -2 * flat(change), atol=1e-5)
    assert (told["rounds"], told["messages"], told["passes"]) == (1, 2, 11)


@pytest.mark.slow
def test_several_who_forget_are_averaged_by_what_they_forget(made):
    request = forget(made.clients, [0, 1, 2, 20])
    run = program("pseudo_gradient", rounds=0)
    asked = program("pseudo_gradient", clients=2, rounds=0)
    found, told = asked(KEY, made, request, scale=1.0)
    keys = jax.random.split(jax.random.split(KEY)[0], 2)
    args = made.variables, made.problem, request.forgotten
    changes = [
        flat(updated(key, *args, client, recipe=RECIPE)[0])
        for key, client in zip(keys, (jnp.int32(0), jnp.int32(2)), strict=True)
    ]
    expected = flat(made.variables) - (3 * changes[0] + changes[1]) / 4
    np.testing.assert_allclose(flat(found), expected, atol=1e-5)
    assert told["messages"] == 4 and told["passes"] == 4
    _, told = run(KEY, made, request, scale=1.0)
    assert told["messages"] == 4 and told["passes"] == 4


@pytest.mark.slow
def test_ascent_stays_in_the_ball(made, request_):
    """Far steps end on its surface, none at the model less what the client had sent."""
    climb = program("projected_ascent", rounds=0, epochs=3, samples=3)
    far, told = climb(KEY, made, request_, learning_rate=50.0, radius=0.2)
    np.testing.assert_allclose(told["distance"], 1, rtol=1e-4)
    still, told = climb(KEY, made, request_, learning_rate=0.0, radius=0.2)
    assert told["distance"] < 1e-5
    assert told["passes"] == (RECIPE.epochs + 3) * 11
    key = jax.random.split(jax.random.split(KEY, 4)[0], 1)[0]
    args = key, made.variables, made.problem, made.clients, jnp.int32(0)
    change, _ = updated(*args, recipe=RECIPE)
    share, start = 11 / 30, flat(made.variables)
    expected = (start - share * (start + flat(change))) / (1 - share)
    np.testing.assert_allclose(flat(still), expected, atol=1e-5)
    distances = [
        np.linalg.norm(
            expected
            - flat(made.problem.model.init(k, made.problem.inputs(jnp.arange(1))))
        )
        for k in jax.random.split(jax.random.split(KEY, 4)[1], 3)
    ]
    moved = np.linalg.norm(flat(far) - expected)
    np.testing.assert_allclose(moved, 0.2 * np.mean(distances), rtol=1e-3)


@pytest.mark.slow
def test_ascent_climbs_the_loss_of_who_leaves(made, request_):
    def loss(variables):
        rows = jnp.asarray(made.clients.of(0))
        logits = predict_set(made.problem, variables, rows)
        labels = made.problem.labels[rows]
        return -float(jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(11), labels]))

    climb = program("projected_ascent", rounds=0, epochs=3, samples=3)
    still, _ = climb(KEY, made, request_, learning_rate=0.0, radius=1 / 3)
    found, told = climb(KEY, made, request_, learning_rate=0.05, radius=1 / 3)
    assert 0 < told["distance"] <= 1.0001
    assert loss(found) > loss(still) + 0.1


@pytest.mark.slow
def test_federaser_in_plain_steps(made, request_):
    """Layer by layer: the size of the stored change, the direction of a new one."""
    found, told = federaser(KEY, made, request_, epochs=2)
    recipe, left = RECIPE._replace(epochs=2), request_.left
    shares = np.asarray(left.sizes) / 19
    variables = made.first
    for number in range(4):
        total = jax.tree.map(jnp.zeros_like, variables)
        for client in (1, 2):
            stored = jax.tree.map(
                lambda u, n=number, c=client: u[n, c], made.history.updates
            )
            if number:
                key = jax.random.fold_in(jax.random.fold_in(KEY, number), client)
                args = key, variables, made.problem, left, jnp.int32(client)
                change, _ = updated(*args, recipe=recipe)
                stored = jax.tree.map(
                    lambda d, u: d / jnp.linalg.norm(d) * jnp.linalg.norm(u),
                    change,
                    stored,
                )
            total = jax.tree.map(
                lambda t, s, share=shares[client]: t + share * s, total, stored
            )
        variables = jax.tree.map(jnp.add, variables, total)
    assert_close(found, variables, atol=1e-4)
    assert (told["rounds"], told["messages"]) == (3, 12)
    assert told["passes"] == 2 * 3 * 19


@pytest.mark.slow
def test_distillation_takes_the_updates_away(made, request_):
    held_out = made.problem.validation
    found, told = distillation(KEY, made, request_, epochs=0)
    sent = jax.tree.map(lambda u: np.asarray(u)[:, 0].sum(0), made.history.updates)
    expected = flat(made.variables) - 11 / 30 * flat(sent)
    np.testing.assert_allclose(flat(found), expected, atol=1e-5)
    assert told["messages"] == told["rounds"] == 0
    rows = jnp.arange(15)

    def far(variables):
        ours, theirs = (
            predict_set(held_out, v, rows) for v in (variables, made.variables)
        )
        return float(jnp.mean(kl_divergence(theirs, ours)))

    near, told = distillation(KEY, made, request_, epochs=20)
    assert far(near) < 0.2 * far(found)
    assert told["passes"] == 20 * 15


def test_without_what_was_kept_it_says_so(made, request_):
    bare = train(KEY, made.problem, made.clients, RECIPE._replace(keep_every=0))
    for info in (info for info in FEDERATED.values() if info.stores):
        with pytest.raises(InputError, match="train with keep_every"):
            info.fn(KEY, bare, request_)


def test_distillation_without_examples_of_the_server_says_so(made, request_):
    bare = made.replace(problem=made.problem.replace(validation=None))
    with pytest.raises(InputError, match="give the problem a validation set"):
        distillation(KEY, bare, request_)


def test_a_declaration_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="first three arguments must be key"):
        federated(paper="none")(lambda key, problem: None)
    with pytest.raises(InputError, match="unknown scope 'some'"):

        @federated(paper="none", scope="some")
        def odd(key, federated, request):
            pass

    with pytest.raises(InputError, match="search names 'rounds', which is no argument"):

        @federated(paper="none", search={"rounds": (1, 2)})
        def whole(key, federated, request, *, rounds=1, rate=1.0):
            pass


def test_bytes_are_those_of_the_arrays(made):
    size = ravel_pytree(made.variables)[0].size
    assert size_in_bytes(made.variables) == 4 * size
    assert size_in_bytes(made.history.updates) == 4 * size * 4 * 3


README = (Path(unlearn.__file__).parent / "federated" / "README.md").read_text()
SCOPES = {"any": "any examples", "clients": "whole clients", "client": "a whole client"}
ROW = r"^\| `(\w+)`" + 4 * r" \| ([^|]+)" + r" \|$"


def test_the_readme_lists_every_method():
    rows = re.findall(ROW, README, re.MULTILINE)
    assert [row[0] for row in rows] == sorted(FEDERATED)
    for name, forgets, needs, paper, differs in rows:
        info = FEDERATED[name]
        assert SCOPES[info.scope] == forgets
        assert ("kept updates" in needs) == info.stores
        assert ("who forgets" in needs) == info.asks
        assert (paper == "exact") == (info.kind == "exact")
        assert differs == (info.differs or "–")


@pytest.mark.slow
def test_the_code_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"problem": tiny_problem(size=200, forget=6)}
    exec(code.replace("rounds=30", "rounds=4"), names)
    assert names["before"].shape == names["after"].shape == (10,)


@pytest.mark.parametrize("name", FEDERATED)
def test_a_request_of_other_clients_is_refused(made, request_, name):
    others = (
        [range(12), range(12, 16), range(16, 30)],
        [range(5), range(5, 16), range(16, 30)],  # as large a row
        [range(11), range(11, 16), range(16, 25), range(25, 30)],
        [range(11), range(11, 16), range(16, 29)],
    )
    for parts in others:
        request = leave(make_clients(parts), 0)
        with pytest.raises(InputError, match="of other clients than the federation's"):
            FEDERATED[name].fn(KEY, made, request)
    reordered = make_clients([range(10, -1, -1), range(11, 16), range(16, 30)])
    check_same(made.clients, leave(reordered, 0))
    later = made.replace(clients=request_.left)  # once client 0 is gone
    check_same(later.clients, leave(later.clients, 1))


def test_a_request_is_checked_in_a_program_where_it_is_known(made, request_):
    other = leave(make_clients([range(5), range(5, 16), range(16, 30)]), 0)

    def run(key, made, request):
        return FEDERATED["retrain"].fn(key, made, request, rounds=1)[0]

    jax.eval_shape(run, KEY, made, other)  # traced: nothing is known
    jax.eval_shape(lambda key: run(key, made, request_), KEY)
    with pytest.raises(InputError, match="of other clients"):
        jax.eval_shape(lambda key: run(key, made, other), KEY)
