"""DP-SGD against dense sums, known budgets, and mechanisms that are broken."""

import importlib.util
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import NormNet, tiny_problem
from jax.flatten_util import ravel_pytree
from scipy import stats
from trees import assert_close, flat

from unlearn.errors import InputError
from unlearn.models import from_linen
from unlearn.privacy import dp_sgd
from unlearn.privacy.dp_sgd import Budget, Recipe
from unlearn.training import cross_entropy

NEEDED = pytest.mark.skipif(
    importlib.util.find_spec("jax_privacy") is None,
    reason="jax-privacy is not installed: pip install 'unlearn-jax[privacy]'",
)
KEY = jax.random.key(4)
RECIPE = Recipe(steps=3, batch_size=10, learning_rate=0.5, clip=0.3, microbatch=1)


@pytest.fixture(scope="module")
def problem():
    return tiny_problem(size=40, forget=6)


def drawn(key, number, count):
    keys = jax.random.split(jax.random.fold_in(jax.random.split(key)[1], number), 3)
    rows, weights = dp_sgd.sample(keys[0], jnp.arange(40), 10 / 40, count)
    return np.asarray(rows)[np.asarray(weights) > 0], keys


def test_steps_are_clipped_sums_of_single_gradients(problem):
    found, norms = dp_sgd.train(KEY, problem, jnp.arange(40), RECIPE, 0.0)
    start = problem.model.init(jax.random.split(KEY)[0], problem.inputs(jnp.arange(1)))
    params, unravel = ravel_pytree(start["params"])

    def loss(params, row):
        variables = {"params": unravel(params)}
        logits, _ = problem.model.apply(variables, problem.inputs(row))
        return -jax.nn.log_softmax(logits)[0, problem.labels[row[0]]]

    slope = jax.jit(jax.grad(loss))
    for number in range(3):
        rows, _ = drawn(KEY, number, min(RECIPE.most, 40))
        total, largest = np.zeros(len(params)), 0.0
        for row in rows:
            gradient = np.asarray(slope(params, jnp.array([row])))
            norm = np.linalg.norm(gradient)
            total += gradient * min(1, 0.3 / norm)
            largest = max(largest, norm)
        params = params - 0.5 * total / 10
        np.testing.assert_allclose(norms[number], largest, rtol=1e-4)
    np.testing.assert_allclose(flat(found), params, atol=1e-5)


@pytest.mark.slow
def test_never_more_than_a_microbatch_of_gradients_is_there(problem):
    """Of a sample that it does not divide as well; the sums are the same."""
    args = KEY, problem, jnp.arange(40)
    recipes = [RECIPE._replace(batch_size=30, microbatch=size) for size in (40, 9)]
    assert recipes[1].most >= 40
    text = str(jax.make_jaxpr(lambda: dp_sgd.train(*args, recipes[1], 0.0))())
    assert "f32[9," in text and "f32[45,3" not in text and "f32[40,3" not in text
    whole, parts = (dp_sgd.train(*args, recipe, 0.0) for recipe in recipes)
    np.testing.assert_allclose(flat(whole[0]), flat(parts[0]), atol=1e-5)
    np.testing.assert_allclose(whole[1], parts[1], rtol=1e-4)


@NEEDED
def test_the_clipped_sum_is_that_of_jax_privacy(problem):
    from jax_privacy import clipping

    def loss(params, inputs, labels, weights):
        logits, _ = problem.model.apply({"params": params}, inputs)
        return jnp.mean(weights * cross_entropy(logits, labels))

    params = problem.model.init(KEY, problem.inputs(jnp.arange(1)))["params"]
    batch = problem.batch(jnp.arange(12), jnp.array([1.0] * 10 + [0.0] * 2))
    recipe = RECIPE._replace(microbatch=4, clip=1.6)
    theirs = clipping.clipped_grad(
        loss, l2_clip_norm=1.6, batch_argnums=(1, 2, 3), return_grad_norms=True
    )
    expected, seen = theirs(params, *batch)
    found, norms = dp_sgd.clipped_sum(params, batch, KEY, problem.model, recipe)
    assert_close(found, expected)
    np.testing.assert_allclose(norms, seen.grad_norms, rtol=1e-5, atol=1e-7)
    assert np.all(norms[10:] == 0) and np.any(norms > 1.6) and np.any(norms[:10] < 1.6)


def test_an_example_that_is_no_number_is_bounded_as_others(problem):
    params = problem.model.init(KEY, problem.inputs(jnp.arange(1)))["params"]
    batch = problem.batch(jnp.arange(12), jnp.ones(12))
    inputs = batch.inputs.at[3].set(jnp.nan).at[5].set(jnp.inf)
    recipe = RECIPE._replace(microbatch=4)
    args = KEY, problem.model, recipe
    found, norms = dp_sgd.clipped_sum(params, batch._replace(inputs=inputs), *args)
    others = batch._replace(weights=jnp.ones(12).at[jnp.array([3, 5])].set(0.0))
    expected, _ = dp_sgd.clipped_sum(params, others, *args)
    assert np.isfinite(norms).all()
    assert np.linalg.norm(flat(found) - flat(expected)) <= 2 * 0.3 + 1e-6


