"""The nearest adversarial examples, and the fine-tuning on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_data, tiny_problem, trained
from references import linear_case, linear_model, softmax
from trees import assert_close, assert_equal

from unlearn import make_problem
from unlearn.methods import finetune
from unlearn.methods.amun import Joined, amun, nearest_adversarial
from unlearn.training import cross_entropy, predict_set

KEY = jax.random.key(3)


def nearest(problem, variables, bound=0.04, **options):
    fn = jax.jit(
        lambda v, bound: nearest_adversarial(v, problem, forget, bound, **options)
    )
    forget = problem.forget
    return fn(variables, bound)


# The search


def two_classes():
    """Floats and a linear net: the boundary is at a distance that is known."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 2
    problem = make_problem(x, y, np.arange(40), linear_model(2))
    variables = problem.model.init(KEY, problem.inputs(problem.forget))
    kernel = np.asarray(variables["params"]["head"]["kernel"], np.float64)
    normal = kernel[:, 1] - kernel[:, 0]
    ahead = (1 - 2 * y[:40]) * (x[:40] @ -normal) / np.linalg.norm(normal)
    return problem, variables, ahead, normal / np.linalg.norm(normal)


def test_steps_end_just_behind_the_boundary():
    """Of the least radius beyond the boundary, a tenth a step; no step if wrong."""
    problem, variables, ahead, normal = two_classes()
    right, y = ahead > 0, np.asarray(problem.labels)[:40]
    assert 10 < right.sum() < 35
    radius = 0.1 * 2.0 ** np.maximum(0, np.ceil(np.log2(np.maximum(ahead, 1e-9) / 0.1)))
    expected = np.where(right, radius / 10 * (1 + ahead // (radius / 10)), 0)
    assert len(set(radius)) >= 4
    found = nearest(problem, variables, 0.1)
    np.testing.assert_allclose(found.distance, expected, 1e-4, 1e-6)
    np.testing.assert_array_equal(found.labels, 1 - y)
    assert found.found.all()
    moved = np.asarray(found.inputs) - np.asarray(problem.examples)[:40]
    towards = (1 - 2 * y)[:, None] * normal
    np.testing.assert_allclose(moved, expected[:, None] * towards, 1e-3, 1e-5)


@pytest.mark.slow
def test_a_larger_first_radius_gives_a_farther_example_and_a_smaller_none():
    problem, variables, ahead, _ = two_classes()
    right = ahead > 0
    near, far = (nearest(problem, variables, bound) for bound in (0.05, 40.0))
    assert np.all(near.distance[right] < far.distance[right])
    assert np.all(near.distance[right] > ahead[right])
    cut = float(np.median(ahead[right]))
    within = nearest(problem, variables, cut, doublings=0)
    np.testing.assert_array_equal(within.found, ahead < cut)
    lost = ~np.asarray(within.found)
    assert lost.sum() > 5 and np.all(within.distance[lost] == 0)
    assert_equal(within.inputs[lost], problem.examples[:40][lost])


def searched(x, y, params, mean, std, bound, steps=50, doublings=15):
    """One image as pixels, by the gradient of the cross-entropy, in NumPy."""

    def answer(pixels):
        flat = (pixels - mean) / std
        features = np.tanh(flat @ params["trunk"]["kernel"] + params["trunk"]["bias"])
        return features, features @ params["head"]["kernel"] + params["head"]["bias"]

    for radius in bound * 2.0 ** np.arange(doublings + 1):
        d = np.zeros_like(x)
        for number in range(steps + 1):
            features, logits = answer(x + d)
            if logits.argmax() != y:
                return x + d, logits.argmax()
            if number == steps:
                break
            error = softmax(logits) - np.eye(len(logits))[y]
            g = (1 - features**2) * (params["head"]["kernel"] @ error)
            g = params["trunk"]["kernel"] @ g / std
            d = d + radius / 10 * g / np.linalg.norm(g)
            d = d * min(1, radius / np.linalg.norm(d))
            d = np.clip(x + d, 0, 1) - x
    raise AssertionError("not found")


@pytest.mark.slow
def test_images_move_in_pixels_as_by_the_gradient_of_the_cross_entropy():
    problem = tiny_problem(forget=20, mean=0.4, std=0.2)
    variables = trained(problem, epochs=10)
    params = jax.tree.map(lambda w: np.asarray(w, np.float64), variables["params"])
    found = nearest(problem, variables, 0.02)
    pixels = np.asarray(found.inputs).reshape(20, 16) * 0.2 + 0.4
    clipped = 0
    for i, index in enumerate(np.asarray(problem.forget)):
        x = np.asarray(problem.examples)[index].ravel() / 255
        y = int(problem.labels[index])
        expected, label = searched(x, y, params, 0.4, 0.2, 0.02)
        np.testing.assert_allclose(pixels[i], expected, atol=1e-5)
        assert found.labels[i] == label != y
        length = np.linalg.norm(expected - x)
        np.testing.assert_allclose(found.distance[i], length, 1e-4, 1e-5)
        clipped += np.sum((expected != x) & ((expected == 0) | (expected == 1)))
    assert clipped > 0 and np.quantile(found.distance, 0.8) > 0.04
    assert pixels.min() > -1e-6 and pixels.max() < 1 + 1e-6


@pytest.mark.slow
def test_a_certain_answer_is_left_although_its_loss_has_no_slope():
    """The cross-entropy in float32 is flat there; the way to the boundary is not."""
    problem, variables, ahead, _ = two_classes()
    certain = jax.tree.map(lambda w: 1e4 * w, variables)
    sure = ahead > 0.1
    x, y = problem.inputs(problem.forget[sure]), problem.labels[problem.forget[sure]]

    def loss(x):
        return cross_entropy(problem.model.apply(certain, x)[0], y).sum()

    assert sure.sum() > 5 and np.all(jax.grad(loss)(x) == 0)
    assert_close(
        nearest(problem, certain).distance, nearest(problem, variables).distance
    )


@pytest.mark.parametrize("classes", [(), (1, 2)])
def test_a_class_that_is_forgotten_as_a_whole_is_no_wrong_answer(classes):
    images, labels = tiny_data(60, classes=4, balanced=True)
    forget, model = np.isin(labels, (1, 2)), linear_model(4)
    problem = make_problem(images, labels, forget, model, forget_classes=classes)
    kernel = 3 * np.repeat(np.eye(4), 4, axis=0).astype(np.float32)
    head = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(4)}
    variables = {"params": {"head": head}}
    found = nearest(problem, variables)
    assert found.found.all()
    assert np.isin(found.labels, (1, 2)).any() == (not classes)
    answers = problem.model.apply(variables, found.inputs)[0].argmax(-1)
    np.testing.assert_array_equal(answers, found.labels)


# The fine-tuning


@pytest.fixture(scope="module")
def near(problem, variables):
    return nearest(problem, variables)


@pytest.mark.parametrize(
    "with_retain, with_forget",
    [
        (True, True),
        (False, False),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(False, True, marks=pytest.mark.slow),
    ],
)
def test_it_is_fine_tuning_on_the_union(
    problem, variables, near, with_retain, with_forget
):
    """Two steps of SGD on all at once; with the true labels of A it is another."""
    parts = [(near.inputs, near.labels)]
    kept = [problem.retain] * with_retain + [problem.forget] * with_forget
    parts += [(problem.inputs(i), problem.labels[i]) for i in kept]
    inputs, labels = (jnp.concatenate(part) for part in zip(*parts, strict=True))

    @jax.jit
    def gradient_of(params, labels):
        def loss(params):
            logits = problem.model.apply({"params": params}, inputs)[0]
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
            return -jnp.mean(chosen)

        value, gradient = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda g, p: g + 5e-4 * p, gradient, params)

    def two_steps(labels):
        start = variables["params"]
        first, g = gradient_of(start, labels)
        params = jax.tree.map(lambda p, g: p - 0.3 * g, start, g)
        second, h = gradient_of(params, labels)
        params = jax.tree.map(lambda p, g, h: p - 0.3 * (0.9 * g + h), params, g, h)
        return params, [first, second]

    fn = jax.jit(
        lambda rate: amun(
            KEY,
            variables,
            problem,
            learning_rate=rate,
            epochs=2,
            batch_size=1000,
            with_retain=with_retain,
            with_forget=with_forget,
        )
    )
    after, info = fn(0.3)
    params, losses = two_steps(labels)
    assert_close(after["params"], params, 1e-4, 1e-5)
    np.testing.assert_allclose(info["loss"][:, 0], losses, 1e-5)
    assert_equal(info["labels"], near.labels)
    assert_equal(info["distance"], near.distance)
    own = labels.at[: len(near.labels)].set(problem.labels[problem.forget])
    with pytest.raises(AssertionError):
        assert_close(after["params"], two_steps(own)[0], 1e-4, 1e-5)


