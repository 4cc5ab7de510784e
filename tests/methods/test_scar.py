"""What is particular to SCAR: where classes lie, and what surrogates keep."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_problem, trained
from references import logits_of
from trees import assert_close, assert_equal, distance

from unlearn.errors import InputError
from unlearn.methods.scar import TINY, classes_of, power, scar, sureness, taught
from unlearn.training import kl_divergence

KEY = jax.random.key(3)
SHRUNK = dict(delta=0.5, shrinkage=3.0, between=2.0)
FULL = dict(batch_size=100, forget_batch_size=100, surrogate_steps=1)  # one step


def embeddings_of(problem, variables, indices):
    trunk = variables["params"]["trunk"]
    inputs = problem.inputs(indices).reshape(len(indices), -1)
    found = jnp.tanh(inputs @ trunk["kernel"] + trunk["bias"])
    return np.asarray(found, np.float64)


def bent(values):
    return np.sign(values) * ((np.abs(values) + TINY) ** 0.5 - TINY**0.5)


def unit(values):
    return values / np.sqrt((values**2).sum(-1, keepdims=True) + 1e-8)


def plain_classes(problem, variables):
    """Means and inverses in float64, with NumPy's covariance."""
    labels = np.asarray(problem.labels)[np.asarray(problem.retain)]
    values = bent(embeddings_of(problem, variables, problem.retain))
    means, inverses = [], []
    for label in range(problem.num_classes):
        own = values[labels == label]
        means.append(unit(own.mean(0)))
        cov = np.cov(own.T)
        same = np.eye(len(cov))
        for _ in range(2):
            off = cov[~same.astype(bool)].mean()
            cov = cov + 3.0 * np.diag(cov).mean() * same + 2.0 * off * (1 - same)
        scale = np.sqrt(np.diag(cov))
        inverses.append(np.linalg.inv(cov / np.outer(scale, scale)))
    return np.stack(means), np.stack(inverses)


def plain_distances(problem, variables, indices, means, inverses):
    found = unit(bent(embeddings_of(problem, variables, indices)))
    away = found[:, None] - means
    return np.stack(
        [
            [a @ inverse @ a for a, inverse in zip(row, inverses, strict=True)]
            for row in away
        ]
    )


def test_distances_are_those_of_numpys_covariances(problem, variables):
    classes = jax.jit(functools.partial(classes_of, **SHRUNK))(variables, problem)
    means, inverses = plain_classes(problem, variables)
    assert_close(classes.means, means.astype(np.float32), rtol=1e-4)
    scale = np.abs(inverses).max()
    np.testing.assert_allclose(classes.inverses, inverses, atol=2e-3 * scale)
    embeddings = embeddings_of(problem, variables, problem.forget)
    found = classes.distances(jnp.float32(embeddings), 0.5)
    expected = plain_distances(problem, variables, problem.forget, means, inverses)
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    assert expected.max() > 2 * expected.min()  # not all alike


def test_the_power_is_odd_and_has_a_slope_at_zero():
    values = jnp.array([-4.0, -1e-9, 0.0, 1e-9, 4.0])
    np.testing.assert_allclose(power(values, 0.5), [-2, 0, 0, 0, 2], atol=1.1e-2)
    slopes = jax.vmap(jax.grad(lambda x: power(x, 0.5)))(values)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes[-1], 0.25, rtol=1e-3)


@pytest.mark.slow
def test_targets_are_the_nearest_other_classes_there_are(problem, variables):
    fn, seen = case("scar", problem, **SHRUNK)
    _, info = fn(KEY, variables, seen)
    own = np.asarray(problem.labels[problem.forget])
    parts = plain_classes(problem, variables)
    near = plain_distances(problem, variables, problem.forget, *parts)
    assert np.mean(near.argmin(1) == own) > 0.5  # the control: the own one is nearest
    near[np.arange(len(own)), own] = np.inf
    np.testing.assert_array_equal(info["targets"], near.argmin(1))
    retain, labels = np.asarray(problem.retain), np.asarray(problem.labels)
    single = np.flatnonzero(labels[retain] == 2)[1:]  # one is left: no covariance
    fewer = problem.replace(retain=jnp.asarray(np.delete(retain, single)))
    fn, seen = case("scar", fewer, **SHRUNK)
    after, info = fn(KEY, variables, seen)
    assert not np.isin(info["targets"], [2]).any()
    assert np.isfinite(distance(after, variables))


