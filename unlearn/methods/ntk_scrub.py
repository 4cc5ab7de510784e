"""NTK scrubbing: the difference that the forget set makes to a linearised net.

    w_D = -J^T (J J^T + n weight_decay I)^-1 (p - y)      of the examples D, n of them
    delta = w_r - w_(r and f)
    theta + scale (1 + 2 |<delta, e>| / |delta|^2) delta,    e = -w_r

J is the Jacobian of all logits in evaluation mode, p - y the error of the softmax: w_D
is where the net, linear in its weights, would go on D (ridge regression, solved with
the neural tangent kernel). The factor is the released code's trapezium trick, e the
error of the prediction w_r. For hundreds of examples, random ones of either set: each
stands for as many as its set has to one drawn, so that both count in w_(r and f) by
their true sizes. J J^T is dense, (examples * classes)^2 floats; J is held in parts,
and computed again where it does not fit (`jacobians.gram`).

Golatkar et al., "Forgetting Outside the Box", ECCV 2020,
https://arxiv.org/abs/2003.02960: weight decay 0.1, small nets and all of 600 images.
Simplified: the initial weights, which e counts from, are not known here, the original
ones stand for them; no Fisher noise after the step; `scale` is ours. A net that fits
its data has errors near 0 and hardly moves with scale 1: on digits it took thousands.
"""

import jax
import jax.numpy as jnp
import optax

from unlearn.curvature import draw
from unlearn.jacobians import gram_of_logits, pull_back
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import predict_set


@method(
    needs=("forget", "retain"),
    paper="arXiv:2003.02960",
    differs="some examples; linearised at the original, not the initial weights; "
    "no Fisher noise; `scale`",
    search={"scale": (1.0, 1e5), "weight_decay": (1e-3, 100.0)},
)
def ntk_scrub(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    scale: float = 1.0,
    weight_decay: float = 0.1,
    examples: int = 100,
    forget_examples: int = 100,
) -> tuple[Variables, dict]:
    """Takes one step; `info` has its norm, `step`, and the `trapezium` factor."""
    keys = jax.random.split(key)
    retain = draw(keys[0], problem.retain, examples)
    forget = draw(keys[1], problem.forget, forget_examples)
    indices = jnp.append(retain, forget)
    logits = predict_set(problem, variables, indices)
    wanted = jax.nn.one_hot(
        problem.labels[indices], logits.shape[-1], dtype=logits.dtype
    )
    errors = jax.nn.softmax(logits) - wanted
    kernel = gram_of_logits(variables, problem, indices)

    def solution(shares):
        """The dual coefficients [n, K] of w_D; `shares`, float32[n], sum to one."""
        count = len(shares)
        roots = jnp.repeat(jnp.sqrt(shares), logits.shape[-1])
        size = len(roots)
        matrix = roots[:, None] * kernel[:size, :size] * roots
        matrix += weight_decay * jnp.eye(size, dtype=matrix.dtype)
        weights = jax.scipy.linalg.solve(
            matrix, roots * errors[:count].reshape(-1), assume_a="pos"
        )
        return -(roots * weights).reshape(count, -1)

    def equal(indices, share):
        return jnp.full(len(indices), share / len(indices), jnp.float32)

    share = problem.forget_share
    of_retain = solution(equal(retain, 1.0))
    of_all = solution(jnp.append(equal(retain, 1 - share), equal(forget, share)))
    difference = jnp.pad(of_retain, [(0, len(forget)), (0, 0)]) - of_all
    w_retain = pull_back(variables, problem, retain, of_retain)
    delta = pull_back(variables, problem, indices, difference)
    aligned = sum(
        jnp.vdot(d, w, precision="highest")
        for d, w in zip(*map(jax.tree.leaves, (delta, w_retain)), strict=True)
    )
    factor = 1 + 2 * jnp.abs(aligned) / jnp.maximum(optax.tree.norm(delta) ** 2, 1e-30)
    step = jax.tree.map(lambda d: scale * factor * d, delta)
    params = jax.tree.map(jnp.add, variables["params"], step)
    info = {"step": optax.tree.norm(step), "trapezium": factor}
    return {**variables, "params": params}, info
