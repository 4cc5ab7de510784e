"""The exact methods: their protocol, and what each promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_data
from scipy.optimize import minimize
from scipy.stats import norm
from trees import assert_close, assert_equal, distance, pick

from unlearn import InputError, make_problem, store
from unlearn.exact import EXACT, certified, costs, sisa, with_data, without_data

CASES = {
    "sisa": dict(shards=3, slices=2, epochs=3, batch_size=8),
    "amnesiac": dict(epochs=3, batch_size=8),
    "certified": dict(sigma=1.0, l2=1.0),
}
KEY = jax.random.key(3)
GONE = [5, 11]


def numpy_copy(tree):
    def copy(x):
        typed = isinstance(x, jax.Array) and jnp.issubdtype(
            x.dtype, jax.dtypes.prng_key
        )
        return np.array(jax.random.key_data(x) if typed else x)

    return jax.tree.map(copy, tree)


@pytest.fixture(params=CASES, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def state(name, problem):
    return EXACT[name].fit(KEY, problem, **CASES[name])


@pytest.fixture(scope="module")
def after(name, state):
    return EXACT[name].forget(jax.random.key(7), state, GONE)


def test_every_exact_method_has_a_case():
    assert CASES.keys() == EXACT.keys()
    for info in EXACT.values():
        assert info.faithful is True or isinstance(info.faithful, str)


def test_protocol(name, state, after, problem):
    """Deterministic; arguments keep their bits; logits finite; forgetting changes."""
    method = EXACT[name]
    before = numpy_copy((state, problem))
    again = method.fit(KEY, problem, **CASES[name])
    assert_equal(numpy_copy(again), before[0])
    after, info = after
    twin, _ = method.forget(jax.random.key(7), state, GONE)
    assert_equal(numpy_copy((state, problem)), before)
    assert_equal(numpy_copy(twin), numpy_copy(after))
    logits = [method.predict(s, problem.images) for s in (state, after)]
    for values in logits:
        assert values.shape == (40, 3) and values.dtype == jnp.float32
        assert np.isfinite(values).all()
    assert distance(*logits) > 0
    assert all(np.ndim(value) == 0 for value in info.values())
    removed = np.flatnonzero(~np.asarray(after.active))
    np.testing.assert_array_equal(removed, GONE)
    labels = np.asarray(problem.labels)
    assert np.mean(np.argmax(logits[0], -1) == labels) > 0.5


def test_works_with_batch_statistics(name, norm_problem, norm_variables):
    settings = dict(CASES[name])
    if name == "certified":
        settings["variables"] = norm_variables
    state = EXACT[name].fit(KEY, norm_problem, **settings)
    state, _ = EXACT[name].forget(KEY, state, [0])
    assert np.isfinite(EXACT[name].predict(state, norm_problem.images)).all()


@pytest.mark.parametrize(
    ("indices", "says"),
    [
        ([], "nothing to forget"),
        ([40], "out of range"),
        ([-1], "out of range"),
        ([3, 3], "repeated"),
        ([0.5], "whole numbers"),
        ([2, 5], "5 is not in the training set"),
        ([i for i in range(40) if i not in GONE], "every example that is left"),
    ],
)
def test_requests_are_checked(name, indices, says, after):
    with pytest.raises(InputError, match=says) as error:
        EXACT[name].forget(KEY, after[0], indices)
    assert "\n" not in str(error.value)


def test_state_survives_a_checkpoint(name, state, after, problem, tmp_path):
    small = without_data(state)
    store.save_checkpoint(tmp_path / "state", small, {})
    loaded, _ = store.load_checkpoint(tmp_path / "state", small)
    loaded, _ = EXACT[name].forget(jax.random.key(7), with_data(loaded, problem), GONE)
    assert_equal(
        EXACT[name].predict(without_data(loaded), problem.images),
        EXACT[name].predict(after[0], problem.images),
    )
    assert small.problem.images is None


# SISA


@pytest.mark.parametrize("kind", ["problem", "norm_problem"])
@pytest.mark.parametrize("requests", [[[5]], [[5, 11, 30]], [[30], [5, 6], [11]]])
def test_sisa_is_a_model_that_never_saw_the_examples(kind, requests, request):
    """Bit by bit: other images in their place, and training without them."""
    problem = request.getfixturevalue(kind)
    state = sisa.fit(KEY, problem, **CASES["sisa"])
    gone = np.concatenate(requests)
    for indices in requests:
        state, _ = sisa.forget(jax.random.key(9), state, indices)
    images, labels = np.array(problem.images), np.array(problem.labels)
    images[gone], labels[gone] = 255 - images[gone], (labels[gone] + 1) % 3
    other = problem.replace(images=jnp.asarray(images), labels=jnp.asarray(labels))
    kept = np.setdiff1d(np.arange(40), gone)
    never = sisa.fit(KEY, other, indices=kept, **CASES["sisa"])
    assert_equal(state.checkpoints, never.checkpoints)
    unseen, _ = tiny_data(25, seed=4)
    assert_equal(sisa.predict(state, unseen), sisa.predict(never, unseen))
    shown = sisa.fit(KEY, other, **CASES["sisa"])
    assert distance(shown.checkpoints, never.checkpoints) > 1e-3


def test_sisa_retrains_the_later_slices_of_one_shard_only(problem, monkeypatch):
    settings = CASES["sisa"] | dict(slices=4, epochs=5)
    state, trained, real = None, [], sisa.train_slice

    def counting(words, variables, problem, members, place, epochs, *args):
        trained.append((*map(int, place), len(members) * int(epochs), set(members)))
        return real(words, variables, problem, members, place, epochs, *args)

    monkeypatch.setattr(sisa, "train_slice", counting)
    state = sisa.fit(KEY, problem, **settings)
    assert [t[:2] for t in trained] == [(s, r) for s in range(3) for r in range(4)]
    assert trained[3][3] == set(np.flatnonzero(state.shard == 0))
    victim = int(np.flatnonzero((state.shard == 1) & (state.slice == 2))[0])
    trained.clear()
    after, info = sisa.forget(KEY, state, [victim])
    assert [t[:2] for t in trained] == [(1, 2), (1, 3)]
    assert not any(victim in t[3] for t in trained)
    assert info["shards"] == 1 and info["slices"] == 2
    assert info["retrained_examples"] == sum(t[2] for t in trained)
    assert info["full_examples"] == 5 * 39
    for s in range(3):
        for r in range(4):
            same = after.checkpoints[s][r] is state.checkpoints[s][r]
            assert same == ((s, r) not in [(1, 2), (1, 3)])


def test_sisa_balances_the_classes_of_who_is_left(problem):
    """Class weights do not remember who is gone, and add up to the same a class."""
    settings = CASES["sisa"] | dict(balance=True)
    state, _ = sisa.forget(KEY, sisa.fit(KEY, problem, **settings), [5, 11, 30])
    kept = np.setdiff1d(np.arange(40), [5, 11, 30])
    never = sisa.fit(KEY, problem, indices=kept, **settings)
    assert_equal(state.checkpoints, never.checkpoints)
    plain = sisa.fit(KEY, problem, indices=kept, **CASES["sisa"])
    assert distance(plain.checkpoints, never.checkpoints) > 1e-3
    weights, labels = sisa.class_weights(problem, kept), np.asarray(problem.labels)
    totals = np.bincount(labels[kept], weights[kept])
    np.testing.assert_allclose(totals, len(kept) / 3, rtol=1e-6)


def test_sisa_compiles_one_program(problem):
    settings = CASES["sisa"] | dict(batch_size=5)
    state = sisa.fit(KEY, problem, **settings)
    before = sisa._run._cache_size()
    for i in range(6):
        state, _ = sisa.forget(KEY, state, [3 * i, 3 * i + 1])
    assert sisa._run._cache_size() == before


def test_sisa_assignment_is_balanced_and_ignores_the_data():
    shard, part = sisa.assign(costs.common.words(KEY), 103, 4, 5)
    counts = np.zeros((4, 5), int)
    np.add.at(counts, (shard, part), 1)
    assert counts.min() == 5 and counts.max() == 6
    assert np.abs(np.corrcoef(shard, np.arange(103))[0, 1]) < 0.3


@pytest.mark.parametrize("slices", [1, 2, 3, 5, 8])
def test_slice_epochs_add_up_to_the_average_rule(slices):
    for epochs in range(-(-(slices + 1) // 2), 30):
        each = sisa.slice_epochs(epochs, slices)
        exact = 2 * epochs / (slices + 1)
        assert each.min() >= 1 and np.abs(each - exact).max() < 1
        assert 0 <= exact * slices - each.sum() < 1
    with pytest.raises(InputError, match="fewer slices"):
        sisa.slice_epochs((slices + 1) // 2 - 1, slices)


def test_votes():
    """Two weak votes beat a sure one by majority, not by probability."""
    logits = jnp.log(
        jnp.array([[[0.6, 0.4]], [[0.6, 0.4]], [[0.01, 0.99]], [[0.5, 0.5]]])
    )[:3]
    winners = {v: int(sisa.aggregate(logits, v).argmax()) for v in sisa.VOTES}
    assert winners == {"majority": 0, "probability": 1, "logit": 1}
    shares = np.exp(sisa.aggregate(logits, "majority"))[0]
    np.testing.assert_allclose(
        shares, (np.array([2, 1]) + [0.40333, 0.59667]) / 4, 1e-4
    )
    tie = int(sisa.aggregate(logits[1:], "majority").argmax())
    assert tie == 1


def test_an_emptied_shard_has_no_say(problem):
    state = sisa.fit(KEY, problem, **CASES["sisa"])
    gone = np.flatnonzero(state.shard == 0)
    after, _ = sisa.forget(KEY, state, gone)
    logits = sisa.predict(after, problem.images)
    pair = [
        after.problem.model.apply(m[-1], problem.inputs(jnp.arange(40)))[0]
        for m in after.checkpoints[1:]
    ]
    assert_close(logits, sisa.aggregate(jnp.stack(pair), "majority"), 1e-4, 1e-4)


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("requests", [1, 7, 60])
def test_expected_cost_is_the_mean_of_simulations(requests, one_by_one):
    parts = dict(shards=4, slices=3, epochs=4, one_by_one=one_by_one)
    counted = [costs.simulated_cost(i, 203, requests, **parts) for i in range(300)]
    expected = costs.expected_cost(203, requests, **parts)
    error = np.std(counted) / np.sqrt(300)
    assert abs(np.mean(counted) - expected) < 4 * error + 1e-9
    full = costs.full_cost(203, requests, epochs=4, one_by_one=one_by_one)
    assert 0 < expected < 1.05 * full


@pytest.mark.parametrize("slices", [1, 3, 9])
def test_cost_of_one_request_is_the_formula_of_the_paper(slices):
    size, shards, epochs = 90_000, 10, 10 * (slices + 1) // 2
    got = costs.expected_cost(size, 1, shards=shards, slices=slices, epochs=epochs)
    formula = epochs * size / shards * (2 / 3 + 1 / (3 * slices))
    np.testing.assert_allclose(got, formula, rtol=1e-3)


def test_counted_cost_is_what_forgetting_reports(problem):
    """The simulation's own request, answered by training."""
    parts = dict(shards=3, slices=2, epochs=3)
    state = sisa.fit(jax.random.key(8), problem, batch_size=8, **parts)
    rng = costs.common.random(costs.common.words(jax.random.key(8)), 1)
    removed = rng.choice(40, 4, replace=False)
    _, info = sisa.forget(KEY, state, removed)
    assert info["retrained_examples"] == costs.simulated_cost(8, 40, 4, **parts)
    assert info["full_examples"] == costs.full_cost(40, 4, epochs=3)


