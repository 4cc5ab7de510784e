"""What is particular to the methods that see only the retain or only the forget set.

References are plain numpy or jax.numpy; batches hold the whole set, so that a pass is
one gradient step.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_problem, trained
from trees import assert_close, assert_equal, distance, flat, pick

from unlearn import Model, methods
from unlearn.errors import InputError
from unlearn.methods.prune_finetune import magnitude_mask
from unlearn.models import from_linen
from unlearn.structure import replace
from unlearn.training import cross_entropy

KEY = jax.random.key(3)
WHOLE = dict(batch_size=40, momentum=0.9)


def heavy_ball(params, gradients, rate):
    """A step of SGD with momentum 0.9 for each gradient function."""
    velocity = jax.tree.map(jnp.zeros_like, params)
    for gradient in gradients:
        velocity = jax.tree.map(
            lambda v, g: 0.9 * v + g, velocity, jax.jit(gradient)(params)
        )
        params = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
    return params


def linear_model(classes):
    """Logits x W + b of the flattened image."""

    def init(key, images):
        kernel = jax.random.normal(key, (images[0].size, classes)) / 4
        return {"params": {"head": {"kernel": kernel, "bias": jnp.zeros(classes)}}}

    def apply(variables, images, *, train=False, key=None):
        head = variables["params"]["head"]
        flat = images.reshape(len(images), -1)
        return flat @ head["kernel"] + head["bias"][None], variables

    return Model(init, apply)


def linear_case(classes=3, **options):
    problem = tiny_problem(linear_model(classes), **options)
    problem = problem.replace(num_classes=classes)
    return problem, problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))


def softmax(logits):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


# Retain only


def test_l1_penalty_falls_to_zero_by_epochs(problem, variables):
    """Four epochs, the last without: alpha times 1, 2/3, 1/3, 0; on every weight."""
    alpha, rate = 0.02, 0.05

    def loss(params, penalty):
        logits, _ = problem.model.apply(
            {"params": params}, problem.inputs(problem.retain)
        )
        size = sum(jnp.abs(w).sum() for w in jax.tree.leaves(params))
        ce = cross_entropy(logits, problem.labels[problem.retain]).mean()
        return ce + penalty * size

    def expected(penalties):
        gradients = [jax.grad(functools.partial(loss, penalty=p)) for p in penalties]
        return heavy_ball(variables["params"], gradients, rate)

    options = dict(alpha=alpha, learning_rate=rate, epochs=4, no_l1_epochs=1)
    fn, seen = case("l1_sparse", problem, weight_decay=0.0, **options, **WHOLE)
    after, _ = fn(KEY, variables, seen)
    falling = [alpha, alpha * 2 / 3, alpha / 3, 0.0]
    assert_close(after["params"], expected(falling), 1e-4, 1e-5)
    assert distance(after["params"], expected([alpha] * 4)) > 1e-3


def test_pruned_weights_are_the_smallest_and_stay_zero(norm_problem, norm_variables):
    """With a traced sparsity, and against weight decay and momentum."""
    constants = dict(epochs=3, batch_size=16, weight_decay=0.1)
    fn = functools.partial(methods.METHODS["prune_finetune"].fn, **constants)
    many = jax.jit(
        jax.vmap(lambda s: fn(KEY, norm_variables, norm_problem, sparsity=s))
    )
    sparsities = np.array([0.4, 0.9], np.float32)
    after, info = many(sparsities)
    old = norm_variables["params"]
    sizes = np.sort(np.abs(flat([w for w in jax.tree.leaves(old) if w.ndim > 1])))
    for i, sparsity in enumerate(sparsities):
        limit = sizes[round(float(sparsity) * sizes.size)]
        pruned = jax.tree.map(lambda w, low=limit: (abs(w) < low) & (w.ndim > 1), old)
        pruned, new = flat(pruned), flat(pick(after["params"], i))
        assert np.all(new[pruned] == 0)
        assert np.mean(new[~pruned] != flat(old)[~pruned]) > 0.5
        np.testing.assert_allclose(info["kept"][i], np.mean(~pruned), rtol=1e-6)


def test_pruning_counts_ties_exactly():
    params = {"a": {"kernel": jnp.ones((4, 5)), "bias": jnp.zeros(5)}}
    mask = magnitude_mask(params, 0.35)["a"]
    assert mask["kernel"].sum() == 13 and mask["bias"].all()


class Deep(nn.Module):
    """Three dense layers, the inner two normalised and in a block of their own."""

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(len(x), -1)
        for name in ("first", "second"):
            x = Block(name=name)(x, train)
        return nn.Dense(3, name="head")(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        norm = nn.BatchNorm(use_running_average=not train, momentum=0.9)
        return nn.relu(norm(nn.Dense(8)(x)))


@pytest.fixture(scope="module")
def deep():
    problem = tiny_problem(from_linen(Deep()))
    return problem, trained(problem, epochs=2)


@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_all_but_the_last_layers_are_bit_identical(name, deep):
    """Statistics included; two layers back is the head, and the second block whole."""
    problem, original = deep
    fn, seen = case(name, problem, layers=2, weight_decay=0.1, learning_rate=0.1)
    after, _ = fn(KEY, original, seen)
    for kind in original:
        for part in original[kind]:
            pair = after[kind][part], original[kind][part]
            if part == "first":
                assert_equal(*pair)
            else:
                for new, old in zip(*map(jax.tree.leaves, pair), strict=True):
                    assert np.mean(np.asarray(new) != np.asarray(old)) > 0.5
    fn, seen = case("finetune", problem)  # the control
    control, _ = fn(KEY, original, seen)
    for kind in original:
        assert distance(control[kind]["first"], original[kind]["first"]) > 0


def test_cf_k_starts_from_the_original_and_eu_k_does_not(deep):
    """What the original's last layers hold: all to CF-k, nothing to EU-k."""
    problem, original = deep
    erased = jax.tree.map(lambda x: x, original)
    for kind, part in (("params", "head"), ("params", "second")):
        zeros = jax.tree.map(jnp.zeros_like, original[kind][part])
        erased[kind] = {**erased[kind], part: zeros}
    moved = jax.tree.map(lambda x: x + 1, original["batch_stats"]["second"])
    erased["batch_stats"] = {**erased["batch_stats"], "second": moved}
    for name, same in (("cf_k", False), ("eu_k", True)):
        fn, seen = case(name, problem, layers=2)
        gap = distance(fn(KEY, original, seen)[0], fn(KEY, erased, seen)[0])
        assert (gap == 0) == same
    fn, seen = case("cf_k", problem, layers=2, learning_rate=0.0)
    assert_equal(fn(KEY, original, seen)[0]["params"], original["params"])


