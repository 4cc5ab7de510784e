"""What is particular to retraining, fine-tuning, ascent, relabelling, SCRUB and SSD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_problem, trained
from trees import assert_close, assert_equal, distance, flat

from unlearn.curvature import fisher_diagonal
from unlearn.errors import InputError
from unlearn.methods.random_labels import wrong_labels
from unlearn.methods.salun import saliency_mask
from unlearn.methods.scrub import validation_error
from unlearn.training import cross_entropy, kl_divergence


def forget_loss(problem, variables):
    logits, _ = problem.model.apply(variables, problem.inputs(problem.forget))
    return float(cross_entropy(logits, problem.labels[problem.forget]).mean())


def test_retrain_keeps_nothing_of_the_original(problem):
    from unlearn.models import create

    wide = tiny_problem(create("mlp", 3, widths=(64, 64)))
    original = trained(wide, epochs=3)
    fn, seen = case("retrain", wide)
    after, _ = fn(jax.random.key(5), original, seen)
    again, _ = fn(jax.random.key(5), jax.tree.map(jnp.zeros_like, original), seen)
    assert_equal(after, again)
    kernels = [
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(v) if x.ndim > 1])
        for v in (original, after)
    ]
    assert abs(np.corrcoef(*kernels)[0, 1]) < 0.05


def test_gradient_ascent_climbs(problem, variables):
    fn, seen = case("gradient_ascent", problem, learning_rate=0.2, epochs=10)
    after, _ = fn(jax.random.key(0), variables, seen)
    assert forget_loss(problem, after) > 2 * forget_loss(problem, variables) > 0


def test_gradient_ascent_is_one_step_of_the_gradient(problem, variables):
    """One full-batch step equals theta + learning_rate * gradient."""
    fn, seen = case("gradient_ascent", problem, epochs=1, learning_rate=0.1)
    after, _ = fn(jax.random.key(0), variables, seen)

    def loss(params):
        logits, _ = problem.model.apply(
            {"params": params}, problem.inputs(problem.forget)
        )
        return cross_entropy(logits, problem.labels[problem.forget]).mean()

    gradient = jax.grad(loss)(variables["params"])
    expected = jax.tree.map(lambda p, g: p + 0.1 * g, variables["params"], gradient)
    assert_close(after["params"], expected)


def test_neggrad_plus_descends_one_loss_and_climbs_the_other(problem, variables):
    """The first step is alpha grad_r - (1 - alpha) grad_f, neither of them zero."""
    alpha, rate = 0.7, 0.05
    size = dict(batch_size=40, forget_batch_size=40, weight_decay=0.0)
    fn, seen = case(
        "neggrad_plus", problem, alpha=alpha, learning_rate=rate, epochs=1, **size
    )
    after, _ = fn(jax.random.key(0), variables, seen)

    def loss(params, indices):
        logits, _ = problem.model.apply({"params": params}, problem.inputs(indices))
        return cross_entropy(logits, problem.labels[indices]).mean()

    up = jax.grad(loss)(variables["params"], problem.forget)
    down = jax.grad(loss)(variables["params"], problem.retain)
    assert np.linalg.norm(flat(up)) > 0.1
    expected = jax.tree.map(
        lambda p, r, f: p - rate * (alpha * r - (1 - alpha) * f),
        variables["params"],
        down,
        up,
    )
    assert_close(after["params"], expected)


def test_wrong_labels_are_wrong_and_uniform():
    labels = jnp.repeat(jnp.arange(4), 3000)
    wrong = np.asarray(wrong_labels(jax.random.key(0), labels, 4))
    assert not np.any(wrong == np.asarray(labels))
    for c in range(4):
        counts = np.bincount(wrong[np.asarray(labels) == c], minlength=4)
        np.testing.assert_allclose(np.delete(counts, c) / 1000, 1, atol=0.1)


def test_salun_masked_weights_keep_their_bits(norm_problem, norm_variables):
    """Momentum and weight decay move nothing that the mask holds."""
    fn, seen = case("salun", norm_problem, epochs=5, weight_decay=0.1, fraction=0.3)
    after, info = fn(jax.random.key(0), norm_variables, seen)
    mask = saliency_mask(norm_variables, seen, 0.3)
    trees = mask, norm_variables["params"], after["params"]
    for m, old, new in zip(*map(jax.tree.leaves, trees), strict=True):
        m = np.asarray(m)
        np.testing.assert_array_equal(np.asarray(new)[~m], np.asarray(old)[~m])
        assert np.mean(np.asarray(new)[m] != np.asarray(old)[m]) > 0.9 or not m.any()
    np.testing.assert_allclose(info["trained"], 0.3, atol=0.02)


def test_salun_mask_holds_the_largest_gradients(problem, variables):
    def loss(params):
        logits, _ = problem.model.apply(
            {"params": params}, problem.inputs(problem.forget)
        )
        return cross_entropy(logits, problem.labels[problem.forget]).mean()

    gradient = np.abs(flat(jax.grad(loss)(variables["params"])))
    for batch_size in (3, 7):  # a ragged last batch has no extra say
        mask = flat(saliency_mask(variables, problem, 0.25, batch_size=batch_size))
        assert mask.sum() == round(0.25 * gradient.size)
        assert gradient[mask].min() >= gradient[~mask].max()


def test_scrub_alternates_max_and_min_then_min_only(problem, variables):
    """Four epochs, two of them with a max pass, step by step; no other order gives it.

    The passes are one full batch each, so plain gradient steps are the reference. The
    first max pass alone would show nothing: there student and teacher agree.
    """
    rate, gamma, alpha, temperature = 0.05, 0.8, 0.4, 3.0
    teacher = jax.tree.map(lambda x: x * 1.0, variables)

    def kl(params, indices):
        inputs = problem.inputs(indices)
        p = jax.nn.softmax(problem.model.apply(teacher, inputs)[0] / temperature)
        logits = problem.model.apply({"params": params}, inputs)[0]
        q = jax.nn.softmax(logits / temperature)
        return temperature**2 * jnp.sum(p * (jnp.log(p) - jnp.log(q)), -1).mean()

    def ce(params, indices):
        logits = problem.model.apply({"params": params}, problem.inputs(indices))[0]
        q = jax.nn.softmax(logits)
        return -jnp.log(q[jnp.arange(len(indices)), problem.labels[indices]]).mean()

    def maximum(params):
        return -kl(params, problem.forget)

    def minimum(params):
        retain = problem.retain
        return gamma * ce(params, retain) + alpha * kl(params, retain)

    def both(params):
        return maximum(params) + minimum(params)

    def wrong_sign(params):
        return -maximum(params)

    def after_steps(*losses):
        student = variables["params"]
        velocity = jax.tree.map(jnp.zeros_like, student)
        for loss in losses:
            gradient = jax.jit(jax.grad(loss))(student)
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            student = jax.tree.map(lambda p, v: p - rate * v, student, velocity)
        return student

    expected = after_steps(*(maximum, minimum) * 2, minimum, minimum)
    fn, seen = case(
        "scrub",
        problem,
        epochs=4,
        max_epochs=2,
        learning_rate=rate,
        gamma=gamma,
        alpha=alpha,
        temperature=temperature,
        optimizer="sgd",
        weight_decay=0.0,
        rewind=False,
        batch_size=40,
        forget_batch_size=40,
    )
    after, _ = fn(jax.random.key(0), variables, seen)
    assert_close(after["params"], expected, 1e-4, 1e-5)
    for other in (
        (maximum, maximum, *(minimum,) * 4),
        (minimum,) * 4,
        (both, both, minimum, minimum),
        (*(wrong_sign, minimum) * 2, minimum, minimum),
    ):
        with pytest.raises(AssertionError):
            assert_close(after["params"], after_steps(*other), 1e-4, 1e-5)


def test_scrub_leaves_the_teacher_and_moves_the_student(problem, variables):
    fn, seen = case("scrub", problem, rewind=False, epochs=1, max_epochs=1)
    teacher = jax.tree.map(lambda x: np.array(x), variables)
    after, _ = fn(jax.random.key(0), variables, seen)
    assert_equal(jax.tree.map(np.asarray, variables), teacher)
    assert distance(after, variables) > 1e-4


def test_scrub_max_pass_moves_away_from_the_teacher_on_the_forget_set(
    problem, variables
):
    """With the retain pass switched off, the forget loss grows."""
    fn, seen = case(
        "scrub",
        problem,
        rewind=False,
        gamma=0.0,
        alpha=0.0,
        epochs=3,
        max_epochs=3,
        learning_rate=1e-2,
        optimizer="adam",
    )
    after, _ = fn(jax.random.key(0), variables, seen)

    def output(variables):
        return problem.model.apply(variables, problem.inputs(problem.forget))[0]

    assert kl_divergence(output(variables), output(after)).mean() > 1e-3
    assert distance(after, variables) > 1e-2


def test_scrub_rewinds_to_the_epoch_closest_to_validation(problem, variables):
    fn, seen = case("scrub", problem, epochs=5, max_epochs=3, learning_rate=2e-2)
    after, info = fn(jax.random.key(2), variables, seen)
    gaps = np.abs(info["forget_error"] - info["validation_error"])
    chosen = int(info["epoch"])
    assert gaps[chosen - 1] == gaps.min()
    logits, _ = problem.model.apply(after, problem.inputs(problem.forget))
    wrong = np.argmax(logits, -1) != problem.labels[problem.forget]
    np.testing.assert_allclose(wrong.mean(), info["forget_error"][chosen - 1])


def test_scrub_validation_error_has_the_classes_of_the_forget_set(variables):
    """With one class forgotten, only that class's validation error counts."""
    problem = tiny_problem()
    forget = jnp.flatnonzero(problem.labels == 1)
    held_out = problem.validation
    logits, _ = problem.model.apply(variables, held_out.inputs(held_out.retain))
    wrong = np.argmax(logits, -1) != held_out.labels
    expected = wrong[np.asarray(held_out.labels) == 1].mean()
    np.testing.assert_allclose(
        validation_error(variables, problem.replace(forget=forget)), expected
    )


