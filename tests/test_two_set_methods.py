"""What is particular to relabelling once, the distillations, DUCK, SFRon and LFSSD."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import case
from conftest import tiny_problem
from trees import assert_close, assert_equal, distance, flat

from unlearn.methods.amnesiac_relabel import relabel
from unlearn.methods.duck import class_centroids, nearest_others
from unlearn.methods.sfron import adaptive_mean
from unlearn.problem import Model

FULL = dict(batch_size=100)  # every pass is one step on all there is
KEY = jax.random.key(3)


def logits_of(problem, params, indices):
    return problem.model.apply({"params": params}, problem.inputs(indices))[0]


def cross_entropies(problem, params, indices, labels=None):
    labels = problem.labels[indices] if labels is None else labels
    q = jax.nn.softmax(logits_of(problem, params, indices))
    return -jnp.log(q[jnp.arange(len(indices)), labels])


def descend_with(optimizer, loss, params, steps):
    """The loss before each step, and the parameters after the last."""
    state, losses = optimizer.init(params), []
    step = jax.jit(jax.value_and_grad(loss))
    for _ in range(steps):
        value, gradient = step(params)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(value)
    return losses, params


def example_gradients(problem, params, indices, loss):
    """One example after another: a tree of float32[N, ...]."""
    gradient = jax.jit(jax.grad(lambda params, i: loss(params, i[None])[0]))
    rows = [gradient(params, i) for i in indices]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


# Amnesiac relabelling


def relabelled(problem, labels, classes, forget_classes):
    problem = problem.replace(
        labels=jnp.array(labels, jnp.int32),
        forget=jnp.arange(len(labels)),
        forget_classes=jnp.array(forget_classes, jnp.int32),
        num_classes=classes,
    )
    return np.asarray(relabel(KEY, problem))


def test_amnesiac_labels_are_neither_own_nor_forgotten_and_uniform(problem):
    labels = np.repeat(np.arange(5), 3000)
    for forgotten in ([], [1], [0, 3]):
        wrong = relabelled(problem, labels, 5, forgotten)
        for c in range(5):
            allowed = sorted(set(range(5)) - {c} - set(forgotten))
            counts = np.bincount(wrong[labels == c], minlength=5)
            assert counts.sum() == counts[allowed].sum()
            np.testing.assert_allclose(
                counts[allowed] / 3000, 1 / len(allowed), atol=0.04
            )


def test_amnesiac_labels_are_wrong_even_if_every_other_class_is_forgotten(problem):
    wrong = relabelled(problem, [0, 1, 1], 2, [0, 1])
    np.testing.assert_array_equal(wrong, [1, 0, 0])


def test_amnesiac_labels_are_drawn_once(variables):
    """Four full-batch steps of Adam with one and the same wrong label in all."""
    problem, epochs, rate = tiny_problem(forget=1), 4, 0.02
    fn, seen = case(
        "amnesiac_relabel", problem, epochs=epochs, learning_rate=rate, **FULL
    )
    afters = [fn(jax.random.key(seed), variables, seen)[0] for seed in range(3)]
    everything, found = jnp.arange(len(problem.labels)), [0, 0, 0]
    for wrong in set(range(3)) - {int(problem.labels[problem.forget[0]])}:
        labels = problem.labels.at[problem.forget].set(wrong)
        _, params = descend_with(
            optax.adam(rate),
            lambda p, y=labels: cross_entropies(problem, p, everything, y).mean(),
            variables["params"],
            epochs,
        )
        for i, after in enumerate(afters):
            close = np.allclose(flat(params), flat(after["params"]), 1e-4, 1e-5)
            found[i] += int(close)
    assert found == [1, 1, 1]


# Bad teacher


@pytest.fixture(scope="module")
def bad(problem):
    return problem.model.init(jax.random.key(9), problem.inputs(problem.forget))


def with_bad_teacher(problem, bad):
    """Its freshly initialised model is `bad`, whatever the key."""
    model = problem.model
    init = lambda key, images: bad  # noqa: E731
    return problem.replace(model=Model(init, model.apply, model.activations))


def kl(p, q):
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), -1)


def test_bad_teacher_on_the_forget_set_good_teacher_elsewhere(problem, variables, bad):
    """Two full-batch steps: direction and scale of the KL, T^2, and who teaches whom.

    The controls: the other direction, or a division by the classes, is another loss.
    """
    temperature, rate = 2.0, 0.02
    order = jnp.concatenate([problem.forget, problem.retain])
    wanted = jnp.concatenate(
        [
            logits_of(problem, bad["params"], problem.forget),
            logits_of(problem, variables["params"], problem.retain),
        ]
    )
    p = jax.nn.softmax(wanted / temperature)

    def q(params):
        return jax.nn.softmax(logits_of(problem, params, order) / temperature)

    losses, params = descend_with(
        optax.adam(rate),
        lambda params: temperature**2 * kl(p, q(params)).mean(),
        variables["params"],
        2,
    )
    fn, seen = case(
        "bad_teacher",
        with_bad_teacher(problem, bad),
        learning_rate=rate,
        temperature=temperature,
        retain_percent=100,
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["loss"][:, 0], losses, 1e-4)
    assert_close(after["params"], params, 1e-4, 1e-5)
    reverse = temperature**2 * kl(q(variables["params"]), p).mean()
    assert abs(reverse - losses[0]) > 5e-3 * losses[0] > 0


def test_bad_teacher_takes_a_share_of_the_retain_set(problem, variables, bad):
    """Where the student still is the good teacher, only the forget set has a loss."""
    fn, seen = case(
        "bad_teacher",
        with_bad_teacher(problem, bad),
        epochs=1,
        retain_percent=30,
        **FULL,
    )
    _, info = fn(KEY, variables, seen)
    p, q = (
        jax.nn.softmax(logits_of(problem, v["params"], problem.forget))
        for v in (bad, variables)
    )
    share = len(problem.retain) * 3 // 10
    expected = kl(p, q).sum() / (len(problem.forget) + share)
    np.testing.assert_allclose(info["loss"][0, 0], expected, 1e-4)


# DELETE


def test_delete_distils_the_other_classes(problem, variables):
    """Three full-batch steps against the sum over c != y, written out."""
    rate, rows = 0.1, np.arange(len(problem.forget))
    y = np.asarray(problem.labels[problem.forget])
    others = np.array([[c for c in range(3) if c != label] for label in y])
    logits = logits_of(problem, variables["params"], problem.forget)
    p = jax.nn.softmax(logits[rows[:, None], others])

    def loss(params):
        q = jax.nn.softmax(logits_of(problem, params, problem.forget))
        return kl(p, q[rows[:, None], others]).mean()

    losses, params = descend_with(
        optax.sgd(rate, momentum=0.9), loss, variables["params"], 3
    )
    fn, seen = case("delete", problem, epochs=3, learning_rate=rate, **FULL)
    assert seen.retain is None
    after, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["loss"][:, 0], losses, 1e-4)
    assert_close(after["params"], params, 1e-4, 1e-5)


# DUCK


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


# SFRon


def test_sfron_forget_gradient_never_reaches_masked_weights(problem, variables):
    """With nothing in the mask its strength is without effect, momentum or not."""

    fn, seen = case("sfron", problem, weight_decay=0.1)
    run = jax.jit(lambda t, a: fn(KEY, variables, seen, threshold=t, alpha=a))
    (weak, info), (strong, _) = run(1e30, 0.1), run(1e30, 90.0)
    assert_equal(weak, strong)
    assert info["trained"] == 0
    (weak, info), (strong, _) = run(1.0, 0.1), run(1.0, 90.0)
    assert distance(weak, strong) > 1e-2
    assert 0.05 < info["trained"] < 0.95


def test_sfron_forget_steps_keep_the_bits_of_masked_weights(problem, variables):
    """Without repair steps, only the mask's weights have moved."""
    fn, seen = case("sfron", problem, retain_steps=0, weight_decay=0.1, epochs=2)
    after, info = fn(KEY, variables, seen)
    same = flat(after["params"]) == flat(variables["params"])
    np.testing.assert_allclose(1 - same.mean(), info["trained"], atol=0.02)
    assert 0.05 < same.mean() < 0.95


