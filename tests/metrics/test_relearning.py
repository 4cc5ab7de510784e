import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data
from trees import assert_close, assert_equal, pick

from unlearn import make_problem
from unlearn.errors import InputError
from unlearn.methods.gradient_ascent import gradient_ascent
from unlearn.metrics.relearning import (
    anamnesis_index,
    extra_rise,
    relearn,
    relearn_time,
)
from unlearn.training import Recipe, train

KEY = jax.random.key(0)
CASES = 1000  # random curves of each metric


def test_relearn_time_is_the_first_return():
    curve = [0.1, 0.6, 0.4, 0.6, 0.9]
    assert relearn_time(curve, 0.5) == 1  # not the last time, nor after the dip
    assert relearn_time(curve, 0.9) == 4
    assert relearn_time(curve, 0.1) == 0
    assert relearn_time([3.0, 2.0, 1.0], 1.5, rising=False) == 2
    assert relearn_time([3.0, 2.0, 1.0], 3.0, rising=False) == 0


def by_loop(curve, target, rising=True):
    for step, value in enumerate(curve):
        if value >= target if rising else value <= target:
            return step
    return None


def test_random_curves_against_a_loop():
    rng = np.random.default_rng(0)
    kinds = dict.fromkeys(("ratio", "inf", "nan", "one"), 0)
    for _ in range(CASES):
        sizes, original = rng.integers(1, 9, 2), rng.integers(1, 11) / 10
        ours, reference = (rng.integers(0, 11, n) / 10 for n in sizes)
        for rising in (True, False):
            found = by_loop(ours, original, rising)
            expected = math.inf if found is None else found
            assert relearn_time(ours, original, rising=rising) == expected
        margin = rng.choice([0.05, 0.25])
        times = [by_loop(c, original - margin * original) for c in (ours, reference)]
        if times == [None, None]:
            kind, expected = "nan", math.nan
        elif times == [0, 0]:
            kind, expected = "one", 1
        elif times[0] is None or times[1] == 0:
            kind, expected = "inf", math.inf
        else:
            kind = "ratio"
            expected = 0 if times[1] is None else times[0] / times[1]
        kinds[kind] += 1
        index = anamnesis_index(ours, reference, original, margin=margin)
        assert index == pytest.approx(expected, nan_ok=True)
    assert min(kinds.values()) > 30


def test_the_released_indices_are_others():
    """The cap for a relearn time; no guard of zero; 0.01 added to both times."""

    def capped(curve, target=0.95):
        found = by_loop(curve, target)
        return len(curve) - 1 if found is None else found

    never, late = [0.0] * 11, [0.0] * 5 + [1.0] * 6
    assert capped(never) / capped(late) == 2
    assert anamnesis_index(never, late, 1.0) == math.inf
    assert capped(never) / capped(never) == 1
    assert math.isnan(anamnesis_index(never, never, 1.0))
    assert capped(late) / capped(never) == 0.5
    assert anamnesis_index(late, never, 1.0) == 0
    at_once = [1.0] * 11
    with pytest.raises(ZeroDivisionError):
        capped(late) / capped(at_once)
    assert anamnesis_index(late, at_once, 1.0) == math.inf
    assert (capped(late) + 0.01) / (capped(at_once) + 0.01) == pytest.approx(501)
    # of the original's accuracy, not of 1 and not points of it
    rise = np.linspace(0, 1, 101)
    assert by_loop(rise, 0.95) / by_loop(rise, 0.5) == 1.9
    assert by_loop(rise, 0.8 - 0.05) == 75
    assert anamnesis_index(rise, np.eye(101)[50], 0.8) * 50 == 76


def test_capped_is_not_converged():
    assert relearn_time([0.1, 0.4], 0.5) == math.inf
    assert relearn_time([3.0, 2.0], 1.0, rising=False) == math.inf
    assert relearn_time([math.nan, math.nan], 0.5) == math.inf
    slow, never = [0.0] * 9 + [1.0], [0.0] * 10
    assert anamnesis_index(never, slow, 1.0) == math.inf
    assert anamnesis_index(slow, never, 1.0) == 0
    assert math.isnan(anamnesis_index(never, never, 1.0))


