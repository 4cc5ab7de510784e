"""Influence, Fisher forgetting, NTK scrubbing and the Newton head against dense numpy.

The references are float64 and share nothing with the code but `model.apply`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_data
from scipy.optimize import minimize
from scipy.special import softmax
from trees import assert_close, assert_equal, flat

from unlearn import Model, curvature, make_problem
from unlearn.errors import InputError
from unlearn.models import create

PENALTY = 0.05
FORGET = {"random": (np.arange(3, 10), []), "class": (None, [1])}


def linear_model(bias=True):
    """Softmax regression on the 16 pixels: 51 parameters."""

    def init(key, images):
        kernel = jnp.zeros((images[0].size, 3))
        head = {"kernel": kernel} | ({"bias": jnp.zeros(3)} if bias else {})
        return {"params": {"head": head}}

    def activations(variables, images, *, train=False, key=None):
        head, inputs = variables["params"]["head"], images.reshape(len(images), -1)
        logits = inputs @ head["kernel"] + head.get("bias", 0)
        return {("head",): inputs}, logits, variables

    def apply(variables, images, *, train=False, key=None):
        return activations(variables, images)[1:]

    return Model(init, apply, activations)


def linear_problem(kind):
    images, labels = tiny_data(60, balanced=True)
    forget, classes = FORGET[kind]
    if forget is None:
        forget = np.flatnonzero(labels == 1)
    return make_problem(
        images,
        labels,
        forget,
        linear_model(),
        num_classes=3,
        forget_classes=classes,
    )


def unflattened(vector, tree):
    return jax.flatten_util.ravel_pytree(tree)[1](jnp.asarray(vector, jnp.float32))


def standard(problem, indices):
    images = np.asarray(problem.images, np.float64)[np.asarray(indices)] / 255
    return ((images - 0.5) / 0.5).reshape(len(images), -1)


def dense(problem, variables, indices):
    """Logits [n, K], Jacobian [n, K, P], softmax p [n, K], p - y: all float64."""
    params, unflatten = jax.flatten_util.ravel_pytree(variables["params"])

    def logits_of(vector):
        params = unflatten(vector)
        inputs = problem.inputs(jnp.asarray(indices))
        return problem.model.apply({**variables, "params": params}, inputs)[0]

    both = jax.jit(lambda vector: (logits_of(vector), jax.jacrev(logits_of)(vector)))
    logits, jacobian = (np.asarray(x, np.float64) for x in both(params))
    p = softmax(logits, -1)
    return logits, jacobian, p, p - np.eye(3)[np.asarray(problem.labels)[indices]]


def gradients(problem, variables, indices):
    """One cross-entropy gradient an example: [n, P]."""
    _, jacobian, _, error = dense(problem, variables, indices)
    return np.einsum("nk,nkp->np", error, jacobian)


def gauss_newton(problem, variables, indices):
    _, jacobian, p, _ = dense(problem, variables, indices)
    hessian = np.einsum("nk,kl->nkl", p, np.eye(3)) - np.einsum("nk,nl->nkl", p, p)
    return np.einsum("nkp,nkl,nlq->pq", jacobian, hessian, jacobian) / len(indices)


def fisher(problem, variables, indices):
    each = gradients(problem, variables, indices)
    return each.T @ each / len(each)


def optimum(features, labels, penalty, bias=True):
    """Softmax regression by L-BFGS: the flat (bias, kernel), as the trees are."""
    size = features.shape[1]

    def loss(vector):
        b = vector[:3] if bias else 0
        z = features @ vector[-3 * size :].reshape(size, 3) + b
        p = softmax(z, -1)
        picked = p[np.arange(len(labels)), labels]
        error = (p - np.eye(3)[labels]) / len(labels)
        gradient = (features.T @ error).ravel()
        if bias:
            gradient = np.concatenate([error.sum(0), gradient])
        value = -np.log(picked).mean() + penalty / 2 * vector @ vector
        return value, gradient + penalty * vector

    options = dict(gtol=1e-10, ftol=1e-16, maxiter=5000)
    start = np.zeros(3 * size + 3 * bias)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x


def at_optimum(problem, indices):
    """Variables of the linear model trained to the end on those examples."""
    labels = np.asarray(problem.labels)[indices]
    vector = optimum(standard(problem, indices), labels, PENALTY)
    like = problem.model.init(None, jnp.zeros((1, 4, 4, 1)))["params"]
    return {"params": unflattened(vector, like)}


# WoodFisher and the Gauss-Newton matrix


def three_parameters():
    def apply(variables, images, *, train=False, key=None):
        return images.reshape(len(images), -1)[:, :3] * variables["params"], variables

    return Model(None, apply)


def test_woodfisher_is_the_dense_inverse_fisher_product():
    images, labels = tiny_data(30)
    problem = make_problem(images, labels, [0], three_parameters(), num_classes=3)
    variables = {"params": jnp.array([0.5, -1.0, 2.0])}
    vector, damping = np.array([1.0, -2.0, 0.5]), 0.01
    x, y = standard(problem, problem.retain)[:, :3], labels[1:]
    each = (softmax(x * np.asarray(variables["params"]), -1) - np.eye(3)[y]) * x
    matrix = each.T @ each / len(each) + damping * np.eye(3)
    expected = np.linalg.solve(matrix, vector)
    args = variables, problem, problem.retain, jnp.float32(vector), damping
    np.testing.assert_allclose(curvature.woodfisher(*args), expected, 1e-3)

    inverse = np.eye(3) / damping  # Singh & Alistarh's recursion
    for g in each:
        u = inverse @ g
        inverse -= np.outer(u, u) / (len(each) + g @ u)
    np.testing.assert_allclose(inverse @ vector, expected, 1e-8)

    k, o = vector / damping, each[0] / damping  # released code's: the control
    for g in each[1:]:
        k = k - k @ g / (len(each) + o @ g) * o
        o = o - o @ g / (len(each) + o @ g) * o
    assert np.linalg.norm(k - expected) > 0.5 * np.linalg.norm(expected)


def test_gauss_newton_product_through_custom_gradients():
    """Convolutions and pooling here refuse plain forward mode; a ragged last batch."""
    images, labels = tiny_data(11)
    net = create("cnn", 3, widths=(2,), dense=4)
    problem = make_problem(images, labels, [0], net, num_classes=3)
    variables = net.init(jax.random.key(0), problem.inputs(problem.forget))
    params, unflatten = jax.flatten_util.ravel_pytree(variables["params"])
    vector = jax.random.normal(jax.random.key(1), params.shape)
    product = jax.jit(
        lambda variables, vector: curvature.gauss_newton_product(
            variables, problem, problem.retain, vector, batch_size=3
        )
    )
    matrix = gauss_newton(problem, variables, np.asarray(problem.retain))
    expected = unflatten(jnp.float32(matrix @ vector))
    assert_close(product(variables, unflatten(vector)), expected, 1e-3, 1e-4)


# Influence


@pytest.mark.parametrize("solver", ["cg", "woodfisher"])
def test_influence_is_the_dense_solve(solver, problem, variables):
    """On a net with a hidden layer; the retain gradient is the retain set's."""
    forget, retain = np.asarray(problem.forget), np.asarray(problem.retain)
    of_forget = gradients(problem, variables, forget).mean(0)
    of_retain = gradients(problem, variables, retain).mean(0)
    v = 7 / 40 * (of_forget - of_retain)
    dense_matrix = {"cg": gauss_newton, "woodfisher": fisher}[solver]
    matrix = dense_matrix(problem, variables, retain) + 0.1 * np.eye(len(v))
    step = 2.0 * np.linalg.solve(matrix, v)
    settings = dict(scale=2.0, damping=0.1, examples=0, iterations=60)
    fn, seen = case("influence", problem, solver=solver, **settings)
    after, info = fn(jax.random.key(0), variables, seen)
    moved = flat(after["params"]) - flat(variables["params"])
    assert np.linalg.norm(moved - step) < 2e-3 * np.linalg.norm(step)
    np.testing.assert_allclose(info["gradient"], np.linalg.norm(v), 1e-3)


