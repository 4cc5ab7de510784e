"""What noisy steps hide: their bound, their noise, and that less noise is found out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from trees import assert_close, flat

from unlearn.errors import InputError
from unlearn.methods import noisy_finetune, noisy_steps
from unlearn.methods.noisy_steps import Steps
from unlearn.metrics import empirical_epsilon
from unlearn.training import classification

KEY = jax.random.key(3)
PLAN = Steps(count=5, kept=0.2, rate=0.1, limit=0.5, radius=2.0)
SMALL = dict(epochs=1, batch_size=16, noisy_steps=4)


def dense_delta(mu, epsilon):
    """The integral of max(0, p - e^epsilon q), of N(mu, 1) and N(0, 1)."""
    crossing = mu / 2 + epsilon / mu

    def above(x):
        return norm.pdf(x, mu) - np.exp(epsilon) * norm.pdf(x)

    return quad(above, crossing, crossing + 20, epsabs=0, limit=200)[0]


@pytest.mark.parametrize(("mu", "epsilon"), [(0.3, 1.0), (1.0, 0.5), (1.6, 8.0)])
def test_delta_is_the_integral(mu, epsilon):
    found = np.exp(noisy_steps.log_delta(mu, epsilon))
    assert found == pytest.approx(dense_delta(mu, epsilon), rel=1e-3)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-3), (1, 1e-5), (8, 1e-5)])
def test_the_separation_spends_the_budget_and_no_more(epsilon, delta):
    mu = float(noisy_steps.separation(epsilon, delta))
    assert 0.95 * delta < dense_delta(mu, epsilon) < delta


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 8.0, 64.0])
@pytest.mark.parametrize("delta", [1e-15, 1e-9, 1e-5, 0.1])
@pytest.mark.slow
def test_float32_never_allows_too_much(epsilon, delta):
    """By the profile in float64, of log-probabilities."""
    mu = float(noisy_steps.separation(epsilon, delta))
    below = norm.logcdf(mu / 2 - epsilon / mu)
    above = epsilon + norm.logcdf(-mu / 2 - epsilon / mu)
    assert mu > 0 and below + np.log1p(-np.exp(above - below)) <= np.log(delta)


@pytest.mark.parametrize(
    "changes",
    [
        *(dict(radius=-2.0), dict(clip=-1.0), dict(noisy_steps=0), dict(kept=1.5)),
        *(dict(kept=-0.1), dict(epsilon=0.0), dict(epsilon=-1.0), dict(delta=0.0)),
        *(dict(delta=2.0), dict(noisy_learning_rate=-1.0), dict(radius=np.nan)),
    ],
)
def test_constants_that_make_no_sense_are_no_certificate(problem, variables, changes):
    with pytest.raises(InputError, match="noisy steps"):
        noisy_finetune(KEY, variables, problem, **SMALL | changes)


@pytest.mark.slow
def test_an_original_that_is_no_number_tells_nothing(problem, variables):
    """And neither do such gradients."""
    none = jax.tree.map(lambda x: x * jnp.nan, variables)
    found, _ = noisy_finetune(KEY, none, problem, **SMALL, kept=0.0)
    expected, _ = noisy_finetune(KEY, variables, problem, **SMALL, kept=0.0)
    assert_close(found, expected)
    clipped = noisy_steps.clipped({"w": jnp.array([jnp.inf, 3.0, jnp.nan])}, 1.0)
    np.testing.assert_allclose(clipped["w"], [0, 1, 0])


def outwards(fresh):
    """An objective whose gradient, clipped, points away from the fresh weights."""

    def objective(variables, batch, key):
        moved = jax.tree.map(jnp.subtract, variables["params"], fresh["params"])
        return -100 * jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(moved))), 0

    return objective


def start_and_end(problem, fresh, objective, direction, sigma=0.0, key=KEY):
    """The last weights less `a` from 5 steps, begun far out in a direction."""
    params = jax.tree.map(lambda a, d: a + 9 * d, fresh["params"], direction)
    args = problem, objective, PLAN, sigma, 16
    end = noisy_steps.take(key, params, fresh, *args)
    return jax.tree.map(jnp.subtract, end, fresh["params"])


def drawn(key, variables):
    """A direction: random, of norm 1."""
    tree = noisy_steps.gaussian(key, variables["params"])
    return noisy_steps.clipped(tree, 1.0)


@pytest.mark.slow
def test_two_runs_are_as_far_apart_as_the_bound_where_gradients_are_worst(
    problem, variables
):
    one = drawn(KEY, variables)
    two = jax.tree.map(jnp.negative, one)
    ends = [
        flat(start_and_end(problem, variables, outwards(variables), d))
        for d in (one, two)
    ]
    apart = 2 * PLAN.radius  # by hand
    for _ in range(PLAN.count):
        apart = PLAN.rho * apart + 2 * PLAN.rate * PLAN.limit
    assert PLAN.apart() == pytest.approx(apart, rel=1e-5)
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(apart, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_and_never_farther(problem, variables, seed):
    objective = classification(problem.model)
    ends = [
        flat(start_and_end(problem, variables, objective, drawn(key, variables)))
        for key in jax.random.split(jax.random.key(seed))
    ]
    assert 0 < np.linalg.norm(ends[0] - ends[1]) < PLAN.apart()


def test_the_noise_at_the_end_is_of_its_size(problem, variables):
    def flat_objective(variables, batch, key):
        return 0 * sum(jnp.sum(x) for x in jax.tree.leaves(variables["params"])), 0

    nothing = jax.tree.map(jnp.zeros_like, variables["params"])
    found = start_and_end(problem, variables, flat_objective, nothing, sigma=0.3)
    sizes = 0.3 * PLAN.rho ** np.arange(PLAN.count)
    expected = np.sqrt(np.sum(sizes**2))
    assert PLAN.noise_at_end(0.3) == pytest.approx(expected, rel=1e-5)
    assert flat(found).std() == pytest.approx(expected, rel=0.2)


def shown(problem, fresh, *, share=1.0, same_key=False, epsilon=1.0, runs=1200):
    """What an attack on the last weights shows epsilon to be, in the worst case."""
    sigma = share * noisy_steps.sigma_for(PLAN, epsilon, 1e-5)
    one = drawn(KEY, fresh)
    objective = outwards(fresh)

    def end(key, sign):
        side = jax.tree.map(lambda d: sign * d, one)
        found = start_and_end(problem, fresh, objective, side, sigma, key)
        along = jax.tree.map(lambda x, d: jnp.sum(x * d), found, one)
        return sum(jax.tree.leaves(along))

    ends = jax.jit(jax.vmap(end, (0, None)))
    keys = jax.random.split(jax.random.key(8), 2 * runs).reshape(2, runs)
    if same_key:  # who knows the key knows the noise, and takes it away
        keys = keys.at[:].set(keys[0, 0])
    scores = np.concatenate([ends(keys[0], 1.0), ends(keys[1], -1.0)])[:, None]
    positive = (np.arange(2 * runs) < runs)[:, None]
    order = np.random.default_rng(0).permutation(2 * runs)
    args = scores[order], positive[order], ~positive[order]
    return empirical_epsilon.empirical_epsilon(*args, delta=1e-5).epsilon


@pytest.mark.slow
def test_what_is_shown_is_below_what_is_certified(problem, variables):
    assert 0.1 < shown(problem, variables) <= 1.0


@pytest.mark.parametrize("fault", [dict(share=0.1), dict(same_key=True)])
@pytest.mark.slow
def test_a_broken_mechanism_is_found_out(problem, variables, fault):
    assert shown(problem, variables, **fault) > 2.0


def test_it_says_what_it_certifies(problem, variables):
    _, info = noisy_finetune(KEY, variables, problem, **SMALL, epsilon=2.0)
    plan = Steps(4, 1e-3, 1e-3, 1.0, 10.0)
    assert np.allclose(info["certificate"], [2.0, 1e-5])
    mu = plan.apart() / info["noise"]
    assert 0.95e-5 < dense_delta(float(mu), 2.0) < 1e-5


@pytest.mark.slow
def test_where_nothing_is_kept_the_original_is_without_effect(problem, variables):
    other = jax.tree.map(lambda x: x + 1, variables)
    found = [
        noisy_finetune(KEY, start, problem, **SMALL, kept=0.0)[0]
        for start in (variables, other)
    ]
    assert_close(*found)
    changed, _ = noisy_finetune(KEY, other, problem, **SMALL, kept=0.5)
    assert np.abs(flat(changed) - flat(found[0])).max() > 1e-3
