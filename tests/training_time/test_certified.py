"""The bound of certified removal, and its refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model
from scipy.optimize import minimize
from scipy.stats import kstest, norm
from training_time_cases import KEY
from trees import assert_equal, distance

from unlearn import InputError, Model, make_problem
from unlearn.training_time import certified, logistic


def many(size=1500, seed=0, classes=3, dims=8):
    """Flat random images with classes that can be told apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size).astype(np.int32)
    centres = rng.normal(128, 40, (classes, dims))
    images = np.clip(rng.normal(centres[labels], 30), 0, 255).astype(np.uint8)
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


@pytest.mark.parametrize(("prepared", "count"), [(False, 250), (True, 1000)])
def test_certified_residual_stays_under_the_bound(big, prepared, count):
    """So many random removals; the noise is part of the residual."""
    state = certified.prepare(big[1]) if prepared else big[1]
    features, solved = state.features, np.linalg.norm(state.head.bounds)
    assert true_residual(state, features) <= 1e-9 + solved < 1e-8
    ratios = []
    for i in np.random.default_rng(1).permutation(1500)[:count]:
        state, info = certified.forget(KEY, state, [i])
        residual = true_residual(state, features)
        assert residual <= info["residual_bound"] <= info["budget"]
        ratios.append(residual / info["residual_bound"])
    assert np.sum(state.active) == 1500 - count and min(ratios) > 1e-4
    assert true_residual(state, features, noise=0.0) > info["residual_bound"]


def no_steps(weights, objective, right, tolerance=1e-7, **options):
    return REAL(weights, objective, right, tolerance, 0, **options)


def scaled(weights, objective, right, *args, **options):
    steps, missed = REAL(weights, objective, right, *args, **options)
    return 0.8 * steps, missed


def without_penalty(weights, objective, right, *args, **options):
    return REAL(weights, objective._replace(l2=1e-9), right, *args, **options)


REAL = logistic.newton_steps
WRONG = {"scaled": scaled, "without the penalty": without_penalty}


@pytest.mark.parametrize("which", ["right", "no steps", *WRONG])
def test_wrong_steps_break_the_bound_and_short_ones_enter_it(which, monkeypatch):
    problem = many()
    state = certified.fit(KEY, problem, sigma=300.0, l2=0.3)
    features, held = np.float64(state.features), []
    steps = WRONG | {"right": REAL, "no steps": no_steps}
    monkeypatch.setattr(logistic, "newton_steps", steps[which])
    for i in range(20):
        state, info = certified.forget(KEY, state, [i])
        held.append(true_residual(state, features) <= info["residual_bound"])
    assert not info["retrained"]
    assert not held[-1] if which in WRONG else all(held)


def test_certified_refuses_past_the_budget(big):
    problem, _ = big
    state = certified.fit(KEY, problem, sigma=0.1, l2=0.1, past_budget="refuse")
    done = 0
    with pytest.raises(InputError, match="past the budget") as error:
        for done in range(1500):  # noqa: B007
            before = state
            state, info = certified.forget(KEY, state, [done])
            assert info["spent"] <= 1
    assert 0 < done < 1499 and "\n" not in str(error.value)
    assert state is before


@pytest.mark.parametrize("prepared", [False, True])
def test_past_the_budget_heads_are_solved_on_with_the_noise_they_have(big, prepared):
    """For noise that depends on what it led to, the theorem says nothing."""
    problem, _ = big
    state = certified.fit(KEY, problem, sigma=0.1, l2=0.1)
    state = certified.prepare(state) if prepared else state
    features, noise, times = state.features, state.head.noise, 0
    for i in range(0, 900, 3):
        state, info = certified.forget(None, state, [i, i + 1, i + 2])
        assert (
            true_residual(state, features) <= info["residual_bound"] <= info["budget"]
        )
        if info["retrained"]:
            times += 1
            assert info["spent"] < 2e-3  # of three heads
            if prepared:
                np.testing.assert_array_equal(state.kept.fitted, state.head.weights)
    assert times >= 2
    np.testing.assert_array_equal(state.head.noise, noise)
    objective = certified.objective(state, noise)
    weights, _ = logistic.solve(objective, np.zeros_like(state.head.weights))
    assert distance(weights, state.head.weights) < 0.01 * distance(weights, 0 * weights)


@pytest.mark.parametrize("prepared", [False, True])
def test_the_bound_is_tight_where_all_examples_are_alike(prepared):
    """And at the weights where curvature changes the most: half of it would be wrong.

    With Hessians of other weights it is so for those as well.
    """
    z, size, gone = np.log(2 + np.sqrt(3)), 8000, 1 if prepared else 80
    ones = round(size / (1 + np.exp(-z)))
    labels = (np.arange(size) < ones).astype(np.int32)
    inputs = np.ones((size, 1), np.float32)

    def apply(variables, inputs, **_):
        return jnp.ones((len(inputs), 2)), variables

    model = Model(lambda key, inputs: {"params": {"none": jnp.ones(1)}}, apply)
    problem = make_problem(inputs, labels, [0], model)
    state = certified.fit(KEY, problem, sigma=1.0, l2=1e-9)
    if prepared:
        state = certified.prepare(state)
        away = state.kept.fitted + 0.01
        state = certified.dataclasses.replace(
            state, kept=logistic.keep_hessians(away, certified.objective(state))
        )
    features = state.features
    state, info = certified.forget(None, state, np.arange(gone))
    found = true_residual(state, features)
    assert not info["retrained"]
    assert 0.9 * info["residual_bound"] < found <= info["residual_bound"]