@pytest.mark.parametrize("name", ["cf_k", "eu_k", "boundary_expand"])
def test_a_model_that_does_not_tell_its_activations(name, problem, variables):
    silent = problem.replace(model=problem.model._replace(activations=None))
    fn, seen = case(name, silent)
    with pytest.raises(InputError, match="activations"):
        fn(KEY, variables, seen)


def test_no_layers_to_train(problem, variables):
    fn, seen = case("cf_k", problem, layers=0)
    with pytest.raises(InputError, match="at least 1"):
        fn(KEY, variables, seen)


# Forget only


def test_boundary_shrink_takes_the_nearest_wrong_label_and_trains_to_it():
    """Linear model: input and weight gradients in closed form."""
    problem, original = linear_case(10, mean=0.4, std=0.2)
    kernel = np.asarray(original["params"]["head"]["kernel"])
    indices = np.asarray(problem.forget)
    x = (np.asarray(problem.images)[indices] / 255 - 0.4) / 0.2
    x, y = x.reshape(len(indices), -1), np.asarray(problem.labels)[indices]
    constants = dict(learning_rate=0.3, epochs=1, **WHOLE)
    found = []
    for bound in (0.0, 0.3):
        step = np.sign((softmax(x @ kernel) - np.eye(10)[y]) @ kernel.T)
        logits = (x + bound / 0.2 * step) @ kernel
        nearest = np.where(np.eye(10)[y], -np.inf, logits).argmax(-1)
        fn, seen = case("boundary_shrink", problem, bound=bound, **constants)
        after, info = fn(KEY, original, seen)
        np.testing.assert_array_equal(info["labels"], nearest)
        found.append(nearest)
        gradient = x.T @ (softmax(x @ kernel) - np.eye(10)[nearest]) / len(x)
        moved = after["params"]["head"]["kernel"]
        np.testing.assert_allclose(moved, kernel - 0.3 * gradient, 1e-4, 1e-5)
    assert np.any(found[0] != found[1]) and np.all(found != y)


def test_boundary_shrink_relabels_by_the_original_throughout(problem, variables):
    fn, seen = case("boundary_shrink", problem, learning_rate=0.5, epochs=6)
    short, _ = case("boundary_shrink", problem, learning_rate=0.0, epochs=1)
    labels = [f(KEY, variables, seen)[1]["labels"] for f in (fn, short)]
    np.testing.assert_array_equal(*labels)


class ConvHead(nn.Module):
    """A 1x1 convolution pooled to logits."""

    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Conv(4, (3, 3), strides=2, name="trunk")(x))
        return nn.Conv(3, (1, 1), name="head")(x).mean((1, 2))