def test_index_is_relative_to_the_retrained_model():
    rise = np.linspace(0, 1, 11)
    assert anamnesis_index(rise, rise, 1.0) == 1
    assert anamnesis_index(rise[::-1], rise, 1.0) == 0  # still knows it
    assert anamnesis_index(np.repeat(rise, 2), rise, 1.0) == 2
    # The margin is a share of the original's accuracy: 0.95 * 0.8, not 0.8 - 0.05.
    assert anamnesis_index(rise, np.eye(11)[2], 0.8) == 8 / 2
    assert anamnesis_index(rise, np.eye(11)[2], 0.8, margin=0.5) == 4 / 2
    assert anamnesis_index([0.76], [0.5], 0.8) == 0


def test_index_where_the_retrained_model_is_back_at_once():
    assert anamnesis_index([1.0, 1.0], [1.0, 1.0], 1.0) == 1
    assert anamnesis_index([0.0, 1.0], [1.0, 1.0], 1.0) == math.inf


def test_bad_input(problem, variables):
    for curve, target in (([], 0.5), ([[0.5]], 0.5), ([0.5], math.nan)):
        with pytest.raises(InputError, match="needs a curve"):
            relearn_time(curve, target)
    with pytest.raises(InputError, match="unknown optimizer 'rmsprop'"):
        relearn(KEY, variables, problem, optimizer="rmsprop")


@pytest.mark.slow
def test_curves_are_those_of_plain_gradient_descent(problem, variables):
    """With all examples in a batch there is one possible trajectory."""
    momentum = 0.9
    options = dict(steps=4, batch_size=100, learning_rate=0.3, momentum=momentum)
    curves = jax.jit(functools.partial(relearn, **options))(KEY, variables, problem)
    inputs = np.asarray(problem.examples[problem.forget]) / 255 / 0.5 - 1
    labels = problem.labels[problem.forget]

    def loss_fn(params):
        logits, _ = problem.model.apply({"params": params}, inputs)
        log_p = jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]
        return -log_p.mean(), jnp.mean(logits.argmax(1) == labels)

    params, losses, accuracies = variables["params"], [], []
    velocity = jax.tree.map(jnp.zeros_like, params)  # fresh, whatever came before
    for _ in range(5):
        value, gradient = jax.value_and_grad(loss_fn, has_aux=True)(params)
        losses.append(value[0])
        accuracies.append(value[1])
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
        params = jax.tree.map(lambda p, v: p - 0.3 * v, params, velocity)
    np.testing.assert_allclose(curves.loss, losses, rtol=1e-4)
    np.testing.assert_allclose(curves.accuracy, accuracies, rtol=1e-6)
    assert curves.loss.dtype == curves.accuracy.dtype == jnp.float32


@pytest.mark.slow
def test_pure_and_vmaps(norm_class_problem):
    problem = norm_class_problem
    variables = problem.model.init(KEY, problem.inputs(problem.forget))
    before = jax.tree.map(lambda x: np.array(x), (variables, problem))
    options = dict(steps=3, batch_size=4, optimizer="adam", examples=5)
    run = jax.jit(functools.partial(relearn, **options))
    keys, rates = jax.random.split(KEY), jnp.asarray([0.01, 0.02])
    many = jax.jit(
        jax.vmap(lambda key, rate: run(key, variables, problem, learning_rate=rate))
    )(keys, rates)
    assert many.loss.shape == many.accuracy.shape == (2, 4)
    for i in range(2):
        one = run(keys[i], variables, problem, learning_rate=rates[i])
        assert_close(pick(many, i), one, 1e-4, 1e-5)
    assert_equal(jax.tree.map(np.asarray, (variables, problem)), before)
    assert (np.ptp(many.loss, axis=1) > 0).all()


