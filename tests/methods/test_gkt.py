"""What is particular to gated knowledge transfer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case, settings
from conftest import class_of_tiny_problem, tiny_data, trained
from trees import assert_equal

from unlearn.methods import METHODS
from unlearn.methods.gkt import (
    attention,
    attention_distance,
    first_passed,
    gate,
    generate,
    gkt,
    imbalance,
    new_generator,
)
from unlearn.problem import withhold

FORGOTTEN = np.array([False, True, False])

TINY_GKT = dict(rounds=30, batch_size=16, latent=8, width=16)


@pytest.fixture(scope="module")
def variables(class_problem):
    return trained(class_problem, epochs=20)


@pytest.mark.slow
def test_gkt_is_watched_along_the_whole_run(class_problem, variables):
    """The class does not leak back; with an open gate and no mask it does."""
    images, labels = tiny_data(600, seed=5)
    inputs = class_problem.preprocess(jnp.asarray(images))
    inputs = inputs[labels == 1]

    def forget_accuracy(variables):
        logits = class_problem.model.apply(variables, inputs)[0]
        return jnp.mean(jnp.argmax(logits, -1) == 1)

    gated, open_gate = (
        case(
            "gkt",
            class_problem,
            **TINY_GKT,
            fresh_layers=1,
            student_steps=10,
            learning_rate=1e-2,
            watch=forget_accuracy,
            **changes,
        )
        for changes in (dict(threshold=0.05), dict(threshold=1.0, mask=False))
    )
    after, info = gated[0](jax.random.key(0), variables, gated[1])
    assert info["watched"].shape == (30,)
    np.testing.assert_allclose(info["watched"][-1], forget_accuracy(after))
    watched = np.asarray(info["watched"])
    assert watched[0] > 0.3 and watched[-1] < 0.1
    assert (watched - np.minimum.accumulate(watched)).max() < 0.02
    after, info = open_gate[0](jax.random.key(0), variables, open_gate[1])
    assert info["watched"][-1] > 0.5


def test_the_gate_drops_exactly_what_is_above_the_threshold():
    p = np.array([[0.5, 0.2, 0.3], [0.7, 0.1, 0.2], [0.05, 0.9, 0.05], [0.9, 0.0, 0.1]])
    passed = gate(jnp.log(p + 1e-12), FORGOTTEN, 0.15)
    np.testing.assert_array_equal(passed, [0, 1, 0, 1])
    two = gate(jnp.log(p + 1e-12), np.array([False, True, True]), 0.25)
    np.testing.assert_array_equal(two, [0, 0, 0, 1])  # 0.5, 0.3, 0.95 and 0.1 together
    images, weights = first_passed(jnp.arange(4.0), passed, 3)
    np.testing.assert_array_equal(weights, [1, 1, 0])
    assert set(np.asarray(images).tolist()) == {1, 3}
    _, weights = first_passed(jnp.arange(4.0), jnp.zeros(4), 3)
    np.testing.assert_array_equal(weights, [0, 0, 0])


@pytest.mark.slow
def test_a_closed_gate_leaves_the_student_as_it_was(norm_class_problem, norm_variables):
    """Nothing passes: neither weights nor batch statistics move."""
    fn, seen = case("gkt", norm_class_problem, threshold=-1.0, fresh_layers=1)
    one, info = fn(jax.random.key(0), norm_variables, seen)
    np.testing.assert_array_equal(info["passed"], 0)
    fn, _ = case("gkt", norm_class_problem, threshold=-1.0, fresh_layers=1, rounds=0)
    assert_equal(one, fn(jax.random.key(0), norm_variables, seen)[0])
    assert_equal(one["batch_stats"], norm_variables["batch_stats"])
    assert_equal(one["params"]["Dense_0"], norm_variables["params"]["Dense_0"])
    assert np.any(one["params"]["Dense_1"]["kernel"] != 0)


@pytest.mark.slow
def test_the_student_sees_nothing_that_looks_like_the_class(class_problem, variables):
    fn, seen = case("gkt", class_problem, **TINY_GKT, threshold=0.05)
    _, info = fn(jax.random.key(0), variables, seen)
    assert 0 < info["passed"].mean() < 1
    assert info["forget_probability"].max() <= 0.05


@pytest.mark.slow
def test_the_generator_climbs_the_divergence(class_problem, variables):
    """A student that stands still gets ever worse images; its own steps go down."""
    settings = dict(TINY_GKT, balance=0.0, threshold=1.0, fresh_layers=1)
    run = functools.partial(case, "gkt", class_problem, **settings)
    fn, seen = run(learning_rate=0.0, generator_rate=1e-2)
    climb = fn(jax.random.key(7), variables, seen)[1]
    gap = -np.asarray(climb["generator_loss"])
    assert (gap >= 0).all() and gap[-5:].mean() > 1.1 * gap[:5].mean()
    fn, _ = run(learning_rate=1e-2, generator_rate=0.0, student_steps=10)
    learn = fn(jax.random.key(7), variables, seen)[1]
    assert learn["loss"][-1, -1] < 0.5 * learn["loss"][0, 0]


def test_attention_distance_against_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3, 4, 6)).astype(np.float32)
    expected = []
    for x, y in zip(a, b, strict=True):
        maps = [(v.astype(np.float64) ** 2).sum(-1).ravel() / 6 for v in (x, y)]
        one, two = (m / np.linalg.norm(m) for m in maps)
        expected.append(((one - two) ** 2).sum() / 12)
    found = attention_distance(attention(a), attention(b))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(
        attention_distance(attention(a), attention(3 * a)), 0, atol=1e-9
    )


@pytest.mark.slow
def test_attention_of_convolutions_is_matched():
    """Without `activations` there is none, and the loss is that of beta 0."""
    from unlearn.models import create

    net = create("cnn", 3, widths=(4, 4), dense=8)
    problem = class_of_tiny_problem(net)
    original = net.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))

    @functools.partial(jax.jit, static_argnums=0)
    def first_loss(model, beta):
        constants = settings(METHODS["gkt"]) | dict(
            rounds=1, fresh_layers=0, threshold=1.0
        )
        seen = withhold(problem.replace(model=model), ("forget_classes",))
        _, info = gkt(jax.random.key(1), original, seen, beta=beta, **constants)
        return info["loss"][0, 0]

    plain = first_loss(net, 0.0)
    assert first_loss(net, 250.0) > plain + 1e-3
    blind = first_loss(net._replace(activations=None), 250.0)
    np.testing.assert_allclose(blind, plain, rtol=1e-4)


def test_imbalance_is_least_for_sure_and_equally_frequent_retained_classes():
    even = jnp.log(jnp.array([[1.0, 0, 0], [0, 0, 1]]) + 1e-6)
    np.testing.assert_allclose(imbalance(even, FORGOTTEN), 0, atol=1e-4)
    one = jnp.log(jnp.array([[1.0, 0, 0], [1, 0, 0]]) + 1e-6)
    forgotten = jnp.log(jnp.array([[0, 1.0, 0], [0, 0, 1]]) + 1e-6)
    unsure = jnp.log(jnp.array([[0.5, 0, 0.5], [0.5, 0, 0.5]]) + 1e-6)
    for worse in (one, forgotten, unsure):
        assert imbalance(worse, FORGOTTEN) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 7, 3)])
def test_the_generator_fits_any_image_and_is_standardised(shape):
    params = new_generator(jax.random.key(0), 4, 8, shape)
    images = generate(params, jax.random.normal(jax.random.key(1), (64, 4)), shape)
    assert images.shape == (64, *shape) and images.dtype == jnp.float32
    np.testing.assert_allclose(images.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(images.std((0, 1, 2)), 1, atol=1e-3)
    assert np.asarray(images.std(0)).min() > 0.05


@pytest.mark.slow
def test_gkt_of_the_paper_is_a_choice_of_constants(class_problem, variables):
    """Nothing of the original's weights: only its answers matter."""
    _, seen = case("gkt", class_problem)
    constants = dict(fresh_layers=0, mask=False, balance=0.0, candidates=1)
    fn = jax.jit(functools.partial(gkt, **TINY_GKT | constants, temperature=1.0))
    one, _ = fn(jax.random.key(7), variables, seen)
    fresh = seen.model.init(jax.random.key(1), jnp.zeros((1, 4, 4, 1)))
    assert jax.tree.structure(one) == jax.tree.structure(fresh)
    kernels = [np.ravel(v["params"]["trunk"]["kernel"]) for v in (one, variables)]
    assert abs(np.corrcoef(*kernels)[0, 1]) < 0.3