def test_scrub_without_validation_says_so(problem, variables):
    with pytest.raises(InputError, match="rewind"):
        case("scrub", problem)[0](
            jax.random.key(0), variables, problem.replace(validation=None)
        )


# Fisher and SSD


def dense_fisher(problem, variables, indices):
    """Example by example, with nothing shared with the code under test."""
    total = jax.tree.map(np.zeros_like, variables["params"])
    for i in np.asarray(indices):

        def loss(params, i=i):
            x = problem.images[i : i + 1] / 255.0
            x = (x - problem.mean) / problem.std
            logits, _ = problem.model.apply({**variables, "params": params}, x)
            return -jax.nn.log_softmax(logits)[0, problem.labels[i]]

        gradient = jax.grad(loss)(variables["params"])
        total = jax.tree.map(lambda t, g: t + np.asarray(g) ** 2, total, gradient)
    return jax.tree.map(lambda t: t / len(indices), total)


def test_fisher_is_the_mean_of_squared_example_gradients(problem, variables):
    exact = fisher_diagonal(variables, problem, problem.forget)
    assert_close(exact, dense_fisher(problem, variables, problem.forget), 1e-4)


def test_fisher_vmapped_on_accelerators_is_the_same(problem, variables, monkeypatch):
    one_by_one = fisher_diagonal(variables, problem, problem.retain)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert_close(fisher_diagonal(variables, problem, problem.retain), one_by_one, 1e-4)


def test_batch_mean_fisher_shrinks_with_the_group(problem, variables):
    """The control: the published variant does depend on the batch size."""
    sizes = [
        flat(fisher_diagonal(variables, problem, problem.retain, group=g)).sum()
        for g in (1, 4, 33)
    ]
    assert sizes[0] > 1.2 * sizes[1] > 1.2 * sizes[2]


def test_ssd_dampens_by_the_formula(problem, variables):
    alpha, dampening = 1.0, 0.8
    everything = jnp.arange(len(problem.labels))
    of_forget = dense_fisher(problem, variables, problem.forget)
    of_all = dense_fisher(problem, variables, everything)

    def dampen(p, f, d):
        return np.where(f > alpha * d, p * np.minimum(dampening * d / f, 1), p)

    expected = jax.tree.map(dampen, variables["params"], of_forget, of_all)
    fn, seen = case("ssd", problem, alpha=alpha, dampening=dampening)
    after, info = fn(jax.random.key(0), variables, seen)
    assert_close(after["params"], expected, 1e-4)
    assert 0 < info["selected"] < 1
