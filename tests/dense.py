"""Dense float64 references for curvature; they share nothing but `model.apply`."""

import jax
import jax.numpy as jnp
import numpy as np
from conftest import tiny_data
from scipy.optimize import minimize
from scipy.special import softmax

from unlearn import Model, make_problem

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
    images = np.asarray(problem.examples, np.float64)[np.asarray(indices)] / 255
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


def expected_fisher(problem, variables, indices):
    _, jacobian, p, _ = dense(problem, variables, indices)
    total = 0
    for y in range(3):
        each = np.einsum("nk,nkp->np", p - np.eye(3)[y], jacobian)
        total = total + (p[:, [y]] * each**2).mean(0)
    return total
