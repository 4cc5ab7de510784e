"""The slopes, the step through them, and where it stops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data, trained
from references import heavy_ball, linear_case, linear_model
from sklearn.datasets import load_digits
from trees import assert_close, assert_equal

from unlearn import make_problem, models
from unlearn.methods.mu_mis import mean_other_sensitivity, mu_mis, sensitivities
from unlearn.training import predict_set

KEY = jax.random.key(3)
ENDLESS = 1e9  # a delta: it never stops


def two_classes(model, forget=7):
    """With two classes the other one is known."""
    images, labels = tiny_data(classes=2)
    problem = make_problem(images, labels, np.arange(3, 3 + forget), model)
    return problem, trained(problem)


def run(problem, variables, **options):
    fn = functools.partial(mu_mis, problem=problem, **options)
    return jax.jit(lambda v: fn(KEY, v))(variables)


@pytest.fixture(scope="module")
def tiny():
    return two_classes(plain_model(classes=2))


def squared_slopes(model, variables, inputs):
    """Of all logits, from whole Jacobians: [B, K]."""
    one = jax.jacfwd(lambda x: model.apply(variables, x[None])[0][0])
    slopes = jax.vmap(one)(inputs)
    return jnp.sum(slopes.reshape(*slopes.shape[:2], -1) ** 2, -1)


# The loss


def test_sensitivities_are_rows_of_the_jacobian(norm_problem, norm_variables):
    """Also where batch statistics would tie the examples to each other."""
    inputs = norm_problem.inputs(norm_problem.forget)
    labels, others = jnp.arange(7) % 3, (jnp.arange(7) + 1) % 3
    model = norm_problem.model
    found = sensitivities(model, norm_variables, inputs, labels, others)
    expected = squared_slopes(model, norm_variables, inputs)
    for squares, chosen in zip(found, (labels, others), strict=True):
        np.testing.assert_allclose(squares, expected[jnp.arange(7), chosen], 1e-5)
    assert np.std(expected, 0).min() > 0


@pytest.mark.slow
def test_steps_are_those_of_the_jacobian(tiny):
    """Two full batches with momentum, and one of the two terms alone is another way."""
    problem, variables = tiny
    inputs, rows = problem.inputs(problem.forget), jnp.arange(7)
    y = problem.labels[problem.forget]

    def loss(params, other):
        squares = squared_slopes(problem.model, {"params": params}, inputs)
        return jnp.mean(squares[rows, y] - other * squares[rows, 1 - y])

    options = dict(learning_rate=0.01, epochs=2, delta=ENDLESS)
    after, info = run(problem, variables, **options)
    start = variables["params"]
    step = jax.grad(functools.partial(loss, other=1.0))
    assert_close(after["params"], heavy_ball(start, [step] * 2, 0.01), 1e-4, 1e-6)
    np.testing.assert_allclose(info["loss"][0, 0], loss(start, 1.0), 1e-5)
    half = jax.grad(functools.partial(loss, other=0.0))
    with pytest.raises(AssertionError):
        assert_close(after["params"], heavy_ball(start, [half] * 2, 0.01), 1e-4, 1e-6)


@pytest.mark.slow
def test_its_own_logit_gets_flatter_and_the_other_steeper(tiny):
    problem, variables = tiny
    options = dict(learning_rate=0.003, epochs=10, delta=ENDLESS)
    after, info = run(problem, variables, **options)
    inputs, y = problem.inputs(problem.forget), problem.labels[problem.forget]
    (own, other), (flatter, steeper) = (
        sensitivities(problem.model, v, inputs, y, 1 - y) for v in (variables, after)
    )
    assert np.mean(flatter) < 0.5 * np.mean(own) and np.mean(steeper) > np.mean(other)
    assert np.all(np.diff(info["loss"][:, 0]) < 0)


@pytest.mark.slow
def test_the_other_class_is_drawn_anew_and_never_one_that_is_forgotten():
    """Linear: the slope of logit k is column k, so the columns that move tell."""
    problem, variables = linear_case(classes=6)
    problem = problem.replace(forget=problem.forget[:1])
    (y,) = np.asarray(problem.labels[problem.forget]).tolist()
    options = dict(learning_rate=0.01, momentum=0.0, delta=ENDLESS)

    @functools.partial(jax.jit, static_argnums=1)
    def growth(classes, epochs):
        seen = problem.replace(forget_classes=classes)
        start = variables["params"]["head"]["kernel"]

        def of_key(key):
            after, _ = mu_mis(key, variables, seen, epochs=epochs, **options)
            return jnp.mean(after["params"]["head"]["kernel"] / start, 0)

        return jax.vmap(of_key)(jax.random.split(KEY, 16))

    def others(found):
        return [set(np.flatnonzero(row > 1.01).tolist()) for row in found]

    nothing = jnp.zeros(0, jnp.int32)
    once = np.asarray(growth(nothing, 1))
    np.testing.assert_allclose(once[:, y], 0.98, 1e-5)
    np.testing.assert_allclose(np.sort(once)[:, -1], 1.02, 1e-5)
    assert all(len(drawn) == 1 for drawn in others(once))
    assert set.union(*others(once)) == set(range(6)) - {y}
    assert max(len(drawn) for drawn in others(growth(nothing, 3))) > 1
    last, *forgotten = set(range(6)) - {y}
    assert set.union(*others(growth(jnp.array([y, *forgotten]), 3))) == {last}


# The stop


def dipping(delta, epochs=90, rate=0.05):
    """Three examples of class 0 and one of class 1, lengths of the two columns, s.

    Linear: the columns only change in length, so that all is known. s, the mean of
    |w_1| three times and |w_0| once, falls with |w_0|, then rises with |w_1|.
    """
    lengths = np.array([1.0, 0.03])
    found = [(3 * lengths[1] + lengths[0]) / 4]
    for _ in range(epochs):
        lengths = lengths * (1 + rate * np.array([-1, 1]))  # 2 (n_other - n_own) / 4
        found.append((3 * lengths[1] + lengths[0]) / 4)
        if found[-1] > min(found[:-1]) and found[-1] > delta * found[0]:
            break
    return lengths, found


@pytest.fixture(scope="module")
def linear():
    """The net of `dipping` and the method on it: `(delta) -> (variables, info)`."""
    images, labels = tiny_data(size=20, classes=2)
    labels[:4] = [0, 0, 1, 0]
    problem = make_problem(images, labels, np.arange(4), linear_model(2), num_classes=2)
    kernel = np.random.default_rng(0).normal(size=(16, 2))
    kernel *= np.array([1.0, 0.03]) / np.linalg.norm(kernel, axis=0)
    head = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.zeros(2)}
    options = dict(learning_rate=0.05, epochs=90, momentum=0.0)

    def fn(delta):
        variables = {"params": {"head": head}}
        return mu_mis(KEY, variables, problem, delta=delta, **options)

    return jax.jit(fn)


@pytest.mark.parametrize("delta", [0.0, 0.8, 1.0, 1.5, ENDLESS])
@pytest.mark.slow
def test_it_stops_when_the_other_slopes_have_come_back(linear, delta):
    after, info = linear(delta)
    lengths, found = dipping(delta)
    assert info["epoch"] == len(found) - 1
    np.testing.assert_allclose(info["sensitivity"][: len(found)], found, 1e-4)
    kernel = after["params"]["head"]["kernel"]
    np.testing.assert_allclose(jnp.linalg.norm(kernel, axis=0), lengths, 1e-4)
    assert np.all(info["sensitivity"][len(found) :] == 0)
    assert np.all(info["loss"][: len(found) - 1] != 0)
    assert np.all(info["loss"][len(found) - 1 :] == 0)


def test_the_cases_of_the_stop_differ():
    """s falls, first to above 0.8 of what it was, then below, and comes back."""
    counts = [len(dipping(delta)[1]) - 1 for delta in (0.0, 0.8, 1.0, 1.5, ENDLESS)]
    assert counts == sorted(set(counts)) and counts[-1] == 90
    found = dipping(ENDLESS)[1]
    assert min(found) < 0.8 * found[0] < found[1] < found[0]


@pytest.mark.slow
def test_every_example_counts_once_in_what_is_measured(tiny):
    problem, variables = tiny
    inputs, y = problem.inputs(problem.forget), problem.labels[problem.forget]
    squares = squared_slopes(problem.model, variables, inputs)
    expected = jnp.mean(jnp.sqrt(squares[jnp.arange(7), 1 - y]))
    for batch_size in (3, 256):
        found = mean_other_sensitivity(KEY, variables, problem, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, 1e-5)


@pytest.mark.slow
def test_batch_statistics_keep_their_bits(norm_problem, norm_variables):
    options = dict(learning_rate=1e-3, epochs=2, batch_size=4)
    after, _ = run(norm_problem, norm_variables, **options)
    assert_equal(after["batch_stats"], norm_variables["batch_stats"])
    with pytest.raises(AssertionError):
        assert_equal(after["params"], norm_variables["params"])


@pytest.mark.slow
def test_a_class_of_the_digits_is_forgotten_at_any_rate():
    """The stop is by delta, not by the number of steps; without it the net is lost."""
    data = load_digits()
    images = (data.images[:900, ..., None] * 15).astype(np.uint8)
    labels = data.target[:900]
    model = models.create("mlp", 10, widths=(64,))
    problem = make_problem(images, labels, labels == 7, model, forget_classes=[7])
    original = trained(problem, epochs=20)

    @jax.jit
    def fn(rate, delta):
        options = dict(learning_rate=rate, delta=delta, batch_size=64)
        after, info = mu_mis(KEY, original, problem, **options)
        answers = predict_set(problem, after, jnp.arange(900)).argmax(-1)
        right = answers == problem.labels
        known = jnp.mean(right[problem.forget]), jnp.mean(right[problem.retain])
        return *known, info["epoch"]

    epochs = []
    for rate in (2e-3, 1e-2):
        left, kept, epoch = fn(rate, 1.5)
        assert left < 0.1 and kept > 0.95
        epochs.append(epoch)
    assert epochs[0] > 2 * epochs[1]
    assert fn(0.0, 1.5)[0] > 0.98 and fn(2e-3, ENDLESS)[1] < 0.5
