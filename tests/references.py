"""Independent references for tests of methods: plain steps, losses and small nets."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from conftest import class_of_tiny_problem, tiny_data, tiny_problem

from unlearn.methods import METHODS
from unlearn.models import create, from_linen
from unlearn.problem import Model, withhold
from unlearn.training import cross_entropy


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
    problem = tiny_problem(linear_model(classes), num_classes=classes, **options)
    return problem, problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))


def softmax(logits):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


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


def kl(p, q):
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), -1)


FULL = dict(batch_size=42, weight_decay=0.0)  # a pass is one full batch


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.relu(nn.Conv(8, (1, 1))(x))
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        return nn.Dense(3)(x.reshape(len(x), -1))


def conv_case():
    """(problem, variables): as many forgotten as retained; nothing is exactly zero."""
    problem = tiny_problem(from_linen(ConvNet()), forget=20)
    variables = problem.model.init(jax.random.key(8), problem.inputs(problem.forget))
    return problem, jax.tree.map(lambda x: x + 0.01, variables)


def wide_case():
    """A net of four dense layers and its variables."""
    problem = tiny_problem(create("mlp", 3, widths=(128, 64, 32)))
    return problem, problem.model.init(jax.random.key(8), problem.inputs(jnp.arange(1)))


def prepare(name, problem, variables, **constants):
    """`(**floats) -> variables`; the method sees what it needs, no more."""
    info = METHODS[name]
    fn = jax.jit(functools.partial(info.fn, **constants))
    seen = withhold(problem, info.needs)
    return lambda **floats: fn(jax.random.key(3), variables, seen, **floats)[0]


def changed(before, after):
    """`{path: array of booleans}` of the parameters that differ at all."""
    old = jax.tree_util.tree_leaves_with_path(before["params"])
    new = jax.tree.leaves(after["params"])
    differ = {
        "/".join(k.key for k in path): np.asarray(a) != np.asarray(b)
        for (path, a), b in zip(old, new, strict=True)
    }
    return {path: d for path, d in differ.items() if d.any()}


def outputs(problem, variables, indices, train=True):
    """(logits, variables) from first principles."""
    inputs = problem.examples[indices] / 255.0
    inputs = (inputs - np.array(problem.preprocess.mean)) / np.array(
        problem.preprocess.std
    )
    return problem.model.apply(variables, inputs, train=train)


def ce(logits, labels):
    return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]


def gradient_of(loss, variables):
    """Gradient of `loss(variables) -> (loss, variables)`, and the variables after."""

    def of_params(params):
        return loss({**variables, "params": params})

    return jax.jit(jax.grad(of_params, has_aux=True))(variables["params"])


def step(loss, variables, rate, pace=None):
    """One plain gradient step; `pace` multiplies the gradient."""
    gradient, after = gradient_of(loss, variables)
    if pace is not None:
        gradient = jax.tree.map(jnp.multiply, gradient, pace)
    params = jax.tree.map(lambda p, g: p - rate * g, variables["params"], gradient)
    return {**after, "params": params}


def retain_loss(problem):
    def loss(variables):
        logits, variables = outputs(problem, variables, problem.retain)
        return ce(logits, problem.labels[problem.retain]).mean(), variables

    return loss


def counts(problem):
    """Retained examples by class; class 1 is forgotten, so it has none."""
    return [np.sum(np.asarray(problem.labels)[problem.retain] == c) for c in range(3)]


def uneven_class_problem():
    """Class 1 forgotten; 14 examples of class 0 retained and 5 of class 2."""
    problem = class_of_tiny_problem()
    kept = np.asarray(problem.retain)
    of_two = kept[np.asarray(problem.labels)[kept] == 2]
    return problem.replace(retain=jnp.asarray(np.setdiff1d(kept, of_two[:9])))


def forget_loss(problem, variables):
    logits, _ = problem.model.apply(variables, problem.inputs(problem.forget))
    return float(cross_entropy(logits, problem.labels[problem.forget]).mean())


def dense_fisher(problem, variables, indices):
    """Example by example, with nothing shared with the code under test."""
    total = jax.tree.map(np.zeros_like, variables["params"])
    for i in np.asarray(indices):

        def loss(params, i=i):
            x = problem.examples[i : i + 1] / 255.0
            x = (x - np.array(problem.preprocess.mean)) / np.array(
                problem.preprocess.std
            )
            logits, _ = problem.model.apply({**variables, "params": params}, x)
            return -jax.nn.log_softmax(logits)[0, problem.labels[i]]

        gradient = jax.grad(loss)(variables["params"])
        total = jax.tree.map(lambda t, g: t + np.asarray(g) ** 2, total, gradient)
    return jax.tree.map(lambda t: t / len(indices), total)


def losses_of(problem, variables, inputs, labels):
    return cross_entropy(problem.model.apply(variables, inputs)[0], labels)


def accuracies(problem, variables):
    """(of the retained classes, of the forgotten one) on fresh data."""
    images, labels = tiny_data(600, seed=5)
    inputs = problem.preprocess(jnp.asarray(images))
    right = np.argmax(problem.model.apply(variables, inputs)[0], -1) == labels
    return right[labels != 1].mean(), right[labels == 1].mean()
