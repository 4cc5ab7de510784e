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
certified (`unlearn.training_time` does that); damped and iterated; a softmax.
"""

import jax
import jax.numpy as jnp

from unlearn import surgery
from unlearn.curvature import conjugate_gradient
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import cross_entropy, predict_set

STEPS = (1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 0.0)


@method(
    needs=("retain",),
    paper="arXiv:1911.03030",
    differs="no perturbed training: not certified; iterated; a softmax",
    search={"weight_decay": (1e-6, 1e-2)},
)
def newton_head(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    weight_decay: float = 5e-4,
    steps: int = 5,
    iterations: int = 50,
    batch_size: int = 500,
) -> tuple[Variables, dict]:
    """Takes Newton steps on the head; `info` has L_r before each, `objective`.

    Raises:
      InputError: the model has no `activations`.
    """
    del key
    path = surgery.head(problem, variables)
    below = problem.replace(model=surgery.feature_model(problem.model))
    features = predict_set(below, variables, problem.retain, batch_size)
    labels = problem.labels[problem.retain]
    scale = surgery.head_scale(problem, variables, problem.retain, features)

    def loss_fn(head):
        logits = scale * surgery.head_logits(head, features)
        squares = sum(jnp.sum(w**2) for w in jax.tree.leaves(head))
        return jnp.mean(cross_entropy(logits, labels)) + weight_decay / 2 * squares

    def step(head, _):
        loss, gradient = jax.value_and_grad(loss_fn)(head)

        def curved(vector):
            return jax.jvp(jax.grad(loss_fn), (head,), (vector,))[1]

        direction = conjugate_gradient(curved, gradient, iterations)

        def moved(size):
            return jax.tree.map(
                lambda w, d: (w - size * d).astype(w.dtype), head, direction
            )

        sizes = jnp.array(STEPS, jnp.float32)
        losses = jax.lax.map(lambda size: loss_fn(moved(size)), sizes)
        return moved(sizes[jnp.argmin(losses)]), loss

    head = surgery.at(variables["params"], path)
    head, losses = jax.lax.scan(step, head, length=steps)
    params = surgery.replace(variables["params"], path, head)
    return {**variables, "params": params}, {"objective": losses}
