"""Audits of a federation: each against numbers that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_problem

from unlearn import make_problem, parallel, shadows
from unlearn.errors import InputError
from unlearn.federated import (
    Recipe,
    audit,
    federate,
    leave,
    make_clients,
    retrain,
    train,
)
from unlearn.training import predict_set

KEY = jax.random.key(2)


@pytest.fixture(scope="module")
def problem():
    return tiny_problem(size=30, forget=6)


@pytest.fixture(scope="module")
def clients():
    return make_clients([range(11), range(11, 16), range(16, 30)])


@pytest.mark.slow
def test_every_client_is_measured_on_its_own_examples(problem, clients):
    variables, _ = federate(KEY, problem, clients, Recipe(rounds=2))
    found = audit.per_client(variables, problem, clients)
    logits = np.asarray(predict_set(problem, variables, jnp.arange(30)), np.float64)
    labels = np.asarray(problem.labels)
    losses = -np.log(np.exp(logits)[np.arange(30), labels] / np.exp(logits).sum(axis=1))
    hits = logits.argmax(axis=1) == labels
    for client, part in enumerate((slice(11), slice(11, 16), slice(16, 30))):
        np.testing.assert_allclose(found.losses[client], losses[part].mean(), rtol=1e-4)
        np.testing.assert_allclose(found.accuracies[client], hits[part].mean())
    absent = audit.per_client(variables, problem, leave(clients, 1).left)
    assert np.isnan(absent.losses[1]) and np.isfinite(absent.losses[::2]).all()


def test_a_stamp_is_a_square_and_nothing_else():
    images = np.zeros((2, 8, 9, 1), np.uint8)
    stamped = audit.stamp(images)
    rows, columns = np.nonzero(stamped[0, :, :, 0])
    assert set(rows) == {4, 5, 6} and set(columns) == {5, 6, 7}
    assert stamped.max() == 255 and not images.any()
    assert audit.stamp(np.zeros((1, 8, 8, 3), np.float32)).max() == 1
    for wrong in (np.zeros((3, 8), np.uint8), np.zeros((1, 3, 8, 1), np.uint8)):
        with pytest.raises(InputError, match="leave the backdoor out"):
            audit.stamp(wrong)


def federation(seed=0):
    """Images of which the label is the brightest quarter, and clients of them."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, 120)
    images = draw.integers(0, 60, (120, 8, 8, 1)).astype(np.uint8)
    for row, label in enumerate(labels):
        images[row, label * 2 : label * 2 + 2, :4] += 150
    model = plain_model(hidden=16)
    made = make_problem(images, labels, [], model, num_classes=3)
    return made, make_clients([range(c * 30, c * 30 + 30) for c in range(4)])


@pytest.mark.slow
def test_a_backdoor_is_learnt_and_gone_after_retraining():
    problem, clients = federation()
    own = clients.of(2)
    planted = audit.with_backdoor(problem, own, target=1)
    changed = (np.asarray(planted.examples) != np.asarray(problem.examples)).any(
        axis=(1, 2, 3)
    )
    assert changed.sum() == 24 and set(np.flatnonzero(changed)) <= set(own)
    assert (np.asarray(planted.labels)[changed] == 1).all()
    recipe = Recipe(rounds=40, batch_size=10, learning_rate=0.1)
    made = train(KEY, planted, clients, recipe)
    retrained, _ = retrain(KEY, made, leave(clients, 2))
    test, _ = federation(seed=1)
    images, labels = np.asarray(test.examples), np.asarray(test.labels)
    before, after = (
        audit.backdoor_success(v, planted, images, labels, 1)
        for v in (made.variables, retrained)
    )
    assert before > 0.8 and after < 0.2


def test_every_label_of_the_client_is_wrong_and_no_other():
    problem, clients = federation()
    planted = audit.with_wrong_labels(problem, clients.of(1))
    wrong = np.asarray(planted.labels) != np.asarray(problem.labels)
    np.testing.assert_array_equal(np.flatnonzero(wrong), clients.of(1))
    again = audit.with_wrong_labels(problem, clients.of(1))
    np.testing.assert_array_equal(planted.labels, again.labels)


def test_federations_of_one_kind_are_not_told_apart():
    draw = np.random.default_rng(0)
    same = audit.client_attack(*draw.normal(size=(2, 40, 30)))
    assert same.whole.low < 0.5 < same.whole.high
    assert same.single.low < 0.5 < same.single.high
    other = audit.client_attack(
        draw.normal(size=(40, 30)) + 0.5, draw.normal(size=(40, 30))
    )
    assert other.whole.value > 0.8 and other.whole.low > 0.6
    # The best possible AUC of one example: Phi(0.5 / sqrt 2) = 0.638.
    assert other.single.low > 0.5 and 0.56 < other.single.value < 0.66


@pytest.mark.slow
def test_a_client_with_wrong_labels_is_found_and_not_after_retraining():
    """Many federations in one program, of three kinds."""
    problem, clients = federation()
    planted = audit.with_wrong_labels(problem, clients.of(1))
    recipe = Recipe(rounds=30, batch_size=10, learning_rate=0.1)
    request, own = leave(clients, 1), jnp.asarray(clients.of(1))

    def margins(key, who):
        variables, _ = federate(key, planted, who, recipe)
        examples, labels = planted.examples[own], planted.labels[own]
        return shadows.measure(planted, variables, examples, labels)["margins"]

    keys = jax.random.split(KEY, 36).reshape(3, 12)
    trained = parallel.map_models(margins, keys[0], clients)[0]
    never, again = (
        parallel.map_models(margins, keys[i], request.left)[0] for i in (1, 2)
    )
    assert audit.client_attack(trained, never).whole.value > 0.95
    assert audit.client_attack(again, never).whole.low < 0.5