@pytest.mark.slow
@pytest.mark.parametrize("whole_class", [False, True])
def test_a_step_descends_the_loss_written_out(
    whole_class, problem, class_problem, variables
):
    """Adam's first step is the sign of the gradient, times the rate."""
    problem = class_problem if whole_class else problem
    draw = np.random.default_rng(0)
    surrogate = jnp.asarray(draw.normal(size=(9, 4, 4, 1)), jnp.float32)
    fn, seen = case(
        "scar", problem, **FULL, **SHRUNK, epochs=1, learning_rate=1e-4, temperature=2.0
    )
    after, info = fn(KEY, variables, seen, surrogate=surrogate)
    known = problem
    if whole_class:  # class 1 has no covariance, and is never aimed at
        known = problem.replace(retain=jnp.arange(len(problem.labels)))
    means, inverses = map(jnp.float32, plain_classes(known, variables))
    targets, forget = info["targets"], problem.forget
    answers = np.array(problem.model.apply(variables, surrogate)[0])
    used = np.ones(len(surrogate))
    if whole_class:
        used = (answers.argmax(1) != 1) * 1.0
        assert 0 < used.sum() < len(used)
        answers[:, 1] = answers[used > 0].min()
    answers = jnp.asarray(answers) / 2.0

    def loss(params):
        trunk = params["trunk"]
        inputs = problem.inputs(forget).reshape(len(forget), -1)
        values = jnp.tanh(inputs @ trunk["kernel"] + trunk["bias"])
        values = jnp.sign(values) * (jnp.sqrt(jnp.abs(values) + TINY) - TINY**0.5)
        values /= jnp.linalg.norm(values, axis=-1, keepdims=True)
        away = values - means[targets]
        pull = jnp.einsum("bd,bde,be->b", away, inverses[targets], away).mean()
        new = jax.nn.log_softmax(problem.model.apply({"params": params}, surrogate)[0])
        old = jax.nn.log_softmax(answers)
        divergence = jnp.sum(jnp.exp(old) * (old - new), -1)
        return pull + 5.0 * jnp.sum(used * divergence) / used.sum()

    value, gradient = jax.value_and_grad(loss)(variables["params"])
    np.testing.assert_allclose(info["loss"][0, 0], value, rtol=1e-3)
    moved = jax.tree.map(jnp.subtract, after["params"], variables["params"])
    for step, slope in zip(*map(jax.tree.leaves, (moved, gradient)), strict=True):
        clear = np.abs(slope) > 1e-3
        assert clear.any()
        np.testing.assert_allclose(step[clear], -1e-4 * np.sign(slope[clear]), rtol=0.1)


def test_surrogates_keep_the_answers_but_those_of_a_forgotten_class(class_problem):
    variables = class_problem.model.init(KEY, class_problem.inputs(jnp.arange(1)))
    surrogate = jax.random.normal(jax.random.key(1), (50, 4, 4, 1))
    plain = np.asarray(class_problem.model.apply(variables, surrogate)[0])
    answers, used = taught(variables, class_problem, surrogate)
    gone = plain.argmax(1) == 1
    assert gone.any() and not gone.all()
    np.testing.assert_array_equal(used, ~gone)
    np.testing.assert_array_equal(answers[~gone, 1], plain[~gone].min())
    others = np.delete(np.asarray(answers), 1, 1)
    np.testing.assert_array_equal(others, np.delete(plain, 1, 1))
    free = class_problem.replace(forget_classes=jnp.zeros(0, jnp.int32))
    answers, used = taught(variables, free, surrogate)
    assert_equal(answers, plain)
    assert used.all()


def test_of_a_random_request_only_what_is_still_known_is_moved(problem):
    own = np.asarray(problem.labels[problem.forget])
    right = jnp.ones(len(own)).at[np.flatnonzero(own == 2)[0]].set(0.0)
    share = 1 - 1 / (own == 2).sum()
    found = np.asarray(sureness(problem, right))
    assert found[2] == (share if share >= 0.8 else 0.0)
    assert found[own[own != 2][0]] == 1


