"""What is particular to noise, UNSIR, the curriculum and the class swap."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, case
from conftest import trained
from trees import assert_close, assert_equal, distance, flat

from unlearn.errors import InputError
from unlearn.methods.class_swap import carriers, likeliest
from unlearn.methods.noise import (
    WithNoise,
    error_maximizing_noise,
    error_minimizing_noise,
)
from unlearn.training import cross_entropy, fit, in_order

unsir = importlib.import_module("unlearn.methods.unsir")
curriculum = importlib.import_module("unlearn.methods.curriculum_distill")


@pytest.fixture(scope="module")
def variables(class_problem):
    return trained(class_problem)


@pytest.fixture(scope="module")
def norm_variables(norm_class_problem):
    return trained(norm_class_problem)


def losses_of(problem, variables, inputs, labels):
    return cross_entropy(problem.model.apply(variables, inputs)[0], labels)


def class_loss(problem, variables, c):
    chosen = np.flatnonzero(problem.labels == c)
    inputs, labels = problem.inputs(chosen), problem.labels[chosen]
    return float(losses_of(problem, variables, inputs, labels).mean())


# Noise


def test_noise_raises_the_loss_of_its_own_class(class_problem, variables):
    """And of no other: labels one class off (the published mistake) are seen."""
    labels = jnp.array([0, 1, 2, 2, 1, 0])
    key = jax.random.key(0)
    start = jax.random.normal(key, (6, 4, 4, 1))
    noise = error_maximizing_noise(key, variables, class_problem, labels)
    own = losses_of(class_problem, variables, noise, labels)
    assert np.all(own > losses_of(class_problem, variables, start, labels))
    assert np.all(own > 1.5 * np.log(3))
    for wrong in (labels + 1, labels + 2, 0 * labels + 1):
        others = losses_of(class_problem, variables, noise, wrong % 3)
        assert not np.all(others > 1.5 * np.log(3))
    easy = error_minimizing_noise(key, variables, class_problem, labels)
    assert np.all(losses_of(class_problem, variables, easy, labels) < 0.2)


def test_noise_is_adam_on_the_penalised_loss(class_problem, variables):
    labels, penalty = jnp.array([1, 2]), 0.05
    key = jax.random.key(3)
    x = np.array(jax.random.normal(key, (2, 4, 4, 1)))
    first, second = np.zeros_like(x), np.zeros_like(x)

    def loss(x):
        logits = class_problem.model.apply(variables, x)[0]
        picked = jax.nn.log_softmax(logits)[jnp.arange(2), labels]
        return jnp.sum(picked) + penalty * jnp.sum(x**2)

    for t in range(1, 4):
        gradient = np.asarray(jax.grad(loss)(x))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        scaled = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        x = x - 0.2 * scaled
    noise = error_maximizing_noise(
        key, variables, class_problem, labels, learning_rate=0.2, steps=3, penalty=0.05
    )
    np.testing.assert_allclose(noise, x, rtol=1e-4, atol=1e-5)


def test_noise_joins_the_examples_and_is_not_augmented(class_problem):
    problem = class_problem.replace(augment=lambda key, inputs: -inputs)
    noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    noisy = WithNoise(problem, noise, jnp.array([1, 2]))
    np.testing.assert_array_equal(noisy.indices, [42, 43])
    batch = noisy.batch(jnp.array([43, 5, 42]), key=jax.random.key(1))
    real = problem.inputs(jnp.array([5]))[0]
    np.testing.assert_array_equal(batch.inputs, jnp.stack([noise[1], -real, noise[0]]))
    np.testing.assert_array_equal(batch.labels, [2, problem.labels[5], 1])
    alone = WithNoise(problem.replace(images=None, labels=None), *noisy[1:])
    np.testing.assert_array_equal(alone.batch(alone.indices).inputs, noise)


# UNSIR


def test_unsir_trains_on_noise_under_its_own_class(
    class_problem, variables, monkeypatch
):
    """The model errs on every noise image under the label it is trained with."""
    seen = {}

    def spy(key, variables, problem, indices, *rest, **options):
        seen.setdefault("impair", (problem, indices))
        return fit(key, variables, problem, indices, *rest, **options)

    monkeypatch.setattr(unsir, "fit", spy)
    problem = class_problem.replace(forget_classes=jnp.array([2, 1]))
    problem = problem.replace(retain=jnp.flatnonzero(problem.labels == 0))
    constants = CASES["unsir"] | dict(noise_steps=40, examples=5)
    unsir.unsir(jax.random.key(0), variables, problem, **constants)
    noisy, indices = seen["impair"]
    np.testing.assert_array_equal(noisy.labels, [2] * 4 + [1] * 4)
    losses = losses_of(problem, variables, noisy.noise, noisy.labels)
    assert np.all(losses > 1.5 * np.log(3))
    wrong = losses_of(problem, variables, noisy.noise, jnp.zeros(8, int))  # a control
    assert not np.all(wrong > 1.5 * np.log(3))
    counts = np.bincount(indices, minlength=50)
    np.testing.assert_array_equal(counts[noisy.indices], 2)
    real = np.flatnonzero(counts[:42])
    assert len(real) == 5 and not np.asarray(problem.labels)[real].any()


@pytest.mark.parametrize("c", [1, 2])
def test_unsir_impairs_the_class_most(class_problem, variables, c):
    problem = class_problem.replace(forget_classes=jnp.array([c]))
    problem = problem.replace(retain=jnp.flatnonzero(problem.labels != c))
    fn, seen = case(
        "unsir", problem, epochs=0, noise_images=8, noise_copies=4, noise_steps=40
    )
    after, _ = fn(jax.random.key(0), variables, seen)
    rises = [
        class_loss(problem, after, k) - class_loss(problem, variables, k)
        for k in range(3)
    ]
    assert np.argmax(rises) == c and rises[c] > 0.03


# Curriculum


def test_curriculum_goes_from_easy_to_hard_class_by_class(class_problem, variables):
    indices = class_problem.retain[::-1]
    ordered = np.asarray(curriculum.easy_to_hard(class_problem, variables, indices))
    np.testing.assert_array_equal(np.sort(ordered), class_problem.retain)
    labels = np.asarray(class_problem.labels)[ordered]
    inputs = class_problem.inputs(ordered)
    losses = np.asarray(losses_of(class_problem, variables, inputs, labels))
    for c in (0, 2):
        assert np.all(np.diff(losses[labels == c]) >= 0)
        assert 6 <= np.sum(labels[:14] == c) <= 8  # half of the pool: half of the class


def test_curriculum_pool_grows():
    ordered = jnp.arange(100)[::-1]
    rows = curriculum.growing_pool(jax.random.key(0), ordered, 40, 500, 0.2)
    assert rows.indices.shape == (40, 500) and np.all(rows.weights == 1)
    size = 100 - np.asarray(rows.indices).min(axis=1)  # of the pool
    expected = np.minimum(100, 20 + 80 * np.arange(40) / 20)
    np.testing.assert_allclose(size, expected, atol=1)
    assert np.all(size <= expected)
    rows = curriculum.growing_pool(jax.random.key(0), ordered, 2, 2000, 1.0)
    assert np.all(np.ptp(np.asarray(rows.indices), axis=1) == 99)


def test_curriculum_distils_what_the_original_says_of_the_other_classes(
    norm_class_problem, norm_variables, monkeypatch
):
    """Loss, by numpy: teacher in evaluation mode, the forgotten class masked."""
    problem, temperature = norm_class_problem, 3.0
    monkeypatch.setattr(
        curriculum, "impair", lambda key, variables, *_, **__: variables
    )
    monkeypatch.setattr(
        curriculum, "growing_pool", lambda key, ordered, *_: in_order(ordered, 28)
    )
    before = jax.tree.map(np.array, norm_variables)
    constants = CASES["curriculum_distill"] | dict(examples=0, batch_size=28, epochs=1)
    after, info = curriculum.curriculum_distill(
        jax.random.key(0),
        norm_variables,
        problem,
        temperature=temperature,
        alpha=0.5,
        **constants,
    )
    assert_equal(jax.tree.map(np.asarray, norm_variables), before)
    assert distance(after["params"], norm_variables["params"]) > 1e-3

    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    inputs, labels = problem.inputs(problem.retain), problem.labels[problem.retain]
    apply = problem.model.apply
    teacher = np.asarray(apply(norm_variables, inputs)[0], np.float64)[:, [0, 2]]
    student = np.asarray(apply(norm_variables, inputs, train=True)[0], np.float64)
    wanted = log_softmax(teacher / temperature)
    said = log_softmax(student / temperature)[:, [0, 2]]
    kl = temperature**2 * np.sum(np.exp(wanted) * (wanted - said), -1)
    ce = -log_softmax(student)[np.arange(28), labels]
    np.testing.assert_allclose(info["loss"], [[np.mean(kl + 0.5 * ce)]], rtol=1e-5)


def test_curriculum_has_the_budget_of_unsir(class_problem, variables):
    losses = []
    for name in ("unsir", "curriculum_distill"):
        fn, seen = case(name, class_problem, epochs=2)
        losses.append(fn(jax.random.key(0), variables, seen)[1]["loss"])
    assert losses[0].shape == losses[1].shape == (2, 2)


# Swap

found = jax.jit(carriers, static_argnames="examples")


def per_example_fisher(problem, variables, indices):
    def loss(params, i):
        logits = problem.model.apply({"params": params}, problem.inputs(i[None]))[0]
        return -jax.nn.log_softmax(logits)[0, problem.labels[i]]

    gradients = jax.vmap(jax.grad(loss), (None, 0))(variables["params"], indices)
    return flat(jax.tree.map(lambda g: jnp.mean(g**2, 0), gradients))


def test_swap_finds_what_matters_to_the_class_alone(class_problem, variables):
    of_forget, of_retain = (
        per_example_fisher(class_problem, variables, indices)
        for indices in (class_problem.forget, class_problem.retain)
    )
    score = of_forget / (of_retain + 0.01 * of_retain.mean())
    mask = flat(found(jax.random.key(0), variables, class_problem, 0.25))
    assert mask.sum() == round(0.25 * score.size)
    assert score[mask].min() >= score[~mask].max() * (1 - 1e-4)
    assert flat(found(jax.random.key(0), variables, class_problem, 1.0)).all()


def test_swap_keeps_the_bits_of_all_other_weights(norm_class_problem, norm_variables):
    """Momentum and penalty included, and the batch statistics; the found ones move."""
    settings = dict(fraction=0.3, penalty=0.1, epochs=3)
    fn, seen = case("class_swap", norm_class_problem, fisher_examples=42, **settings)
    after, info = fn(jax.random.key(0), norm_variables, seen)
    assert_equal(after["batch_stats"], norm_variables["batch_stats"])
    mask = flat(found(jax.random.key(7), norm_variables, seen, 0.3))
    old, new = flat(norm_variables["params"]), flat(after["params"])
    np.testing.assert_array_equal(new[~mask], old[~mask])
    assert np.mean(new[mask] != old[mask]) > 0.9
    np.testing.assert_allclose(info["trained"], mask.mean(), rtol=1e-6)


def test_swap_is_a_step_down_the_penalised_loss_of_the_swapped_labels(
    class_problem, variables
):
    rate, penalty = 0.1, 0.3
    fn, seen = case(
        "class_swap",
        class_problem,
        target=2,
        learning_rate=rate,
        penalty=penalty,
        fraction=0.5,
        epochs=1,
        batch_size=42,
        fisher_examples=42,
    )
    after, info = fn(jax.random.key(0), variables, seen)
    labels = jnp.where(class_problem.labels == 1, 2, class_problem.labels)

    def loss(params):
        inputs = class_problem.inputs(jnp.arange(42))
        logits = class_problem.model.apply({"params": params}, inputs)[0]
        return -jax.nn.log_softmax(logits)[jnp.arange(42), labels].mean()

    mask = found(jax.random.key(7), variables, seen, 0.5)
    gradient = jax.grad(loss)(variables["params"])
    expected = jax.tree.map(
        lambda m, p, g: jnp.where(m, p - rate * (g + penalty * p), p),
        mask,
        variables["params"],
        gradient,
    )
    assert_close(after["params"], expected)
    assert info["target"] == 2


def test_swap_puts_the_target_in_place_of_the_class(class_problem, variables):
    constants = dict(fraction=0.5, epochs=30, fisher_examples=42)
    for target in (0, 2):
        fn, seen = case("class_swap", class_problem, target=target, **constants)
        after, _ = fn(jax.random.key(0), variables, seen)
        inputs = class_problem.inputs(jnp.arange(42))
        taken = np.argmax(class_problem.model.apply(after, inputs)[0], -1)
        labels = np.asarray(class_problem.labels)
        assert np.mean(taken[labels == 1] == target) > 0.9
        assert np.mean((taken == labels)[labels != 1]) > 0.9


def test_swap_takes_the_likeliest_class_by_default(class_problem, variables):
    inputs = class_problem.inputs(class_problem.forget)
    logits = np.asarray(class_problem.model.apply(variables, inputs)[0])
    share = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).mean(0)
    assert likeliest(variables, class_problem) == max(0, 2, key=lambda c: share[c])
    with pytest.raises(InputError, match="0..2"):
        case("class_swap", class_problem, target=3)[0](
            jax.random.key(0), variables, class_problem
        )
