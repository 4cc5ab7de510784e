"""How much a function computes: the operations of its products and convolutions.

Counted in the traced program, so the same on every machine, and of loops as often as
they run. All else (activations, normalisations, updates) is left out.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


def count(fn: Callable, *args: Any) -> int:
    """Counts multiplications and additions of matrix products and convolutions.

    Args:
      fn: it is traced, not run.
      args: arrays, or their shapes and dtypes.

    Returns: of a loop whose rounds are not known before it runs, one round; of branches
      the largest.
    """
    return _of(jax.make_jaxpr(fn)(*args).jaxpr)


def _of(jaxpr: Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        inner = [equation.invars[0].aval.shape[axis] for axis in contracted]
        return 2 * math.prod(inner) * equation.outvars[0].aval.size
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        outputs = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
        return 2 * equation.outvars[0].aval.size * (kernel.size // outputs)
    if name == "cond":
        return max(_of(branch.jaxpr) for branch in params["branches"])
    rounds = params["length"] if name == "scan" else 1
    return rounds * sum(_of(inner) for inner in _inner(params))


def _inner(params: dict) -> list[Jaxpr]:
    found = []
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else [value]:
            if isinstance(one, ClosedJaxpr):
                found.append(one.jaxpr)
            elif isinstance(one, Jaxpr):
                found.append(one)
    return found