@pytest.mark.parametrize("kind", FORGET)
def test_influence_is_the_leave_out_newton_step(kind):
    """Of regularised softmax regression: its Hessian is the Gauss-Newton matrix."""
    problem = linear_problem(kind)
    variables = at_optimum(problem, np.arange(60))
    retain, theta = np.asarray(problem.retain), flat(variables["params"])
    gradient = gradients(problem, variables, retain).mean(0) + PENALTY * theta
    hessian = gauss_newton(problem, variables, retain) + PENALTY * np.eye(51)
    newton = theta - np.linalg.solve(hessian, gradient)
    settings = dict(solver="cg", scale=1.0, examples=0, iterations=60)
    fn, seen = case("influence", problem, damping=PENALTY, **settings)
    after = flat(fn(jax.random.key(0), variables, seen)[0]["params"])
    assert np.linalg.norm(after - newton) < 2e-3 * np.linalg.norm(theta - newton)
    goal = flat(at_optimum(problem, retain)["params"])
    closer = 0.2 if kind == "random" else 0.6  # Newton's first step of a long way
    assert np.linalg.norm(after - goal) < closer * np.linalg.norm(theta - goal)


def test_influence_names_its_solvers(problem, variables):
    with pytest.raises(InputError, match="cg, woodfisher"):
        case("influence", problem, solver="lissa")[0](
            jax.random.key(0), variables, problem
        )