def test_the_noise_is_of_its_size(problem):
    """Of nothing but noise: the deviation of a step is rate x noise x clip / batch."""
    recipe = RECIPE._replace(steps=1, clip=1e-6)
    program = jax.jit(dp_sgd.train, static_argnums=3)
    still, _ = program(KEY, problem, jnp.arange(40), recipe, 0.0)
    moved, _ = program(KEY, problem, jnp.arange(40), recipe, 4.0)
    change = flat(moved) - flat(still)
    expected = 0.5 * 4.0 * 1e-6 / 10
    np.testing.assert_allclose(change.std() / expected, 1, rtol=0.2)
    assert stats.kstest(change / expected, "norm").pvalue > 1e-3
    again, _ = program(jax.random.key(5), problem, jnp.arange(40), recipe, 4.0)
    assert np.abs(flat(again) - flat(moved)).max() > 0


def test_every_example_is_drawn_alone():
    """Sizes of batches are binomial, and no two examples come together more often."""
    keys = jax.random.split(KEY, 4000)
    rows, weights = jax.vmap(lambda key: dp_sgd.sample(key, jnp.arange(20), 0.3, 20))(
        keys
    )
    there = np.zeros((4000, 20))
    np.put_along_axis(there, np.asarray(rows), np.asarray(weights), axis=1)
    np.testing.assert_allclose(there.mean(axis=0), 0.3, atol=0.03)
    sizes = np.bincount(there.sum(axis=1).astype(int), minlength=21)
    expected = 4000 * stats.binom.pmf(np.arange(21), 20, 0.3)
    common = expected > 20
    np.testing.assert_allclose(sizes[common], expected[common], rtol=0.25)
    others = np.corrcoef(there.T) - np.eye(20)
    assert np.abs(others).max() < 0.08
    few, weights = dp_sgd.sample(KEY, jnp.arange(20), 1.0, 5)
    assert len(set(np.asarray(few))) == 5 and weights.sum() == 5


@NEEDED
@pytest.mark.slow
def test_budgets_are_those_of_the_literature():
    """One step without sampling: the Gaussian mechanism in closed form."""
    recipe = Recipe(steps=1, batch_size=1000)
    found = dp_sgd.spent(2.0, 1e-5, 1000, recipe)

    def delta(epsilon, sensitivity=1 / 2.0):
        """Balle and Wang 2018, theorem 8."""
        low, high = (sensitivity / 2, epsilon / sensitivity)
        return stats.norm.cdf(low - high) - math.exp(epsilon) * stats.norm.cdf(
            -low - high
        )

    assert delta(found.epsilon) == pytest.approx(1e-5, rel=0.05)
    recipe = Recipe(steps=1000, batch_size=256)
    noise = dp_sgd.noise_for(Budget(3.0, 1e-5), 60_000, recipe)
    found = dp_sgd.spent(noise, 1e-5, 60_000, recipe)
    assert found.epsilon == pytest.approx(3, abs=0.05)
    assert found.delta == pytest.approx(1e-5, rel=1e-3)
    tenth = dp_sgd.spent(noise / 10, 1e-5, 60_000, recipe)
    assert tenth.epsilon > 30  # a mechanism with a tenth of the noise is no mechanism


def test_a_request_of_several_costs_more():
    one = Budget(1.0, 1e-5)
    assert one.of(1) == one
    three = one.of(3)
    assert three.epsilon == 3 and three.delta == pytest.approx(3e-5 * math.exp(2))
    assert one.of(2000).delta == 1.0
    with pytest.raises(InputError, match="1 example or more; it has 0"):
        one.of(0)


def test_it_learns_and_is_pure(problem):
    recipe = Recipe(steps=60, batch_size=20, learning_rate=0.5, microbatch=4)
    program = jax.jit(dp_sgd.train, static_argnums=3)
    found, _ = program(KEY, problem, jnp.arange(40), recipe, 0.3)
    again, _ = program(KEY, problem, jnp.arange(40), recipe, 0.3)
    np.testing.assert_array_equal(flat(found), flat(again))
    logits, _ = problem.model.apply(found, problem.inputs(jnp.arange(40)))
    accuracy = (np.argmax(logits, axis=-1) == np.asarray(problem.labels)).mean()
    assert accuracy > 0.6


@pytest.mark.parametrize(
    "budget, recipe, words",
    [
        (Budget(0.0, 1e-5), RECIPE, "epsilon must be above 0"),
        (Budget(np.inf, 1e-5), RECIPE, "epsilon must be above 0 and finite"),
        (Budget(1.0, 0.1), RECIPE, "delta between 0 and 1/40"),
        (
            Budget(1.0, 1e-5),
            RECIPE._replace(batch_size=41),
            "batch_size must be from",
        ),
        (Budget(1.0, 1e-5), RECIPE._replace(clip=0.0), "clip must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(budget, recipe, words):
    with pytest.raises(InputError, match=words):
        dp_sgd.check(budget, 40, recipe)


def test_batch_statistics_are_refused():
    problem = tiny_problem(from_linen(NormNet()), size=40, forget=6)
    with pytest.raises(InputError, match="without batch normalisation"):
        dp_sgd.train(KEY, problem, jnp.arange(40), RECIPE, 1.0)


@pytest.mark.skipif(
    importlib.util.find_spec("jax_privacy") is not None, reason="it is installed"
)
def test_without_jax_privacy_it_says_what_to_install():
    with pytest.raises(InputError, match=r"pip install \"unlearn-jax\[privacy\]\""):
        dp_sgd.noise_for(Budget(1.0, 1e-5), 1000, Recipe())