def test_cost_table_has_both_ways_of_answering():
    rows = costs.cost_table(1000, requests=(1, 100), trials=5)
    assert [r["answered"] for r in rows] == ["at once", "one by one"] * 2
    assert rows[0]["expected"] == rows[1]["expected"]
    assert rows[0]["speed_up"] > 5 > rows[2]["speed_up"] > 1


# Amnesiac


def amnesiac_fit(problem, **changes):
    settings = CASES["amnesiac"] | dict(repair_epochs=0) | changes
    return EXACT["amnesiac"].fit(KEY, problem, **settings)


def test_amnesiac_with_everything_subtracted_is_the_fresh_model(problem):
    """One example a class, asked for in turn, until no update is stored."""
    state = amnesiac_fit(problem)
    assert len(state.batches) == 15
    fresh = problem.model.init(jax.random.split(KEY)[0], problem.inputs(jnp.arange(1)))
    assert distance(state.variables, fresh) > 0.1
    for i in range(30):
        state, info = EXACT["amnesiac"].forget(KEY, state, [i])
        if not info["stored"]:
            break
    assert info["stored"] == 0
    assert_close(state.variables, fresh, 1e-4, 1e-5)


@pytest.mark.parametrize("together", [False, True])
def test_amnesiac_subtracts_the_batches_of_the_example_alone(problem, together):
    """Against the difference of weights before and after each of its batches."""
    everything = amnesiac_fit(problem)
    state = everything
    if together:
        state = amnesiac_fit(problem, sensitive=GONE, together=True)
        assert_equal(state.variables, everything.variables)
        assert len(state.batches) == 1
    holds = np.array([bool(set(GONE) & set(b)) for b in everything.batches])
    assert 3 <= holds.sum() <= 6
    deltas = np.flatnonzero(holds)
    expected = state.variables["params"]
    for i in deltas:
        expected = jax.tree.map(jnp.subtract, expected, pick(everything.updates, i))
    after, info = EXACT["amnesiac"].forget(KEY, state, GONE)
    assert_close(after.variables["params"], expected, 1e-4, 1e-6)
    if not together:
        assert info["subtracted"] == holds.sum()
        np.testing.assert_array_equal(after.batches, everything.batches[~holds])


