"""NTK scrubbing: the difference that the forget set makes to a linearised net.

    w_D = -J^T (J J^T + n weight_decay I)^-1 (p - y)      of the examples D, n of them
    delta = w_r - w_(r and f)
    theta + scale (1 + 2 |<delta, e>| / |delta|^2) delta,    e = -w_r

J is the Jacobian of all logits in evaluation mode, p - y the error of the softmax: w_D
is where the net, linear in its weights, would go on D (ridge regression, solved with
the neural tangent kernel). The factor is the released code's trapezium trick, e the
error of the prediction w_r. J is dense, (examples + forget_examples) * classes *
parameters floats: for hundreds of examples, random ones of either set.

Golatkar et al., "Forgetting Outside the Box", ECCV 2020,
https://arxiv.org/abs/2003.02960: weight decay 0.1, small nets and all of 600 images.
Simplified: the initial weights, which e counts from, are not known here, the original
ones stand for them; no Fisher noise after the step; `scale` is ours. A net that fits
its data has errors near 0 and hardly moves with scale 1: on digits it took thousands.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from unlearn.curvature import draw, jacobian, map_examples
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables


@method(
    needs=("forget", "retain"),
    paper="arXiv:2003.02960",
    differs="some examples; linearised at the original, not the initial weights",
    search={"scale": (1.0, 1e4), "weight_decay": (1e-3, 1.0)},
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
    indices = jnp.append(retain, draw(keys[1], problem.forget, forget_examples))
    logits, rows = map_examples(lambda i: jacobian(variables, problem, i), indices)
    rows = rows.reshape(-1, rows.shape[-1])
    wanted = jax.nn.one_hot(
        problem.labels[indices], logits.shape[-1], dtype=logits.dtype
    )
    errors = (jax.nn.softmax(logits) - wanted).reshape(-1)
    kernel = jnp.matmul(rows, rows.T, precision="highest")

    def solution(count):
        size = count * logits.shape[-1]
        ridge = count * weight_decay * jnp.eye(size, dtype=kernel.dtype)
        weights = jax.scipy.linalg.solve(
            kernel[:size, :size] + ridge, errors[:size], assume_a="pos"
        )
        return -jnp.matmul(weights, rows[:size], precision="highest")

    of_retain, of_all = solution(len(retain)), solution(len(indices))
    delta = of_retain - of_all
    along = jnp.abs(delta @ of_retain) / jnp.maximum(delta @ delta, 1e-30)
    step = scale * (1 + 2 * along) * delta
    flat, unflatten = ravel_pytree(variables["params"])
    info = {"step": jnp.linalg.norm(step), "trapezium": 1 + 2 * along}
    return {**variables, "params": unflatten(flat + step)}, info