def test_who_is_removed_does_not_choose_the_noise():
    """A large removal ends at the fit on the rest, given the noise; repeated, there."""
    problem = many()
    state = certified.fit(KEY, problem, sigma=1e-3, l2=0.1)
    after, info = certified.forget(None, state, np.arange(700))
    again, _ = certified.forget(jax.random.key(5), state, np.arange(700))
    assert info["retrained"] and info["spent"] < 2e-3
    assert_equal(after.bits, again.bits)
    np.testing.assert_array_equal(after.head.noise, state.head.noise)
    rest = np.arange(700, 1500)
    never = certified.fit(KEY, problem, indices=rest, sigma=1e-3, l2=0.1)
    assert distance(never.head.noise, state.head.noise) > 0
    objective = certified.objective(never, after.head.noise)
    weights, _ = logistic.solve(objective, np.zeros_like(after.head.weights))
    np.testing.assert_allclose(weights, after.head.weights, rtol=1e-6, atol=1e-7)


def test_a_fit_that_spends_the_budget_is_no_certificate():
    with pytest.raises(InputError, match="take a larger sigma or l2"):
        certified.fit(KEY, many(200), sigma=1e-13, l2=0.1)


def test_inverses_that_are_too_large_are_not_made(big, monkeypatch):
    monkeypatch.setattr(logistic, "MOST_NUMBERS", 100)
    state = certified.prepare(big[1])
    assert state.kept is None
    after, _ = certified.forget(None, state, [3])
    expected, _ = certified.forget(None, big[1], [3])
    assert_equal(after.bits, expected.bits)


def test_the_key_is_secret_by_default():
    problem, bits = many(200), []
    for _ in range(2):
        state = certified.fit(None, problem)
        bits.append(state.key_bits)
        assert state.key_bits.nbytes == 16
    assert (bits[0] != bits[1]).any()
    assert distance(certified.fit(None, problem).head.noise, state.head.noise) > 0


def test_removal_is_close_to_fitting_without(big):
    """The same noise without the examples: where the Newton step leads."""
    problem, state = big
    after, _ = certified.forget(KEY, state, np.arange(30))
    objective = certified.objective(after, state.head.noise)
    never, _ = logistic.solve(objective, np.zeros_like(after.head.weights))
    moved = distance(state.head.weights, never)
    assert distance(after.head.weights, never) < 0.01 * moved
    assert (after.features[:30] == 0).all() and (state.features[:30] != 0).any()


def dense_step(state, gone, k):
    """The step of one head by its Hessian, and the bound, from the formulas."""
    kept = np.setdiff1d(np.arange(1500), gone)
    x, labels = np.float64(state.features), np.asarray(state.problem.labels)
    w, y = state.head.weights[k], np.where(labels == k, 1.0, -1.0)
    p = 1 / (1 + np.exp(-x @ w))
    l2, terms = state.settings.l2, -(y / (1 + np.exp(y * (x @ w))))[:, None] * x
    delta = terms[gone].sum(0) + l2 * len(gone) * w
    hessian = (x[kept].T * (p * (1 - p))[kept]) @ x[kept]
    step = np.linalg.solve(hessian + l2 * len(kept) * np.eye(len(w)), delta)
    top = np.linalg.norm(x[kept], 2)
    curved = np.linalg.norm(step) * np.linalg.norm(x[kept] @ step)
    return step, top * curved / (12 * np.sqrt(3))


def test_steps_and_bounds_are_those_of_the_dense_formula(big):
    _, state = big
    for gone in ([4], np.arange(40, 90)):
        after, info = certified.forget(None, state, gone)
        dense = [dense_step(state, gone, k) for k in range(3)]
        expected = state.head.weights + [step for step, _ in dense]
        np.testing.assert_allclose(after.head.weights, expected, rtol=1e-7, atol=1e-9)
        bound = np.linalg.norm(state.head.bounds + [bound for _, bound in dense])
        assert 0 < bound < info["residual_bound"] < 1.05 * bound


def dense_hessians(state, count):
    """At the weights of the last fit, of who is left; the penalty is of `count`."""
    x = np.float64(state.features)[np.asarray(state.active)]
    penalty = state.settings.l2 * count * np.eye(x.shape[1])
    p = 1 / (1 + np.exp(-state.kept.fitted @ x.T))
    return np.array([(x.T * c) @ x + penalty for c in p * (1 - p)])


