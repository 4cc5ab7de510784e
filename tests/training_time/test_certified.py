"""The bound of certified removal, and its refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm
from training_time_cases import KEY
from trees import assert_equal, distance

from unlearn import InputError, make_problem
from unlearn.training_time import certified


def many(size=1500, seed=0, classes=3, dims=8):
    """Flat random images with classes that can be told apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size).astype(np.int32)
    centres = rng.normal(128, 40, (classes, dims))
    images = np.clip(rng.normal(centres[labels], 30), 0, 255).astype(np.uint8)
    from conftest import plain_model

    return make_problem(
        images.reshape(size, dims, 1, 1),
        labels,
        [0],
        plain_model(),
        num_classes=classes,
    )


def true_residual(state, features, *, noise=1.0):
    """Of all heads at once, from the features at the start and by another formula."""
    active = np.asarray(state.active)
    x, labels = np.float64(features)[active], np.asarray(state.problem.labels)[active]
    total = 0.0
    for k, w in enumerate(state.head.weights):
        y = np.where(labels == k, 1.0, -1.0)
        slope = (-y / (1 + np.exp(y * (x @ w)))) @ x
        slope += state.settings.l2 * len(x) * w + noise * state.head.noise[k]
        total += slope @ slope
    return np.sqrt(total)


@pytest.fixture(scope="module")
def big():
    problem = many()
    return problem, certified.fit(KEY, problem, sigma=20.0, l2=0.1)


def test_certified_residual_stays_under_the_bound(big):
    """1,000 random removals; the noise is part of the residual."""
    _, state = big
    features, solved = state.features, np.linalg.norm(state.head.bounds)
    assert true_residual(state, features) <= 1e-9 + solved < 1e-8
    ratios = []
    for i in np.random.default_rng(1).permutation(1500)[:1000]:
        state, info = certified.forget(KEY, state, [i])
        residual = true_residual(state, features)
        assert residual <= info["residual_bound"] <= info["budget"]
        ratios.append(residual / info["residual_bound"])
    assert np.sum(state.active) == 500 and min(ratios) > 1e-4
    assert true_residual(state, features, noise=0.0) > info["residual_bound"]


WRONG = {
    "not without the example": lambda right, x: lambda w, _, l2: right(w, x, l2),
    "scaled": lambda right, x: lambda w, kept, l2: 1.2 * right(w, kept, l2),
    "without the penalty": lambda right, x: lambda w, kept, l2: right(w, kept, 0.0),
    "right": lambda right, x: right,
}


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_hessian_breaks_the_bound(which, monkeypatch):
    problem = many()
    state = certified.fit(KEY, problem, sigma=300.0, l2=0.3)
    features = np.float64(state.features)
    wrong = WRONG[which](certified.hessian, features)
    monkeypatch.setattr(certified, "hessian", wrong)
    held = []
    for i in range(20):
        state, info = certified.forget(KEY, state, [i])
        held.append(true_residual(state, features) <= info["residual_bound"])
    assert all(held) if which == "right" else not held[-1]


def test_certified_refuses_past_the_budget(big):
    problem, _ = big
    state = certified.fit(KEY, problem, sigma=0.1, l2=0.1)
    done = 0
    with pytest.raises(InputError, match="past the budget") as error:
        for done in range(1500):  # noqa: B007
            before = state
            state, info = certified.forget(KEY, state, [done])
            assert info["spent"] <= 1
    assert 0 < done < 1000 and "\n" not in str(error.value)
    assert state is before
    asks = dict(sigma=0.1, l2=0.1, past_budget="retrain")
    state = certified.fit(KEY, problem, **asks)
    after, info = certified.forget(jax.random.key(5), state, np.arange(700))
    never = certified.fit(
        jax.random.key(5), problem, indices=np.arange(700, 1500), **asks
    )
    assert info["retrained"]
    assert_equal(after.head.weights, never.head.weights)
    assert distance(after.head.noise, state.head.noise) > 0


def test_removal_is_close_to_fitting_without(big):
    """The same noise without the examples: where the Newton step leads."""
    problem, state = big
    after, _ = certified.forget(KEY, state, np.arange(30))
    never = certified.fit(KEY, problem, indices=np.arange(30, 1500), sigma=20.0, l2=0.1)
    moved, missed = distance(state.head.weights, never.head.weights), None
    missed = distance(after.head.weights, never.head.weights)
    assert missed < 0.01 * moved
    assert (after.features[:30] == 0).all() and (never.features[:30] == 0).all()


def test_certified_minimum_is_that_of_scipy():
    problem = many(200)
    state = certified.fit(KEY, problem, sigma=2.0, l2=0.05)
    x, labels = np.float64(state.features), np.asarray(problem.labels)
    for k in range(3):
        y = np.where(labels == k, 1.0, -1.0)

        def loss(w, y=y, k=k):
            penalty = 0.05 * len(x) / 2 * w @ w + state.head.noise[k] @ w
            return np.logaddexp(0, -y * (x @ w)).sum() + penalty

        found = minimize(loss, np.zeros(x.shape[1]), tol=1e-10).x
        np.testing.assert_allclose(state.head.weights[k], found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-4, 0.1])
def test_budget_gives_epsilon_and_delta(epsilon, delta):
    """By the exact privacy profile of the Gaussian mechanism (Balle & Wang 2018)."""
    settings = certified.Settings(epsilon, delta, 3.0, 1.0, "refuse")
    ratio = certified.budget(settings) / settings.sigma
    above = norm.cdf(ratio / 2 - epsilon / ratio)
    below = norm.cdf(-ratio / 2 - epsilon / ratio)
    assert above - np.exp(epsilon) * below <= delta


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(epsilon=2.0), "epsilon must lie"),
        (dict(delta=0.0), "delta must lie"),
        (dict(sigma=0.0), "positive"),
        (dict(past_budget="ask"), "refuse, retrain"),
    ],
)
def test_certified_constants_are_checked(changes, says, problem):
    with pytest.raises(InputError, match=says):
        certified.fit(KEY, problem, **changes)


def test_features_are_those_before_the_head(problem, variables):
    state = certified.fit(KEY, problem, variables=variables)
    trunk = variables["params"]["trunk"]
    flat = problem.inputs(jnp.arange(40)).reshape(40, -1)
    features = np.tanh(flat @ trunk["kernel"] + trunk["bias"])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(state.features, features, atol=1e-5)
    assert np.linalg.norm(state.features, axis=1).max() <= 1 + 1e-12
    blind = problem.model._replace(activations=None)
    with pytest.raises(InputError, match="looks inside"):
        certified.fit(KEY, problem.replace(model=blind), variables=variables)
