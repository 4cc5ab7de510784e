"""The tilted distribution in closed form, its limits, and steps towards it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import plain_model
from references import (
    ce,
    descend_with,
    linear_model,
    logits_of,
    outputs,
    softmax,
)
from trees import assert_close

from unlearn import make_problem
from unlearn.errors import InputError
from unlearn.methods.trew import class_similarities, tilted, trew
from unlearn.training import Recipe, predict_set, train

KEY = jax.random.key(3)
CLASSES, GONE, KEPT = 7, [1, 4], [0, 2, 3, 5, 6]


def six_rows(size=70):
    """uint8[N, 4, 4, 1], a bright pixel a class."""
    rng = np.random.default_rng(0)
    labels = np.arange(size) % CLASSES
    images = rng.normal(90, 50, (size, 4, 4, 1))
    images[np.arange(size), labels % 4, labels // 4] += 120
    return np.clip(images, 0, 255).astype(np.uint8), labels


def make(model):
    images, labels = six_rows()
    forget = np.flatnonzero(np.isin(labels, GONE))
    return make_problem(images, labels, forget, model, forget_classes=GONE)


@pytest.fixture(scope="module")
def problem():
    return make(plain_model(classes=CLASSES))


@pytest.fixture(scope="module")
def original(problem):
    indices = jnp.arange(len(problem.labels))
    return train(KEY, problem, indices, Recipe(30, 16, 0.1))[0]


def expected_target(params, logits, labels, beta, temperature):
    """q of each example over all classes, class by class in NumPy: float64[N, K]."""
    weights = np.asarray(params["head"]["kernel"], np.float64).T
    weights = weights - weights.mean(0)
    odds = np.zeros((len(labels), CLASSES))
    for i, (row, y) in enumerate(
        zip(np.asarray(logits, np.float64), labels, strict=True)
    ):
        cosines = [
            weights[y]
            @ weights[k]
            / np.linalg.norm(weights[y])
            / np.linalg.norm(weights[k])
            for k in KEPT
        ]
        similar = softmax(np.array(cosines) / temperature)
        odds[i, KEPT] = np.exp(row[KEPT]) * np.exp(beta * similar)
    return odds / odds.sum(1, keepdims=True)


def targets(problem, variables, beta, temperature):
    """(the method's q of the forget set, the logits, the labels)."""
    labels = problem.labels[problem.forget]
    logits = logits_of(problem, variables["params"], problem.forget)
    kernel = variables["params"]["head"]["kernel"]
    similarities = class_similarities(kernel, problem, temperature)
    found = tilted(logits, labels, similarities, problem, beta)
    return np.asarray(jax.nn.softmax(found)), logits, np.asarray(labels)


@pytest.mark.slow
@pytest.mark.parametrize("beta, temperature", [(10.0, 0.1), (3.0, 0.5)])
def test_the_target_is_tilted_by_the_head(problem, original, beta, temperature):
    found, logits, labels = targets(problem, original, beta, temperature)
    expected = expected_target(original["params"], logits, labels, beta, temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert np.all(found[:, GONE] == 0)
    plain = expected_target(original["params"], logits, labels, 0.0, temperature)
    assert np.abs(found - plain).max() > 0.05  # the tilt is there


@pytest.mark.slow
def test_similarities_are_shares_of_the_classes_that_stay(problem, original):
    kernel = original["params"]["head"]["kernel"]
    found = np.asarray(class_similarities(kernel, problem, 0.1))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert np.all(found[:, GONE] == 0) and np.all(np.diagonal(found) == 0)
    # nor do the length, a common direction or a spread over space of the weights matter
    changed = 3 * kernel + jnp.arange(8.0)[:, None]
    for other in (changed, kernel[None, None]):
        same = class_similarities(other, problem, 0.1)
        np.testing.assert_allclose(same, found, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_limits_of_the_temperature_and_of_beta(problem, original):
    kernel = np.asarray(original["params"]["head"]["kernel"])
    weights = (kernel - kernel.mean(1, keepdims=True)).T
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    nearest = np.array(KEPT)[(weights @ weights[KEPT].T).argmax(1)]

    found, logits, labels = targets(problem, original, 10.0, 1e5)  # all alike
    without = np.zeros_like(found)
    without[:, KEPT] = softmax(np.asarray(logits)[:, KEPT])
    np.testing.assert_allclose(found, without, rtol=1e-3, atol=1e-6)
    found, *_ = targets(problem, original, 0.0, 0.1)  # no tilt
    np.testing.assert_allclose(found, without, rtol=1e-5, atol=1e-7)
    odds = without * np.exp(2 * np.eye(CLASSES)[nearest[labels]])
    found, *_ = targets(problem, original, 2.0, 1e-4)  # towards the nearest alone
    np.testing.assert_allclose(found, odds / odds.sum(1, keepdims=True), 1e-4, 1e-7)
    found, *_ = targets(problem, original, 1e3, 1e-4)  # nothing but the nearest
    np.testing.assert_allclose(found, np.eye(CLASSES)[nearest[labels]], atol=1e-6)


@pytest.mark.slow
def test_nothing_with_its_expected_similarity_is_nearer_to_the_original(
    problem, original
):
    """What the tilt is: a projection of p without the forgotten classes."""
    found, logits, labels = targets(problem, original, 10.0, 0.5)
    kernel = original["params"]["head"]["kernel"]
    similarities = np.asarray(class_similarities(kernel, problem, 0.5), np.float64)
    answers = softmax(np.asarray(logits, np.float64)[:, KEPT])
    found = np.asarray(found, np.float64)[:, KEPT]

    def divergence(q, p):
        return np.sum(q * np.log(q / p))

    for q, p, y in zip(found, answers, labels, strict=True):
        fixed = np.stack([np.ones(len(KEPT)), similarities[y, KEPT]])
        _, _, directions = np.linalg.svd(fixed)
        here, step = divergence(q, p), 0.1 * q.min()
        for way in directions[2:]:  # neither the sum nor the expectation changes
            assert divergence(q + step * way, p) > here < divergence(q - step * way, p)
        both = [divergence(q + s * directions[1] * step, p) for s in (1, -1)]
        assert min(both) < here  # a control: off the constraint there are nearer ones


def test_three_steps_against_plain_ones(problem, original):
    beta, temperature, alpha, rate, decay = 4.0, 0.3, 0.6, 0.1, 0.02
    params, forget, retain = original["params"], problem.forget, problem.retain
    logits, labels = logits_of(problem, params, forget), problem.labels[forget]
    q = expected_target(params, logits, np.asarray(labels), beta, temperature)[:, KEPT]
    q, rows = jnp.float32(q), jnp.arange(len(retain))

    def loss(params):
        soft = jax.nn.log_softmax(logits_of(problem, params, forget))[
            :, jnp.array(KEPT)
        ]
        hard = jax.nn.log_softmax(logits_of(problem, params, retain))
        soft = jnp.sum(q * (jnp.log(q) - soft))
        hard = -jnp.sum(hard[rows, problem.labels[retain]])
        return (soft + alpha * hard) / len(problem.labels)

    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, 0.9))
    losses, expected = descend_with(optimizer, loss, params, 3)
    constants = dict(beta=beta, temperature=temperature, alpha=alpha)
    fn = functools.partial(trew, epochs=3, batch_size=100, weight_decay=decay)
    after, info = jax.jit(functools.partial(fn, learning_rate=rate, **constants))(
        KEY, original, problem
    )
    np.testing.assert_allclose(info["loss"][:, 0], losses, rtol=1e-5)
    assert_close(after["params"], expected, 1e-5, 1e-5)
    kernel = original["params"]["head"]["kernel"]
    similarities = class_similarities(kernel, problem, temperature)
    np.testing.assert_allclose(
        info["similarities"], similarities[jnp.array(GONE)], 1e-5
    )


@pytest.mark.slow
def test_forgotten_classes_take_the_tilted_answers_and_the_others_stay(
    problem, original
):
    q, *_ = targets(problem, original, 10.0, 0.1)
    found = {}
    for beta in (10.0, 0.0):
        fn = functools.partial(
            trew, epochs=60, batch_size=16, learning_rate=0.05, weight_decay=0.0
        )
        constants = dict(beta=beta, temperature=0.1)
        after, info = jax.jit(fn)(KEY, original, problem, **constants)
        assert info["loss"].shape == (60, 5) and info["loss"].dtype == jnp.float32
        assert info["loss"][-1].mean() < 0.3 * info["loss"][0].mean()
        labels = problem.labels[problem.retain]
        answers = jnp.argmax(predict_set(problem, after, problem.retain), -1)
        assert np.mean(answers == labels) > 0.95
        p = np.asarray(jax.nn.softmax(predict_set(problem, after, problem.forget)))
        assert p[:, GONE].sum(1).max() < 0.2
        found[beta] = np.abs(p - q).sum(1).mean() / 2
    before = jax.nn.softmax(predict_set(problem, original, problem.forget))
    assert np.abs(before - q).sum(1).mean() / 2 > 0.8
    assert found[10.0] < 0.25 < found[0.0]  # untilted answers are others


@pytest.mark.slow
def test_batch_statistics_are_of_both_sets(norm_class_problem):
    problem = norm_class_problem
    variables = problem.model.init(KEY, problem.inputs(jnp.arange(1)))
    after, info = trew(KEY, variables, problem, epochs=1, batch_size=100, alpha=0.0)
    everything = jnp.arange(len(problem.labels))
    logits, expected = outputs(problem, variables, everything)
    assert_close(after["batch_stats"], expected["batch_stats"], 1e-4)
    assert info["loss"][0, 0] < ce(logits, problem.labels).mean()


def test_whole_classes_and_a_known_head_are_needed(problem, original):
    with pytest.raises(InputError, match="forgets whole classes"):
        trew(KEY, original, problem.replace(forget_classes=jnp.zeros(0, jnp.int32)))
    model = linear_model(CLASSES)
    blind = make(model)
    with pytest.raises(InputError, match="activations"):
        trew(KEY, model.init(KEY, blind.inputs(jnp.arange(1))), blind)