@pytest.mark.slow
def test_what_has_no_adversarial_example_has_no_part():
    """A net that answers 0 always: nothing is found of class 0, x itself of others."""
    problem, original = linear_case()
    head = {"kernel": jnp.zeros((16, 3)), "bias": jnp.array([1.0, 0.0, 0.0])}
    constant = {"params": {"head": head}}
    options = dict(with_retain=False, with_forget=False, weight_decay=0.0)
    options |= dict(epochs=1, max_steps=2, doublings=2)
    after, info = amun(KEY, constant, problem, learning_rate=0.5, **options)
    found = np.asarray(problem.labels)[np.asarray(problem.forget)] != 0
    assert 0 < found.sum() < len(found)
    np.testing.assert_array_equal(info["found"], found)
    gradient = softmax(np.array([1.0, 0, 0])) - np.eye(3)[0]
    moved = np.asarray(after["params"]["head"]["bias"] - head["bias"])
    np.testing.assert_allclose(moved, -0.5 * found.mean() * gradient, 1e-5)


@pytest.mark.slow
def test_adversarial_examples_are_not_augmented(problem, near):
    seen = Joined(problem.replace(augment=lambda key, x: 0 * x + 7), near)
    size, forget = len(problem.labels), problem.forget
    batch = seen.batch(jnp.array([5, size + 2, 0, size]), key=KEY)
    assert np.all(batch.inputs[jnp.array([0, 2])] == 7)
    assert_equal(batch.inputs[jnp.array([1, 3])], near.inputs[jnp.array([2, 0])])
    own = problem.labels[jnp.array([5, 0])]
    assert list(batch.labels) == [own[0], near.labels[2], own[1], near.labels[0]]
    assert np.all(near.labels != problem.labels[forget]) and np.all(batch.weights == 1)


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["frozen", "batch"])
def test_batch_statistics_are_frozen_on_request(norm_problem, statistics):
    inputs = norm_problem.inputs(norm_problem.forget)
    original = norm_problem.model.init(KEY, inputs)
    options = dict(epochs=1, max_steps=5, statistics=statistics)
    after, _ = jax.jit(lambda v: amun(KEY, v, norm_problem, **options))(original)
    pairs = zip(
        jax.tree.leaves(original["batch_stats"]),
        jax.tree.leaves(after["batch_stats"]),
        strict=True,
    )
    same = [bool(np.all(a == b)) for a, b in pairs]
    assert all(same) if statistics == "frozen" else not any(same)


@pytest.mark.slow
def test_it_forgets_what_was_memorised_and_fine_tuning_does_not(problem):
    """Mislabelled examples, learnt for good; the net knows the rest as before."""
    wrong = (problem.labels[problem.forget] + 1) % 3
    problem = problem.replace(labels=problem.labels.at[problem.forget].set(wrong))
    original = trained(problem, epochs=100)
    options = dict(learning_rate=0.05, epochs=15, batch_size=16)

    def accuracies(variables):
        answers = predict_set(problem, variables, jnp.arange(len(problem.labels)))
        right = np.asarray(answers.argmax(-1) == problem.labels)
        return right[np.asarray(problem.forget)].mean(), right[problem.retain].mean()

    memorised, kept = accuracies(original)
    assert memorised > 0.8 and kept > 0.9
    alone, _ = accuracies(finetune(KEY, original, problem, **options)[0])
    left, known = accuracies(
        amun(KEY, original, problem, **options, with_forget=False)[0]
    )
    assert left < memorised - 0.5 < alone - 0.3 and known > kept - 0.1
