"""What is particular to DUCK."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import case
from references import descend_with, logits_of
from trees import assert_close, distance, flat

from unlearn.methods.duck import class_centroids, nearest_others

FULL = dict(batch_size=100)  # every pass is one step on all there is

KEY = jax.random.key(3)


def embeddings_of(problem, params, indices):
    inputs = problem.inputs(indices).reshape(len(indices), -1)
    return jnp.tanh(inputs @ params["trunk"]["kernel"] + params["trunk"]["bias"])


def cosines(a, b):
    a, b = np.asarray(a), np.asarray(b)
    norms = np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1)
    return a @ b.T / np.outer(*norms)


def centroids_of(problem, params, classes):
    labels = problem.labels[problem.retain]
    return np.stack(
        [
            embeddings_of(problem, params, problem.retain[labels == c]).mean(0)
            for c in classes
        ]
    )


def duck_targets(problem, variables):
    found = nearest_others(variables, problem, *class_centroids(variables, problem))
    return np.asarray(found)


@pytest.mark.slow
def test_duck_targets_are_the_nearest_other_centroids(problem, variables):
    params, y = variables["params"], np.asarray(problem.labels[problem.forget])
    near = cosines(
        embeddings_of(problem, params, problem.forget),
        centroids_of(problem, params, range(3)),
    )
    assert np.mean(near.argmax(1) == y) > 0.5  # the control: the own one is nearest
    near[np.arange(len(y)), y] = -2
    np.testing.assert_array_equal(duck_targets(problem, variables), near.argmax(1))


@pytest.mark.slow
def test_duck_never_aims_at_a_class_without_retained_examples(problem, variables):
    """Class 1 is gone from the retain set, also for forget examples of class 0."""
    labels = problem.labels
    gone = problem.replace(
        retain=jnp.flatnonzero(labels == 0)[2:],
        forget=jnp.concatenate(
            [jnp.flatnonzero(labels == 0)[:2], jnp.flatnonzero(labels == 1)]
        ),
    )
    expected = np.where(labels[gone.forget] == 0, 3, 0)  # 3: nowhere
    fn, seen = case("duck", gone, learning_rate=0.02)
    after, info = fn(KEY, variables, seen)
    np.testing.assert_array_equal(info["targets"], expected)
    assert np.isfinite(flat(after)).all()


@pytest.mark.slow
def test_duck_moves_embeddings_and_trains_the_retain_set(problem, variables):
    """Three full-batch steps: an epoch of them, then the next."""
    rate, pull, keep, temperature = 0.02, 0.7, 1.2, 3.0
    params, forget, retain = variables["params"], problem.forget, problem.retain
    targets = duck_targets(problem, variables)
    aims = centroids_of(problem, params, range(3))[targets]
    aims /= np.linalg.norm(aims, axis=-1, keepdims=True)

    def loss(params):
        moved = embeddings_of(problem, params, forget)
        cosine = jnp.sum(moved * aims, -1) / jnp.linalg.norm(moved, axis=-1)
        q = jax.nn.softmax(logits_of(problem, params, retain) / temperature)
        losses = -jnp.log(q[jnp.arange(len(retain)), problem.labels[retain]])
        return pull * (1 - cosine).mean() + keep * losses.mean()

    losses, params = descend_with(optax.adam(rate), loss, params, 4)
    fn, seen = case(
        "duck",
        problem,
        epochs=2,
        retain_steps=2,
        forget_batch_size=100,
        learning_rate=rate,
        forget_weight=pull,
        retain_weight=keep,
        temperature=temperature,
        target_accuracy=-1.0,
        last_epochs=0,
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["loss"].ravel(), losses, 1e-4)
    assert_close(after["params"], params, 1e-3, 1e-4)


@pytest.mark.slow
def test_duck_ends_with_the_first_epoch_below_the_target(problem, variables):
    constants = dict(epochs=6, learning_rate=0.02, forget_weight=3.0, last_epochs=0)
    fn, seen = case("duck", problem, **constants)
    run = jax.jit(lambda target: fn(KEY, variables, seen, target_accuracy=target))
    everything, whole = run(-1.0)
    accuracies = np.asarray(whole["forget_accuracy"])
    assert whole["epochs"] == 6 and accuracies[-1] < accuracies[0]
    target = (accuracies[0] + accuracies[-1]) / 2
    count = int(np.argmax(accuracies <= target)) + 1
    after, info = run(target)
    assert info["epochs"] == count < 6
    np.testing.assert_array_equal(info["loss"][:count], whole["loss"][:count])
    logits = logits_of(problem, after["params"], problem.forget)
    right = np.argmax(logits, -1) == problem.labels[problem.forget]
    np.testing.assert_allclose(right.mean(), accuracies[count - 1], 1e-5)
    assert distance(after, everything) > 1e-3


@pytest.mark.slow
def test_the_last_epochs_keep_and_hardly_pull(problem, variables):
    """Two steps of Adam at 1 and 1/2 of the rate, on all there is."""
    rate, pull, temperature = 0.02, 0.7, 3.0
    params, forget, retain = variables["params"], problem.forget, problem.retain
    aims = centroids_of(problem, params, range(3))[duck_targets(problem, variables)]
    aims /= np.linalg.norm(aims, axis=-1, keepdims=True)

    def loss(params):
        moved = embeddings_of(problem, params, forget)
        cosine = jnp.sum(moved * aims, -1) / jnp.linalg.norm(moved, axis=-1)
        q = jax.nn.softmax(logits_of(problem, params, retain) / temperature)
        losses = -jnp.log(q[jnp.arange(len(retain)), problem.labels[retain]])
        return pull / 10 * (1 - cosine).mean() + losses.mean()

    halved = optax.adam(optax.piecewise_constant_schedule(rate, {1: 0.5}))
    losses, params = descend_with(halved, loss, params, 2)
    constants = dict(epochs=1, retain_steps=1, learning_rate=0.0, last_epochs=2)
    constants |= dict(forget_batch_size=100, last_batch_size=100, temperature=3.0)
    constants |= dict(forget_weight=pull, retain_weight=9.0, last_learning_rate=rate)
    fn, seen = case("duck", problem, **constants, **FULL)
    after, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["last_loss"].ravel(), losses, 1e-4)
    assert_close(after["params"], params, 1e-3, 1e-4)


@pytest.mark.slow
def test_of_a_class_one_forget_batch_meets_a_pass(class_problem):
    """28 retained in batches of 7, 14 forgotten in batches of 4."""
    fresh = class_problem.model.init(KEY, class_problem.inputs(jnp.arange(1)))
    constants = dict(last_epochs=2, last_batch_size=7, forget_batch_size=4)
    for problem, steps in (
        (class_problem, 4),
        (class_problem.replace(forget_classes=jnp.zeros(0, jnp.int32)), 4 * 4),
    ):
        fn, seen = case("duck", problem, **constants)
        assert fn(KEY, fresh, seen)[1]["last_loss"].shape == (2, steps)


@pytest.mark.slow
def test_the_last_epochs_normalise_both_sets_together(norm_class_problem):
    problem, model = norm_class_problem, norm_class_problem.model
    variables = model.init(KEY, problem.inputs(jnp.arange(1)))
    fn, seen = case(
        "duck",
        problem,
        epochs=1,
        learning_rate=0.0,
        retain_steps=1,
        last_epochs=1,
        last_batch_size=100,
        forget_batch_size=100,
        temperature=1.0,
        forget_weight=0.0,
        **FULL,
    )
    _, info = fn(KEY, variables, seen)

    def loss(indices):
        logits, _ = model.apply(variables, problem.inputs(indices), train=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits, problem.labels[indices]
        )
        return losses[-len(problem.retain) :].mean()

    together = loss(jnp.concatenate([problem.forget, problem.retain]))
    np.testing.assert_allclose(info["last_loss"], [[together]], rtol=1e-5)
    assert abs(loss(problem.retain) - together) > 1e-3