def test_curvature_examples_are_a_part_of_the_set():
    indices = jnp.arange(100, 120)
    chosen = np.asarray(curvature.draw(jax.random.key(0), indices, 8))
    assert len(set(chosen)) == 8 and set(chosen) <= set(range(100, 120))
    for count in (0, 20, 50):
        assert_equal(curvature.draw(jax.random.key(0), indices, count), indices)


# Fisher forgetting


def expected_fisher(problem, variables, indices):
    _, jacobian, p, _ = dense(problem, variables, indices)
    total = 0
    for y in range(3):
        each = np.einsum("nk,nkp->np", p - np.eye(3)[y], jacobian)
        total = total + (p[:, [y]] * each**2).mean(0)
    return total


def test_fisher_forgetting_draws_from_the_formula(class_problem, variables):
    """Mean and deviation of every weight over many keys."""
    alpha, retain = 1e-5, np.asarray(class_problem.retain)
    diagonal = expected_fisher(class_problem, variables, retain)
    trees = variables["params"], unflattened(diagonal, variables["params"])
    exact = curvature.expected_fisher_diagonal(variables, class_problem, retain)
    assert_close(exact, trees[1], 1e-3, 1e-8)
    fn, seen = case("fisher_forgetting", class_problem, alpha=alpha)
    keys = jax.random.split(jax.random.key(0), 3000)
    after = jax.jit(jax.vmap(lambda key: fn(key, variables, seen)[0]["params"]))(keys)
    for layer in ("trunk", "head"):
        for name in ("kernel", "bias"):
            mean, f = (np.asarray(tree[layer][name]) for tree in trees)
            variance = alpha * np.minimum(
                1 / (f + 1e-8), 100 if layer == "head" else 1e3
            )
            if name == "kernel":
                variance = np.repeat(variance.mean(0, keepdims=True), len(f), 0)
            if layer == "head":
                mean = mean * np.array([1, 0, 1])
                variance[..., 1] = 1e-4
            if layer == "head" or name == "bias":
                variance = variance * 10
            draws, deviation = np.asarray(after[layer][name]), np.sqrt(variance)
            np.testing.assert_allclose(draws.std(0), deviation, rtol=0.08)
            assert np.all(np.abs(draws.mean(0) - mean) < 5 * deviation / 3000**0.5)


def test_fisher_forgetting_treats_head_rows_of_forgotten_classes_only(
    class_problem, variables
):
    fn, seen = case("fisher_forgetting", class_problem)
    nothing, empty = None, jnp.zeros(0, jnp.int32)
    by_class, without, none = (
        fn(jax.random.key(3), variables, seen.replace(forget_classes=classes))[0]
        for classes in (jnp.array([1]), nothing, empty)
    )
    assert_equal(without, none)
    assert_equal(by_class["params"]["trunk"], without["params"]["trunk"])
    for name in ("kernel", "bias"):
        one, other = (np.asarray(v["params"]["head"][name]) for v in (by_class, none))
        np.testing.assert_array_equal(one[..., [0, 2]], other[..., [0, 2]])
        assert np.all(one[..., 1] != other[..., 1])
    before = np.asarray(variables["params"]["head"]["kernel"])[:, 1]
    kept, erased = (v["params"]["head"]["kernel"][:, 1] for v in (none, by_class))
    assert np.linalg.norm(kept - before) < 0.3 * np.linalg.norm(before)
    assert np.linalg.norm(erased) < 0.3 * np.linalg.norm(before)


def test_fisher_forgetting_erases_no_class_in_random_forgetting(problem, variables):
    """Published code erased the last class when none was named."""
    fn, seen = case("fisher_forgetting", problem, alpha=1e-9)
    assert not len(seen.forget_classes)
    after, _ = fn(jax.random.key(3), variables, seen)
    old, new = (np.asarray(v["params"]["head"]["kernel"]) for v in (variables, after))
    assert np.abs(old).max(0).min() > 0.1
    np.testing.assert_allclose(new, old, atol=1e-2)


# NTK scrubbing


