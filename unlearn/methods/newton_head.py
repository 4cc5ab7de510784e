"""Newton removal on the head: the optimum without the forget set, features frozen.

    minimise  L_r(w) = E_r[CE(w phi(x), y)] + weight_decay / 2 |w|^2
    w - t H_r^-1 grad L_r(w),    the step t the best of 1, 1/2, ..., 1/32 and 0

phi is the input of the head in evaluation mode, computed once; w is its kernel and
bias, everything else keeps its bits. At the optimum of all data -R grad L_r is the
forget set's gradient (with its share of the regulariser), so the first step is the
removal w + H_r^-1 g_f of Guo et al., "Certified Data Removal from Machine Learning
Models", ICML 2020, https://arxiv.org/abs/1911.03030; elsewhere, and with more steps,
it ends at the optimum of the retain set all the same. H_r^-1 by conjugate gradient, so
that many classes fit in memory. Simplified: no perturbed training, so nothing is
certified (`unlearn.exact` does that); damped and iterated; a softmax.
"""

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

from unlearn import structure
from unlearn.training import cross_entropy, predict_set

STEPS = (1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 0.0)


def newton_head(
    key,
    variables,
    problem,
    *,
    weight_decay=5e-4,
    steps=5,
    iterations=50,
    batch_size=500,
):
    """Newton steps on the head; `info` has L_r before each step, `objective`.

    Raises:
      InputError: the model does not tell its activations.
    """
    del key
    path = structure.head(problem, variables)
    below = problem.replace(model=structure.feature_model(problem.model))
    features = predict_set(below, variables, problem.retain, batch_size)
    labels = problem.labels[problem.retain]

    def loss_fn(head):
        logits = structure.head_logits(head, features)
        squares = sum(jnp.sum(w**2) for w in jax.tree.leaves(head))
        return jnp.mean(cross_entropy(logits, labels)) + weight_decay / 2 * squares

    def step(head, _):
        loss, gradient = jax.value_and_grad(loss_fn)(head)

        def curved(vector):
            return jax.jvp(jax.grad(loss_fn), (head,), (vector,))[1]

        direction, _ = cg(curved, gradient, maxiter=iterations)

        def moved(size):
            return jax.tree.map(lambda w, d: w - size * d, head, direction)

        sizes = jnp.array(STEPS)
        losses = jax.lax.map(lambda size: loss_fn(moved(size)), sizes)
        return moved(sizes[jnp.argmin(losses)]), loss

    head = structure.at(variables["params"], path)
    head, losses = jax.lax.scan(step, head, length=steps)
    params = structure.replace(variables["params"], path, head)
    return {**variables, "params": params}, {"objective": losses}
