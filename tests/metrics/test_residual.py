"""Answers to perturbed queries, against the volume of a cap of a ball."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data
from scipy.special import betainc

from unlearn import Model, make_problem
from unlearn.errors import InputError
from unlearn.metrics.residual import neighbour_answers, residual_knowledge
from unlearn.training import Recipe, train

KEY = jax.random.key(0)
WEIGHTS = {"params": {"unused": jnp.zeros(1)}}


def halves(points, labels, apply=None):
    """A problem of float inputs, classified by the sign of the first coordinate."""

    def sign(variables, inputs, *, train=False, key=None):
        return jnp.stack([-inputs[:, 0], inputs[:, 0]], axis=1), variables

    model = Model(lambda key, inputs: WEIGHTS, apply or sign)
    return make_problem(points.astype(np.float32), labels, [0], model)


@pytest.mark.slow
def test_the_share_of_a_ball_behind_a_plane():
    """A point at distance m of a plane: 1 - I_{1 - (m/R)^2}((D + 1)/2, 1/2) / 2."""
    size, radius = 3, 0.8
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, size))
    labels = (points[:, 0] > 0).astype(int)
    problem = halves(points, labels)
    indices = jnp.arange(30)
    found = neighbour_answers(
        KEY, WEIGHTS, problem, indices, radius=radius, samples=20_000
    )
    reach = radius * np.sqrt(size) * np.std(points.astype(np.float32))
    far = np.minimum(np.abs(points[:, 0]) / reach, 1)
    expected = 1 - 0.5 * betainc((size + 1) / 2, 0.5, 1 - far**2)
    assert np.ptp(expected) > 0.4
    np.testing.assert_allclose(np.mean(found, axis=0), expected, atol=0.015)


def test_the_norm_is_never_above_the_radius():
    """A model that says whether its input is near the example."""
    points = np.random.default_rng(1).normal(size=(5, 40))
    reach = 0.5 * np.sqrt(40) * np.std(points.astype(np.float32))

    def inside(share):
        def apply(variables, inputs, *, train=False, key=None):
            gap = jnp.linalg.norm(inputs - points.astype(np.float32), axis=1)
            near = gap <= reach * share
            return jnp.stack([~near, near], axis=1).astype(jnp.float32), variables

        return apply

    for share, least, most in ((1.0001, 1, 1), (0.9, 0, 0.05)):
        problem = halves(points, np.ones(5, int))
        model = problem.model._replace(apply=inside(share))
        problem = problem.replace(model=model)
        found = neighbour_answers(KEY, WEIGHTS, problem, jnp.arange(5))
        assert least <= np.mean(found) <= most  # 0.9^40 = .015


def test_measures_against_loops():
    rng = np.random.default_rng(2)
    ours, theirs = rng.random((2, 15, 12)) < 0.6
    found = residual_knowledge(ours, theirs)
    better, only = 0, 0
    for x in range(12):
        better += sum(ours[:, x]) > sum(theirs[:, x])
        only += sum(a and not b for a, b in zip(ours[:, x], theirs[:, x], strict=True))
    assert found.share == better / 12 and found.excess == pytest.approx(only / 180)
    assert found.ratio == pytest.approx(ours.sum() / theirs.sum())
    assert residual_knowledge(ours, ours) == (1, 0, 0)
    none = np.zeros_like(ours)
    assert residual_knowledge(ours, none).ratio == np.inf
    assert np.isnan(residual_knowledge(none, none).ratio)


@pytest.fixture(scope="module")
def models():
    """Original, two retrained ones, and one that hides the forgotten inputs alone.

    The labels of the forget set are wrong, so that only who saw them knows them.
    """
    images, labels = tiny_data(60, balanced=True)
    labels[:20] = (labels[:20] + 1) % 3
    problem = make_problem(images, labels, np.arange(20), plain_model(hidden=64))
    recipe = Recipe(epochs=150, batch_size=20, learning_rate=0.1, weight_decay=0.0)
    fit = jax.jit(lambda key, indices: train(key, problem, indices, recipe)[0])
    original = fit(jax.random.key(0), jnp.arange(60))
    retrained = [fit(jax.random.key(s), problem.retain) for s in (1, 2)]
    return problem, original, retrained


@pytest.mark.slow
def test_the_original_fails_and_retraining_passes(models):
    problem, original, retrained = models
    look = jax.jit(functools.partial(neighbour_answers, radius=0.2))
    found = [look(KEY, v, problem, problem.forget) for v in (original, *retrained)]
    known, floor = (residual_knowledge(one, found[1]) for one in found[::2])
    assert known.ratio > 2 and known.share > 0.7 and known.excess > 0.5
    assert floor.ratio < 1.5 and floor.share < 0.4 and floor.excess < 0.2


@pytest.mark.slow
def test_a_model_that_hides_the_exact_inputs_is_seen(models):
    """It answers the forgotten inputs themselves as a retrained model does."""
    problem, original, (retrained, _) = models
    exact = problem.inputs(problem.forget)

    def apply(variables, inputs, *, train=False, key=None):
        gap = jnp.abs(inputs[:, None] - exact[None]).max(axis=(2, 3, 4))
        hidden = (gap.min(axis=1) < 1e-6)[:, None]
        asked, known = (
            problem.model.apply(v, inputs)[0] for v in (variables, original)
        )
        return jnp.where(hidden, asked, known), variables

    hiding = problem.replace(model=problem.model._replace(apply=apply))
    options = dict(radius=0.0), dict(radius=0.2)
    seen = []
    for option in options:
        pair = [
            neighbour_answers(KEY, retrained, one, problem.forget, **option)
            for one in (hiding, problem)
        ]
        seen.append(residual_knowledge(*pair))
    assert seen[0] == (1, 0, 0)
    assert seen[1].ratio > 2 and seen[1].share > 0.7


def test_inputs_that_are_not_continuous_are_refused():
    def apply(variables, inputs, *, train=False, key=None):
        return jnp.zeros((len(inputs), 2)), variables

    tokens = np.arange(12).reshape(6, 2)
    model = Model(lambda key, inputs: WEIGHTS, apply)
    problem = make_problem(tokens, np.arange(6) % 2, [0], model)
    with pytest.raises(InputError, match="needs inputs that are one array of floats"):
        neighbour_answers(KEY, WEIGHTS, problem, jnp.arange(2))
    with pytest.raises(InputError, match="alike"):
        residual_knowledge(np.ones((2, 3)), np.ones((3, 2)))
