"""Gradients of a float16 net, which would underflow: larger on their way through it.

Loss scaling, as a property of the model: what comes back into the logits is multiplied
by `SCALE`, and what leaves at the parameters and the inputs is divided by it. So every
method, curvature and attack has gradients of the size that they are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from unlearn.problem import Model

SCALE = 2.0**10  # float16 holds 6e-8 to 65504


def scaled(model: Model) -> Model:
    """Returns the model with its loss scaled inside, and its gradients as they are."""

    def inside(fn):
        def call(variables, inputs, **options):
            params = times(variables["params"], 1 / SCALE)
            given = {**variables, "params": params}
            *found, new = fn(given, times(inputs, 1 / SCALE), **options)
            return *times(found, SCALE), {**new, "params": variables["params"]}

        return call

    look = model.activations and inside(model.activations)
    return model._replace(apply=inside(model.apply), activations=look)


def times(tree: Any, factor: float) -> Any:
    """Returns a tree as it is; what comes back to its floats is multiplied."""

    def one(x):
        floats = jnp.issubdtype(jnp.result_type(x), jnp.floating)
        return backward_p.bind(x, factor=factor) if floats else x

    return jax.tree.map(one, tree)


def _primitive(name: str, forward, transpose) -> Primitive:
    made = Primitive(name)
    made.def_impl(forward)
    made.def_abstract_eval(lambda x, *, factor: x)
    ad.deflinear2(made, lambda back, x, *, factor: [transpose(back, factor)])
    batching.defvectorized(made)
    mlir.register_lowering(made, mlir.lower_fun(forward, multiple_results=False))
    return made


# On the way back of the way back all is scaled already.
forward_p = _primitive(
    "times_on_the_way_forward",
    lambda x, *, factor: x * jnp.asarray(factor, x.dtype),
    lambda back, factor: back,
)
backward_p = _primitive(
    "times_on_the_way_back",
    lambda x, *, factor: x,
    lambda back, factor: forward_p.bind(back, factor=factor),
)
