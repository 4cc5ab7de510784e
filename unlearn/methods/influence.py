"""Influence unlearning: one Newton step to the optimum without the forget set.

    theta + scale (H + damping I)^-1 v,    v = grad E_all[CE] - grad E_r[CE]

v is what the loss's gradient loses with the forget set, F / (F + R) (g_f - g_r) of the
mean gradients: where all gradients (and the pull of an L2 regulariser, as damping) add
up to nothing, it is the descent direction of the retain loss, and with scale 1 the step
is Newton's on it. H is of the retain set, by `solver`:

    "cg"          the Gauss-Newton matrix, `iterations` steps of conjugate gradient
    "woodfisher"  the Fisher matrix of the examples' gradients, inverted exactly
                  (`curvature.woodfisher`; examples^2 numbers in memory)

Koh & Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017,
https://arxiv.org/abs/1703.04730; for unlearning with WoodFisher Jia et al., NeurIPS
2023, https://arxiv.org/abs/2304.04934: 1000 examples, damping 1, scale to be tuned.
Where a net fits its data the Fisher matrix is far smaller than the Gauss-Newton one and
damping 1 hides both: 1e-4 with "cg" and scale 1 did well on the digits.
Released code decays the recursion with the first gradient only, and on ImageNet takes
the retain gradient on the forget set. Simplified: the curvature, but not the gradients,
is of a random `examples` of the retain set (0: all). `retain_examples` would sample the
gradient too: leave it 0.
"""

import jax
import jax.numpy as jnp
import optax

from unlearn.curvature import (
    conjugate_gradient,
    draw,
    gauss_newton_product,
    mean_gradient,
    woodfisher,
)
from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import classification

SOLVERS = ("cg", "woodfisher")


@method(
    needs=("forget", "retain"),
    paper="arXiv:1703.04730",
    differs="Fisher or Gauss-Newton matrix of some examples for the Hessian",
    search={"scale": (0.1, 10.0), "damping": (1e-5, 1e-2)},
)
def influence(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    scale: float = 1.0,
    damping: float = 1e-4,
    solver: str = "cg",
    examples: int = 1000,
    iterations: int = 20,
    batch_size: int = 256,
) -> tuple[Variables, dict]:
    """Takes one step; `info` has the norms of v, `gradient`, and of the `step`.

    Raises:
      InputError: an unknown solver.
    """
    if solver not in SOLVERS:
        raise InputError(f"unknown solver {solver!r}: {', '.join(SOLVERS)}")
    objective = classification(problem.model, train=False)
    share = problem.forget_share
    on_forget, on_retain = (
        mean_gradient(objective, variables, problem, indices, batch_size)
        for indices in (problem.forget, problem.retain)
    )
    v = jax.tree.map(lambda f, r: share * (f - r), on_forget, on_retain)
    chosen = draw(key, problem.retain, examples)

    def damped(vector):
        product = gauss_newton_product(
            variables, problem, chosen, vector, batch_size=batch_size
        )
        return jax.tree.map(lambda g, u: g + damping * u, product, vector)

    if solver == "woodfisher":
        move = woodfisher(variables, problem, chosen, v, damping)
    else:
        move = conjugate_gradient(damped, v, iterations)
    step = jax.tree.map(lambda m: scale * m, move)
    params = jax.tree.map(jnp.add, variables["params"], step)
    norms = {"gradient": optax.tree.norm(v), "step": optax.tree.norm(step)}
    return {**variables, "params": params}, norms
