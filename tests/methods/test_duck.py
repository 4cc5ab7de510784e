"""What is particular to DUCK."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
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


def test_duck_targets_are_the_nearest_other_centroids(problem, variables):
    params, y = variables["params"], np.asarray(problem.labels[problem.forget])
    near = cosines(
        embeddings_of(problem, params, problem.forget),
        centroids_of(problem, params, range(3)),
    )
    assert np.mean(near.argmax(1) == y) > 0.5  # the control: the own one is nearest
    near[np.arange(len(y)), y] = -2
    np.testing.assert_array_equal(duck_targets(problem, variables), near.argmax(1))


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
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["loss"].ravel(), losses, 1e-4)
    assert_close(after["params"], params, 1e-3, 1e-4)


def test_duck_ends_with_the_first_epoch_below_the_target(problem, variables):
    fn, seen = case("duck", problem, epochs=6, learning_rate=0.02, forget_weight=3.0)
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