def test_sfron_against_plain_steps(problem, variables):
    """Mask, weights, strength, clipping, momentum and rate, two epochs by hand."""
    rate, alpha, gamma, exponent, bound, decay = 0.05, 40.0, 0.8, 0.6, 0.5, 0.01
    forget, retain, repairs, epochs = problem.forget, problem.retain, 2, 2

    def losses(params, indices):
        return cross_entropies(problem, params, indices)

    params = variables["params"]
    fisher = [
        jax.tree.map(
            lambda g: np.mean(g**2, 0),
            example_gradients(problem, params, indices, losses),
        )
        for indices in (forget, retain)
    ]
    mask = jax.tree.map(lambda f, r: f / r >= gamma, *fisher)
    velocity = jax.tree.map(np.zeros_like, params)
    calls, clipped = epochs * (1 + repairs), 0
    down = jax.jit(jax.grad(lambda p: losses(p, retain).mean()))
    up = jax.jit(jax.grad(lambda p, shares: shares @ losses(p, forget)))

    def cosine(step, steps):
        return (1 + np.cos(np.pi * step / steps)) / 2

    for call in range(calls):
        number, repair = divmod(call, 1 + repairs)
        if repair:
            gradient = down(params)
        else:
            shares = np.asarray(losses(params, forget)) ** -exponent
            shares = -alpha * cosine(number, epochs) * shares / shares.sum()
            gradient = up(params, shares)
            gradient = jax.tree.map(lambda g, m: g * m, gradient, mask)
            norm = np.linalg.norm(flat(gradient))
            clipped += norm > bound
            shrink = min(1, bound / norm)
            gradient = jax.tree.map(lambda g, s=shrink: g * s, gradient)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)

        step = rate * cosine(call, calls)

        def move(p, v, m, step=step, repair=repair):
            moved = p - step * (v + (decay * p if p.ndim > 1 else 0))
            return np.where(m | (repair > 0), moved, p)

        params = jax.tree.map(move, params, velocity, mask)
    assert clipped
    fn, seen = case(
        "sfron",
        problem,
        epochs=epochs,
        retain_steps=repairs,
        forget_batch_size=100,
        learning_rate=rate,
        alpha=alpha,
        threshold=gamma,
        exponent=exponent,
        max_norm=bound,
        weight_decay=decay,
        group=1,
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    assert_close(after["params"], params, 1e-3, 1e-4)
    np.testing.assert_allclose(info["trained"], flat(mask).mean(), 1e-5)


def test_sfron_ascent_weights_fall_with_the_loss():
    """w CE is CE^(1 - lambda) of a constant: its gradient is w, summing to one."""
    losses, weights = jnp.array([0.0, 0.25, 4.0, 9.0]), jnp.array([0.0, 1.0, 1.0, 0.0])
    gradient = jax.grad(adaptive_mean)(losses, weights, 0.5)
    np.testing.assert_allclose(gradient, [0, 0.8, 0.2, 0], 1e-5)
    assert np.isfinite(jax.grad(adaptive_mean)(losses, jnp.ones(4), 0.5)).all()


# LFSSD


def test_lfssd_dampens_by_the_formula(problem, variables):
    alpha, dampening = 1.0, 0.8

    def squared_norm(params, indices):
        return jnp.sum(logits_of(problem, params, indices) ** 2, -1)

    def sensitivity(indices):
        return jax.tree.map(
            lambda g: np.mean(np.abs(g), 0),
            example_gradients(problem, variables["params"], indices, squared_norm),
        )

    def dampen(p, f, d):
        return np.where(f > alpha * d, p * np.minimum(dampening * d / f, 1), p)

    expected = jax.tree.map(
        dampen,
        variables["params"],
        sensitivity(problem.forget),
        sensitivity(jnp.arange(len(problem.labels))),
    )
    fn, seen = case("lfssd", problem, alpha=alpha, dampening=dampening)
    after, info = fn(KEY, variables, seen)
    assert_close(after["params"], expected, 1e-4)
    assert 0 < info["selected"] < 1


def test_lfssd_and_bad_teacher_read_no_labels(problem, variables):
    for name in ("lfssd", "bad_teacher"):
        fn, seen = case(name, problem)
        other = seen.replace(labels=(seen.labels + 1) % 3)
        assert_equal(fn(KEY, variables, seen)[0], fn(KEY, variables, other)[0])


# All


@pytest.mark.parametrize(
    "name, settings",
    [
        ("amnesiac_relabel", dict(learning_rate=0.02, epochs=20)),
        ("delete", dict(learning_rate=0.1, epochs=20)),
        ("duck", dict(learning_rate=0.02, epochs=10, forget_batch_size=16)),
        ("sfron", dict(learning_rate=0.05, epochs=10)),
    ],
)
def test_a_class_is_forgotten(name, settings, class_problem, variables):
    def accuracy(variables):
        logits = logits_of(class_problem, variables["params"], class_problem.forget)
        return np.mean(np.argmax(logits, -1) == 1)

    fn, seen = case(name, class_problem, **settings)
    after, _ = fn(KEY, variables, seen)
    assert accuracy(variables) > 0.7
    assert accuracy(after) < 0.4