@pytest.mark.parametrize("linear", [True, False])
def test_ntk_scrub_is_the_difference_of_two_ridge_regressions(
    linear, problem, variables
):
    """In the space of the weights; the trapezium by its angle, as released."""
    if linear:
        problem = linear_problem("random")
        variables = at_optimum(problem, np.arange(60))
    retain = np.asarray(problem.retain)

    def solution(indices):
        _, jacobian, _, error = dense(problem, variables, indices)
        rows, error = jacobian.reshape(-1, jacobian.shape[-1]), error.reshape(-1)
        matrix = rows.T @ rows + len(indices) * 0.1 * np.eye(rows.shape[1])
        return -np.linalg.solve(matrix, rows.T @ error)

    of_retain = solution(retain)
    delta = of_retain - solution(np.append(retain, problem.forget))
    miss = -of_retain
    lengths = np.linalg.norm(delta), np.linalg.norm(miss)
    cosine = delta @ miss / np.prod(lengths)
    angle = np.arccos(cosine) - (np.pi / 2 if cosine < 0 else 0)
    side = np.sin(angle) if cosine < 0 else np.cos(angle)
    length = lengths[0] + 2 * side * lengths[1]
    step = delta * length / lengths[0]
    fn, seen = case("ntk_scrub", problem, examples=0, forget_examples=0)
    after, info = fn(jax.random.key(0), variables, seen)
    moved = flat(after["params"]) - flat(variables["params"])
    assert np.linalg.norm(moved - step) < 5e-3 * np.linalg.norm(step)
    np.testing.assert_allclose(info["trapezium"], length / lengths[0], 5e-3)


# The Newton head


@pytest.mark.parametrize("kind", FORGET)
def test_newton_head_ends_at_the_optimum_of_the_retain_set(kind):
    problem = linear_problem(kind)
    variables = at_optimum(problem, np.arange(60))
    goal = flat(at_optimum(problem, np.asarray(problem.retain))["params"])
    settings = dict(weight_decay=PENALTY, iterations=60)
    fn, seen = case("newton_head", problem, steps=6, **settings)
    after, info = fn(jax.random.key(0), variables, seen)
    far = np.linalg.norm(flat(variables["params"]) - goal)
    assert np.linalg.norm(flat(after["params"]) - goal) < 5e-3 * far
    assert np.all(np.diff(info["objective"]) <= 1e-6)
    fn, seen = case("newton_head", problem, steps=1, **settings)
    first, _ = fn(jax.random.key(0), variables, seen)
    settings = dict(solver="cg", scale=1.0, examples=0, iterations=60, damping=PENALTY)
    removal, problem = case("influence", problem, **settings)
    if kind == "random":  # a full step is the best: w + H_r^-1 g_f
        expected, _ = removal(jax.random.key(0), variables, problem)
        assert_close(first, expected, 1e-2, 1e-3)


def test_newton_head_leaves_the_features(problem, variables):
    fn, seen = case("newton_head", problem, steps=8, iterations=60, weight_decay=0.05)
    after, _ = fn(jax.random.key(0), variables, seen)
    assert_equal(after["params"]["trunk"], variables["params"]["trunk"])
    trunk, retain = variables["params"]["trunk"], np.asarray(problem.retain)
    inputs = standard(problem, retain)
    features = np.tanh(inputs @ np.asarray(trunk["kernel"], np.float64) + trunk["bias"])
    goal = optimum(features, np.asarray(problem.labels)[retain], 0.05)
    np.testing.assert_allclose(flat(after["params"]["head"]), goal, atol=3e-3)


def test_newton_head_without_bias_and_after_a_pooled_convolution():
    """The head may be a 1x1 convolution before a global mean, or have no bias."""
    images, labels = tiny_data(30)
    net = create("allcnn", 3, width=2, norm="none")
    problem = make_problem(images, labels, [0], net, num_classes=3)
    variables = net.init(jax.random.key(0), problem.inputs(problem.forget))
    fn, seen = case("newton_head", problem, steps=3, weight_decay=1e-3)
    after, info = fn(jax.random.key(0), variables, seen)
    assert info["objective"][-1] < info["objective"][0]
    names = [n for n in after["params"] if n != "Conv_8"]
    assert len(names) == 8
    for name in names:
        assert_equal(after["params"][name], variables["params"][name])
    logits = np.asarray(net.apply(after, problem.inputs(problem.retain))[0])
    of_examples = -np.log(softmax(logits, -1)[np.arange(29), labels[1:]])
    squares = np.sum(flat(after["params"]["Conv_8"]) ** 2)
    final = of_examples.mean() + 1e-3 / 2 * squares
    assert final <= info["objective"][-1] + 1e-5

    problem = make_problem(images, labels, [0], linear_model(False), num_classes=3)
    variables = problem.model.init(None, jnp.zeros((1, 4, 4, 1)))
    fn, seen = case("newton_head", problem, steps=6, iterations=60, weight_decay=0.05)
    after, _ = fn(jax.random.key(0), variables, seen)
    goal = optimum(standard(problem, problem.retain), labels[1:], 0.05, bias=False)
    np.testing.assert_allclose(flat(after["params"]), goal, atol=3e-3)