@pytest.mark.slow
def test_a_class_is_forgotten_and_the_others_are_kept(
    class_problem, problem, variables
):
    """By noise alone: no retained image is trained on."""

    def accuracy(variables, indices):
        answers = np.argmax(logits_of(class_problem, variables["params"], indices), -1)
        return np.mean(answers == class_problem.labels[indices])

    fn, seen = case(
        "scar", class_problem, epochs=40, learning_rate=0.01, surrogates=500
    )
    after, info = fn(KEY, variables, seen)
    assert accuracy(variables, class_problem.forget) > 0.7
    assert accuracy(after, class_problem.forget) < 0.2
    before = accuracy(variables, class_problem.retain)
    assert accuracy(after, class_problem.retain) > before - 0.15
    epochs = int(info["epochs"])
    assert 3 <= epochs < 40 and info["forget_accuracy"][epochs - 1] <= 0.01
    answers = {}
    for weight in (0.0, 20.0):
        fn, seen = case(
            "scar", problem, epochs=20, surrogates=500, surrogate_weight=weight
        )
        changed, _ = fn(KEY, variables, seen, learning_rate=0.01, target_accuracy=-1.0)
        unseen = jax.random.normal(jax.random.key(5), (200, 4, 4, 1))
        new, old = (problem.model.apply(v, unseen)[0] for v in (changed, variables))
        answers[weight] = float(kl_divergence(old, new).mean())
    assert answers[20.0] < answers[0.0] / 3  # the control: nothing keeps them


@pytest.mark.slow
def test_what_is_not_known_any_more_is_left_alone_and_three_epochs_run():
    problem = tiny_problem(forget=12)
    variables = trained(problem)
    more = dict(**FULL, **SHRUNK, learning_rate=0.25, surrogate_weight=0.0)
    fn, seen = case("scar", problem, **more, epochs=1)
    after, info = fn(KEY, variables, seen)
    own = np.asarray(problem.labels[problem.forget])
    logits = logits_of(problem, after["params"], problem.forget)
    known = np.array([np.mean(logits.argmax(-1)[own == c] == c) for c in own])
    assert (known < 0.8).any() and (known >= 0.8).any()
    parts = plain_classes(problem, variables)
    far = plain_distances(problem, after, problem.forget, *parts)
    pulls = far[np.arange(len(own)), info["targets"]] * known * (known >= 0.8)
    fn, seen = case("scar", problem, **more, epochs=5, target_accuracy=1.0)
    _, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["loss"][1, 0], pulls.mean(), rtol=5e-3)
    assert int(info["epochs"]) == 3


def test_surrogates_of_another_shape_are_refused(problem, variables):
    run = functools.partial(scar, KEY, variables, problem)
    with pytest.raises(InputError, match=r"surrogates are \[4, 4\] each.*\[4, 4, 1\]"):
        run(surrogate=jnp.zeros((5, 4, 4)))


ON_TWO_DEVICES = """
import jax, jax.numpy as jnp
from conftest import plain_model, tiny_data
from unlearn import make_problem, parallel
from unlearn.methods.scar import classes_of

model = plain_model(hidden=64, classes=10)
problem = make_problem(*tiny_data(300, classes=4), [0], model, num_classes=10)

def fn(key, problem):
    variables = problem.model.init(key, problem.inputs(jnp.arange(1)))
    def one(delta):
        return classes_of(variables, problem, delta=delta, shrinkage=3.0, between=3.0)
    return jax.lax.map(one, jnp.linspace(0.3, 0.7, 5)).inverses.sum()

keys = jax.random.split(jax.random.key(0), 40)
print(parallel.map_models(fn, keys, problem)[0].shape)
"""


@pytest.mark.slow
def test_two_devices_do_not_wait_for_each_other():
    """Batches of eigenvalue decompositions on both of a CPU of two cores did."""
    root = Path(__file__).parents[2]
    more = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}",
    }
    found = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.stdout == "(40,)\n", found.stderr
