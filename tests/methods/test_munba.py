"""The bargain in closed form, and steps that help both players."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data, trained
from references import ce, cross_entropies, outputs
from trees import assert_close, assert_equal, distance, flat

from unlearn import make_problem
from unlearn.methods.munba import bargain, bargaining_weights, munba

KEY = jax.random.key(3)
FULL = dict(batch_size=100, forget_batch_size=100)  # an epoch is one step
BARE = dict(momentum=0.0, weight_decay=0.0)


def grams():
    """Of gradients at every angle and of every ratio of lengths."""
    rng = np.random.default_rng(0)
    for cosine in (-0.99, -0.6, -1e-4, 0.0, 1e-5, 0.3, 1.0):
        r, f = 10 ** rng.uniform(-4, 3, 2)
        yield np.array([[r * r, cosine * r * f], [cosine * r * f, f * f]])


@pytest.mark.parametrize("gram", list(grams()))
def test_the_weights_are_a_bargain(gram):
    found = np.asarray(bargaining_weights(jnp.float32(gram)), np.float64)
    assert np.all(found > 0)
    np.testing.assert_allclose(gram @ found * found, 1, rtol=1e-4)
    np.testing.assert_allclose(found @ gram @ found, 2, rtol=1e-4)  # |d|^2
    # neither the sum nor unit gradients are: what is tested can fail
    for others in (np.ones(2), 1 / np.sqrt(np.diag(gram))):
        wrong = np.abs(gram @ others * others - 1).max()
        assert wrong > 1e-2 or abs(gram[0, 1]) < 1e-3 * np.sqrt(gram[0, 0] * gram[1, 1])


def test_the_weights_are_those_of_the_released_formula_where_it_has_any():
    for gram in grams():
        r, rf, f = gram[0, 0], gram[0, 1], gram[1, 1]
        if 0.01 < abs(rf) / np.sqrt(r * f) < 0.995:
            first = np.sqrt((r * f - rf * np.sqrt(r * f)) / (r * r * f - r * rf * rf))
            second = (1 - r * first**2) / (rf * first)
            found = bargaining_weights(jnp.float32(gram))
            np.testing.assert_allclose(found, [first, second], rtol=1e-3)


def test_no_direction_of_that_length_has_a_larger_product_of_gains():
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(2, 4)) * [[30.0], [0.1]]
    weights = np.asarray(bargaining_weights(jnp.float32(gradients @ gradients.T)))
    best = weights @ gradients
    others = np.concatenate(
        [rng.normal(size=(2000, 4)), best + rng.normal(0, 0.05, (500, 4))]
    )
    others *= np.linalg.norm(best) / np.linalg.norm(others, axis=1, keepdims=True)
    gains = others @ gradients.T
    products = np.where(np.all(gains > 0, 1), gains.prod(1), 0)
    assert products.max() <= (gradients @ best).prod() * (1 + 1e-5)
    assert products.max() > 0.98 * (gradients @ best).prod()  # some come near


@pytest.mark.parametrize("retain, forget", [(1.0, -2.0), (0.0, 3.0), (0.0, 0.0)])
def test_opposite_gradients_stay_put_and_none_is_no_number(retain, forget):
    """Of two players that want the opposite; of one that wants nothing."""
    way = np.array([0.6, -0.8])
    gradients = np.stack([retain * way, forget * way])
    weights = np.asarray(bargaining_weights(jnp.float32(gradients @ gradients.T)))
    assert np.isfinite(weights).all()
    expected = way * (np.sign(retain) + np.sign(forget))
    np.testing.assert_allclose(weights @ gradients, expected, atol=1e-3)


def pull(variables, batch, key):
    """A descent towards a point: scale |p - point|^2 / 2."""
    point, scale = batch
    loss = scale * jnp.sum((variables["params"]["p"] - point) ** 2) / 2
    return loss, {**variables, "seen": variables["seen"] * 3 + scale}


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_an_objective_has_the_gradient_of_the_bargain(scale):
    """Unit vectors to both points, their sum by 1 / sqrt(1 + cos); no scale matters."""
    p, r, f = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0], [1.0, 2.0, 2.5]])
    variables = {"params": {"p": jnp.float32(p)}, "seen": jnp.float32(1)}
    batches = (jnp.float32(r), jnp.float32(1)), (jnp.float32(f), jnp.float32(scale))

    def loss_fn(params):
        return bargain(pull)({**variables, "params": params}, batches, KEY)

    (loss, after), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
        variables["params"]
    )
    units = [(p - x) / np.linalg.norm(p - x) for x in (r, f)]
    expected = sum(units) / np.sqrt(1 + units[0] @ units[1])
    np.testing.assert_allclose(gradient["p"], expected, rtol=1e-5)
    sides = np.sum((p - r) ** 2) / 2, scale * np.sum((p - f) ** 2) / 2
    np.testing.assert_allclose(loss, sum(sides), rtol=1e-6)
    assert after["seen"] == 3 * (3 * 1 + 1) + scale  # retain first, then forget


@pytest.fixture(scope="module")
def two_classes():
    """The wrong label is the other one, so nothing is drawn; and the original."""
    images, labels = tiny_data(30, classes=2)
    problem = make_problem(images, labels, [2, 5, 6, 11], plain_model(classes=2))
    return problem, trained(problem, epochs=12)


def players(problem):
    """params -> (loss, gradient) of each player, on all of its examples."""
    wrong = 1 - problem.labels[problem.forget]

    def of_retain(params):
        return cross_entropies(problem, params, problem.retain).mean()

    def of_forget(params):
        return cross_entropies(problem, params, problem.forget, wrong).mean()

    both = [jax.value_and_grad(loss) for loss in (of_retain, of_forget)]
    return jax.jit(lambda params: [player(params) for player in both])


def test_three_steps_against_plain_ones(two_classes):
    """Bisector of the gradients, clipping, momentum and decay, written out."""
    problem, variables = two_classes
    gradients, (rate, bound, decay) = players(problem), (0.2, 0.7, 0.03)
    params, losses = variables["params"], []
    velocity = jax.tree.map(np.zeros_like, params)
    for _ in range(3):
        (retain, r), (forget, f) = gradients(params)
        losses.append(retain + forget)
        r, f = (
            jax.tree.map(lambda x, g=g: x / np.linalg.norm(flat(g)), g) for g in (r, f)
        )
        both = jax.tree.map(jnp.add, r, f)
        length = np.linalg.norm(flat(both))
        velocity = jax.tree.map(
            lambda v, g, p, n=length: 0.9 * v + bound * g / n + decay * p,
            velocity,
            both,
            params,
        )
        params = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
    fn = functools.partial(munba, max_norm=bound, momentum=0.9, weight_decay=decay)
    after, info = jax.jit(functools.partial(fn, epochs=3, learning_rate=rate, **FULL))(
        KEY, variables, problem
    )
    np.testing.assert_allclose(info["loss"][:, 0], losses, rtol=1e-5)
    assert_close(after["params"], params, 1e-5, 1e-5)


@pytest.mark.slow
def test_a_step_helps_both_players_where_their_sum_does_not(two_classes):
    problem, variables = two_classes
    gradients, params = players(problem), variables["params"]
    (retain, r), (forget, f) = gradients(params)
    assert flat(r) @ flat(f) < 0

    def change(params):
        (now, _), (then, _) = gradients(params)
        return float(now - retain), float(then - forget)

    run = functools.partial(munba, KEY, variables, problem, **FULL, **BARE)
    size = 1e-3
    after, _ = run(epochs=1, learning_rate=size)
    np.testing.assert_allclose(distance(after, variables), size, rtol=1e-3)
    assert max(change(after["params"])) < -1e-6
    unclipped, _ = run(epochs=1, learning_rate=size, max_norm=9.0)
    length = distance(unclipped, variables) / distance(after, variables)
    np.testing.assert_allclose(length, np.sqrt(2), rtol=1e-3)
    way = size / np.linalg.norm(flat(r) + flat(f))
    summed = jax.tree.map(lambda p, a, b: p - way * (a + b), params, r, f)
    assert max(change(summed)) > 1e-5


@pytest.mark.slow
def test_wrong_labels_are_learnt_and_the_rest_is_kept(problem, variables):
    """Retained examples stay known; of forgotten ones none keeps its label."""
    options = dict(learning_rate=0.03, epochs=30, batch_size=16, decay="cosine")
    after, info = jax.jit(functools.partial(munba, **options))(KEY, variables, problem)
    assert info["loss"].shape == (30, 3) and info["loss"].dtype == jnp.float32

    def accuracy(variables, indices):
        logits, _ = problem.model.apply(variables, problem.inputs(indices))
        return np.mean(np.argmax(logits, -1) == problem.labels[indices])

    assert accuracy(variables, problem.forget) > 0.8
    assert accuracy(after, problem.forget) < 0.3
    assert accuracy(after, problem.retain) > 0.9


@pytest.mark.slow
def test_only_the_first_steps_of_an_epoch_bargain_with_phases(problem, variables):
    """The bargain is clipped to nothing: with phases retain is still descended on."""
    options = dict(learning_rate=0.1, epochs=2, batch_size=11, max_norm=0.0, **BARE)
    run = functools.partial(munba, KEY, variables, problem, **options)
    still, _ = run()
    assert_equal(still, variables)
    moved, info = run(phases=True)
    assert distance(moved, variables) > 1e-2
    retain = problem.retain
    before, after = (
        cross_entropies(problem, v["params"], retain).mean() for v in (variables, moved)
    )
    assert after < before
    # the loss of the first step has the forget player's in it
    assert info["loss"].shape == (2, 3)
    assert np.all(info["loss"][:, 0] > info["loss"][:, 1])


@pytest.mark.slow
def test_with_as_many_batches_to_forget_phases_change_nothing(problem, variables):
    options = dict(learning_rate=0.1, epochs=2, batch_size=11, forget_batch_size=3)
    run = functools.partial(munba, KEY, variables, problem, **options)
    assert_equal(run(phases=True), run())


@pytest.mark.slow
def test_batch_statistics_are_of_the_retain_then_of_the_forget_batch(
    norm_problem, norm_variables
):
    problem = norm_problem
    run = functools.partial(munba, KEY, norm_variables, problem, **FULL, epochs=1)
    frozen, _ = run(statistics="frozen")
    assert_equal(frozen["batch_stats"], norm_variables["batch_stats"])
    moved, info = run()
    logits, after = outputs(problem, norm_variables, problem.retain)
    _, after = outputs(problem, after, problem.forget)
    assert_close(moved["batch_stats"], after["batch_stats"])
    assert info["loss"][0, 0] > ce(logits, problem.labels[problem.retain]).mean()
    assert distance(moved["params"], frozen["params"]) > 1e-4