class WideConvHead(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Conv(4, (3, 3), strides=2, name="trunk")(x))
        return nn.Conv(4, (1, 1), name="head")(x).mean((1, 2))


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_boundary_expand_is_a_widened_head_then_cut(kind, problem, variables):
    """The reference trains a net that really has one class more."""
    wide = problem.model.apply
    if kind == "convolution":
        problem = tiny_problem(from_linen(ConvHead()))
        variables = trained(problem, epochs=2)
        wide = from_linen(WideConvHead()).apply
    head = variables["params"]["head"]
    width = head["kernel"].shape[-2]
    neuron = jax.random.normal(jax.random.split(KEY)[0], (width, 1))
    neuron = neuron * np.sqrt(2 / (width + 4))
    neuron = neuron.reshape(*head["kernel"].shape[:-1], 1)
    widened = {
        "kernel": jnp.concatenate([head["kernel"], neuron], -1),
        "bias": jnp.append(head["bias"], 0.0),
    }

    def loss(params):
        logits, _ = wide({"params": params}, problem.inputs(problem.forget))
        assert logits.shape[-1] == 4
        return -jax.nn.log_softmax(logits)[:, 3].mean()

    params = replace(variables["params"], ("head",), widened)
    expected = heavy_ball(params, [jax.grad(loss)] * 3, 0.2)
    cut = jax.tree.map(lambda w: w[..., :3], expected["head"])
    fn, seen = case("boundary_expand", problem, learning_rate=0.2, epochs=3, **WHOLE)
    after, _ = fn(KEY, variables, seen)
    assert_close(after["params"], replace(expected, ("head",), cut), 1e-4, 1e-5)


def identity_case(classes=16):
    """Logits are the 16 pixels: every slope is exactly 1."""
    problem, original = linear_case(classes)
    head = {"kernel": jnp.eye(16), "bias": jnp.zeros(classes)}
    return problem, replace(original, ("params", "head"), head)


def test_lipschitz_gradient_of_the_identity():
    """d |xi W| / |xi| at W = 1 is xi xi^T / |xi|^2: trace 1, mean 1 / 16; no bias."""
    problem, original = identity_case()
    fn, seen = case(
        "lipschitz",
        problem,
        learning_rate=0.5,
        epochs=1,
        copies=200,
        batch_size=40,
        through_noise=True,
    )
    after, info = fn(KEY, original, seen)
    np.testing.assert_allclose(info["loss"], 1, rtol=1e-5)
    head = after["params"]["head"]
    change = np.asarray(jnp.eye(16) - head["kernel"]) / 0.5
    np.testing.assert_allclose(np.trace(change), 1, rtol=1e-4)
    np.testing.assert_allclose(change, np.eye(16) / 16, atol=0.012)
    np.testing.assert_allclose(head["bias"], 0, atol=1e-6)


def test_lipschitz_as_released_lets_no_gradient_through_the_noise():
    """Only f(x) moves: the bias, which cancels in the difference, moves too."""
    problem, original = identity_case()
    fn, seen = case("lipschitz", problem, learning_rate=0.5, through_noise=False)
    after, info = fn(KEY, original, seen)
    assert np.abs(after["params"]["head"]["bias"]).max() > 1e-3
    np.testing.assert_allclose(info["loss"][0, 0], 1, rtol=1e-5)


def test_lipschitz_of_a_constant_net_is_finite():
    problem, original = identity_case()
    constant = jax.tree.map(jnp.zeros_like, original)
    fn, seen = case("lipschitz", problem)
    assert_equal(fn(KEY, constant, seen)[0], constant)


def test_kl_uniform_gradient():
    """d KL(uniform || softmax) / d logits = p - 1/K, a mean over examples."""
    problem, original = linear_case()
    fn, seen = case("kl_uniform", problem, learning_rate=0.3, epochs=1, **WHOLE)
    after, info = fn(KEY, original, seen)
    x = np.asarray(problem.inputs(problem.forget)).reshape(len(problem.forget), -1)
    kernel = np.asarray(original["params"]["head"]["kernel"])
    p = softmax(x @ kernel)
    np.testing.assert_allclose(
        after["params"]["head"]["kernel"],
        kernel - 0.3 * x.T @ (p - 1 / 3) / len(x),
        rtol=1e-4,
        atol=1e-5,
    )
    kl = np.mean(np.sum(np.log(1 / 3 / p) / 3, -1))
    np.testing.assert_allclose(info["loss"][0, 0], kl, rtol=1e-4)


@pytest.mark.parametrize("name", ["boundary_shrink", "boundary_expand", "kl_uniform"])
def test_a_class_is_forgotten_without_the_retain_set(name, class_problem, variables):
    fn, seen = case(name, class_problem, learning_rate=0.1, epochs=10)
    after, _ = fn(KEY, variables, seen)

    def accuracy(indices):
        logits, _ = class_problem.model.apply(after, class_problem.inputs(indices))
        return np.mean(np.argmax(logits, -1) == class_problem.labels[indices])

    assert accuracy(class_problem.forget) < 0.1
    assert accuracy(class_problem.retain) > 0.7


@pytest.mark.parametrize(
    "name", ["boundary_shrink", "boundary_expand", "kl_uniform", "lipschitz"]
)
def test_batch_statistics_of_the_forget_set_never_get_in(
    name, norm_problem, norm_variables
):
    fn, seen = case(name, norm_problem, learning_rate=0.1)
    after, _ = fn(KEY, norm_variables, seen)
    assert_equal(after["batch_stats"], norm_variables["batch_stats"])
    assert distance(after["params"], norm_variables["params"]) > 1e-4