def test_hessians_have_nothing_of_who_is_removed(big):
    """One and many at once; of more examples than features they are made anew."""
    state = certified.prepare(big[1])
    for gone, left in ([[3], 1499], [range(40, 45), 1494], [range(100, 160), 1434]):
        state, _ = certified.forget(None, state, np.array(gone))
        expected = dense_hessians(state, left)
        np.testing.assert_allclose(state.kept.hessian, expected, rtol=1e-9)
        with_all = 1500 if left > 1434 else 1434  # the inverse keeps the penalty
        inverses = np.linalg.inv(dense_hessians(state, with_all))
        np.testing.assert_allclose(state.kept.inverse, inverses, rtol=1e-6, atol=1e-9)


def test_kept_hessians_save_all_passes_over_the_features(big, monkeypatch):
    """The steps are those by Hessians of other weights, to what they may miss."""
    state = certified.prepare(big[1])
    real = logistic.curvatures
    monkeypatch.setattr(logistic, "hessian_products", None)
    monkeypatch.setattr(
        logistic, "curvatures", lambda w, x: real(w, x) if len(x) < 100 else None
    )
    for i in range(20):
        state, _ = certified.forget(None, state, [i])
    after, removed = certified.without(state, [20])
    right = logistic.gradients(state.head.weights, removed)
    expected = np.linalg.solve(after.kept.hessian, right[:, :, None])[:, :, 0]
    steps, missed = logistic.kept_steps(after.kept, right)
    np.testing.assert_allclose(steps, expected, rtol=1e-5, atol=1e-9)
    assert np.all(missed < 1e-6 * np.linalg.norm(right, axis=1))
    bad = after.kept._replace(inverse=0 * after.kept.inverse)
    np.testing.assert_allclose(logistic.kept_steps(bad, right)[0], expected)


def test_gram_matrix_follows_many_removals(big):
    """Subtracted a hundred times, it and its norm are those of who is left."""
    _, state = big
    for i in range(0, 1400, 14):
        state, _ = certified.forget(None, state, np.arange(i, i + 14))
    left = np.float64(state.features[1400:])
    np.testing.assert_allclose(state.head.gram, left.T @ left, atol=1e-9)
    exact, bound = np.linalg.norm(left, 2), logistic.spectral_norm(state.head.gram)
    assert exact <= bound < exact * (1 + 1e-8)
    assert exact <= state.head.spectral


def test_the_norm_of_the_last_fit_stays_a_bound(big):
    _, state = big
    everyone = np.linalg.norm(np.float64(state.features), 2)
    after, info = certified.forget(None, state, np.arange(30))
    assert not info["retrained"] and after.head.spectral == state.head.spectral
    assert np.linalg.norm(np.float64(after.features), 2) < everyone
    assert everyone <= after.head.spectral < everyone * (1 + 1e-8)


def test_what_is_no_float_needs_an_extractor():
    tokens = np.arange(24).reshape(12, 2)
    problem = make_problem(tokens, np.arange(12) % 3, [0], plain_model())
    with pytest.raises(InputError, match="certified needs inputs.*variables") as error:
        certified.fit(KEY, problem)
    assert "\n" not in str(error.value)


def test_a_serving_copy_has_neither_noise_nor_key(big):
    problem, state = big
    small = certified.for_serving(state)
    assert small.features is None and small.key_bits is None
    assert not small.head.noise.size
    logits = certified.predict(small, problem.examples)
    assert_equal(logits, certified.predict(state, problem.examples))
    with pytest.raises(InputError, match="for serving"):
        certified.forget(None, small, [0])


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
        (dict(sigma=np.inf), "finite"),
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


def test_another_data_set_and_other_constants_have_another_noise(problem):
    """With the same key: else two versions, published, would tell it."""
    labels = (problem.labels + 1) % problem.num_classes
    fits = [
        certified.fit(KEY, problem),
        certified.fit(KEY, problem),
        certified.fit(KEY, problem.replace(labels=labels)),
        certified.fit(KEY, problem.replace(examples=255 - problem.examples)),
        certified.fit(KEY, problem, sigma=2.0),
    ]
    first, same, *others = (fit.head.noise / fit.settings.sigma for fit in fits)
    np.testing.assert_array_equal(first, same)
    for other in others:
        assert not np.isclose(first, other).any()


def test_what_is_left_out_may_be_no_number(problem):
    examples = np.array(problem.examples, np.float32)
    broken = examples.copy()
    broken[3] = np.nan
    left = np.delete(np.arange(len(examples)), 3)
    found, clean = (
        certified.fit(KEY, problem.replace(examples=jnp.asarray(x)), indices=left)
        for x in (broken, np.where(np.arange(len(examples)) == 3, 0, examples.T).T)
    )
    np.testing.assert_allclose(found.head.weights, clean.head.weights)


def test_more_features_than_memory_are_refused(problem, monkeypatch):
    monkeypatch.setattr(certified, "WIDEST", 5)
    with pytest.raises(InputError, match="features need .* GB a head: give a net"):
        certified.fit(KEY, problem)


def test_the_noise_is_normal_and_another_for_each_purpose():
    drawn = certified.normals(b"one", (40, 500))
    assert kstest(drawn.ravel(), "norm").pvalue > 0.01
    np.testing.assert_array_equal(drawn, certified.normals(b"one", (40, 500)))
    other = certified.normals(b"two", (40, 500))
    assert abs(np.mean(drawn * other)) < 5 / np.sqrt(20_000)