def test_amnesiac_updates_are_steps_of_the_gradient(problem):
    """The first stored update is a step of SGD on its batch."""
    state = amnesiac_fit(problem)
    fresh = problem.model.init(jax.random.split(KEY)[0], problem.inputs(jnp.arange(1)))
    inputs, labels = problem.inputs(state.batches[0]), problem.labels[state.batches[0]]

    def loss(params):
        logits, _ = problem.model.apply({"params": params}, inputs)
        decay = sum(jnp.sum(p**2) for p in jax.tree.leaves(params) if p.ndim > 1)
        right = jax.nn.log_softmax(logits)[jnp.arange(8), labels]
        return -right.mean() + 5e-4 / 2 * decay

    expected = jax.tree.map(
        lambda g: -0.1 * g, jax.jit(jax.grad(loss))(fresh["params"])
    )
    assert_close(pick(state.updates, 0), expected, 1e-3, 1e-6)


def test_amnesiac_repair_is_recorded(problem):
    """What the repair learns from an example can be taken back later."""
    state = amnesiac_fit(problem, repair_epochs=2, repair_learning_rate=0.1)
    after, info = EXACT["amnesiac"].forget(KEY, state, [5])
    assert info["retrained_examples"] == 2 * 39
    assert info["stored"] == 15 - info["subtracted"] + 2 * 5
    assert not np.isin(after.batches, 5).any()
    again, _ = EXACT["amnesiac"].forget(KEY, after, [6])
    assert not np.isin(again.batches, [5, 6]).any()


def test_amnesiac_says_what_it_cannot_take_back(problem):
    forget = EXACT["amnesiac"].forget
    state = amnesiac_fit(problem, sensitive=GONE, together=True)
    with pytest.raises(InputError, match="example 6 were not stored"):
        forget(KEY, state, [5, 6])
    with pytest.raises(InputError, match="ask for all"):
        forget(KEY, state, [5])
    with pytest.raises(InputError, match="GB"):
        amnesiac_fit(problem, max_gigabytes=1e-6)


# Certified


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