@pytest.mark.slow
def test_anchors(class_problem):
    """The original is there at once, a retrained model later, none goes the other way.

    With the forgotten class in its data again, the "retrained" model must be caught.
    """
    problem = class_problem
    recipe = Recipe(epochs=8, batch_size=16, learning_rate=0.1)
    everything = jnp.arange(len(problem.labels))
    fit = jax.jit(lambda key, indices: train(key, problem, indices, recipe)[0])
    original, again = (fit(jax.random.key(s), everything) for s in (0, 1))
    retrained = fit(jax.random.key(2), problem.retain)
    run = jax.jit(functools.partial(relearn, steps=40, learning_rate=0.05))
    curves = [run(KEY, v, problem).accuracy for v in (original, retrained, again)]
    target = float(curves[0][0])
    assert target > 0.8 and curves[1][0] < 0.2
    times = [relearn_time(c, 0.95 * target) for c in curves]
    assert times[0] == 0 < times[1] < math.inf
    assert anamnesis_index(curves[0], curves[1], target) == 0
    assert anamnesis_index(curves[2], curves[1], target) < 0.5


# On retained data alone


@pytest.mark.slow
def test_curves_on_retain_are_those_of_plain_gradient_descent(problem, variables):
    """Trained on the retain set, measured on the forget set, at every second step."""
    options = dict(steps=4, batch_size=100, learning_rate=0.3, on="retain", every=2)
    curves = jax.jit(functools.partial(relearn, **options))(KEY, variables, problem)
    params, seen = variables["params"], []
    for number in range(5):
        if number % 2 == 0:
            labels = problem.labels[problem.forget]
            logits, _ = problem.model.apply(
                {"params": params}, problem.inputs(problem.forget)
            )
            p = np.asarray(jax.nn.softmax(logits), np.float64)
            own = p[np.arange(len(labels)), labels]
            seen.append([-np.log(own).mean(), np.log(own / (1 - own)).mean()])
        gradient = jax.grad(retained_loss)(params, problem)
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)
    assert curves.loss.shape == curves.margin.shape == (3,)
    np.testing.assert_allclose(curves.loss, [a for a, _ in seen], rtol=1e-4)
    np.testing.assert_allclose(curves.margin, [b for _, b in seen], rtol=1e-4)


def retained_loss(params, problem):
    labels = problem.labels[problem.retain]
    logits, _ = problem.model.apply({"params": params}, problem.inputs(problem.retain))
    return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels].mean()


def test_the_extra_rise():
    assert extra_rise([1.0, 9.0, 3.0], [2.0, 2.5]) == 1.5
    assert extra_rise([1.0, 3.0], [1.0, 3.0]) == 0
    with pytest.raises(InputError, match="one dimension"):
        extra_rise([], [1.0])


@pytest.mark.slow
def test_what_is_only_hidden_comes_back_on_retained_data():
    """Labels learnt by heart, hidden by a few steps upwards."""
    images, _ = tiny_data(90)
    labels = np.random.default_rng(5).integers(0, 3, 90)
    problem = make_problem(images, labels, np.arange(20), plain_model(hidden=64))
    recipe = Recipe(epochs=150, batch_size=30, learning_rate=0.1, weight_decay=0.0)
    fit = jax.jit(lambda key, indices: train(key, problem, indices, recipe)[0])
    original = fit(jax.random.key(0), jnp.arange(90))
    retrained, other = (fit(jax.random.key(s), problem.retain) for s in (1, 2))
    options = dict(epochs=24, learning_rate=0.02, batch_size=20)
    ascend = jax.jit(functools.partial(gradient_ascent, **options))
    hidden, _ = ascend(KEY, original, problem)
    options = dict(steps=60, learning_rate=0.1, on="retain", every=60)
    run = jax.jit(functools.partial(relearn, **options))
    found = [run(KEY, v, problem) for v in (original, hidden, retrained, other)]
    before, after = np.array([one.accuracy for one in found]).T
    assert before[0] == 1 and before[1] < 0.7
    assert after[1] > before[1] + 0.2
    assert (after[2:] <= before[2:] + 0.05).all() and (after[2:] < 0.6).all()
    own, floor = (extra_rise(c.margin, found[2].margin) for c in (found[1], found[3]))
    assert own > 1 and own > 10 * abs(floor)


def test_other_sets_and_intervals_are_refused(problem, variables):
    with pytest.raises(InputError, match="unknown set 'test'"):
        relearn(KEY, variables, problem, on="test")
    with pytest.raises(InputError, match="every must divide the 50 steps; it is 7"):
        relearn(KEY, variables, problem, every=7)
