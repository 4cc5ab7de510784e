"""How much a function computes: the operations of its products and convolutions.

Counted in the traced program, so the same on every machine. All else (activations,
normalisations, updates) is left out. What depends on data, such as when a method stops,
`done` counts in a run.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


def count(fn: Callable, *args: Any) -> int:
    """Counts multiplications and additions of matrix products and convolutions.

    Args:
      fn: it is traced, not run.
      args: arrays, or their shapes and dtypes.

    Returns: of a loop whose rounds are not known before it runs, one round; of branches
      the largest.
    """
    return _of(jax.make_jaxpr(fn)(*args).jaxpr)


def done(fn: Callable, *args: Any) -> int:
    """Counts what a run does: as `count`, loops and branches as they were taken.

    Args:
      fn: it is run only if something in it depends on data.
      args: arrays; where nothing depends on data their shapes will do.

    Returns: to a ten thousandth if it was run, else exact.
    """
    closed = jax.make_jaxpr(fn)(*args)
    if all(map(_certain, closed.jaxpr.eqns)):
        return _of(closed.jaxpr)

    def counted(*leaves):
        return _run(closed.jaxpr, closed.consts, leaves)[1]

    return round(float(jax.jit(counted)(*jax.tree.leaves(args))))


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
    if name == "custom_linear_solve":  # how its transpose is solved is not computed
        return _of(params["jaxprs"].solve.jaxpr)
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


# What depends on data


def _certain(equation) -> bool:
    """Says whether an equation always computes as much."""
    name, inner = equation.primitive.name, _inner(equation.params)
    if name == "while" and sum(map(_of, inner)):
        return False
    if name == "cond" and len(set(map(_of, inner))) > 1:
        return False
    return all(_certain(each) for jaxpr in inner for each in jaxpr.eqns)


def _run(jaxpr: Jaxpr, consts: Sequence, args: Sequence) -> tuple[list, jax.Array]:
    """Evaluates a program and counts: `(outputs, float32)`."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    sure, more = 0, jnp.float32(0)
    for equation in jaxpr.eqns:
        given = [_read(values, variable) for variable in equation.invars]
        if _certain(equation):
            sure += _of_equation(equation)
            params = equation.primitive.get_bind_params(equation.params)
            if isinstance(params, tuple):  # to jax 0.9: functions apart
                given, params = [*params[0], *given], params[1]
            out = equation.primitive.bind(*given, **params)
            out = out if equation.primitive.multiple_results else [out]
        else:
            out, count = _taken(equation, given)
            more += count
        values |= zip(equation.outvars, out, strict=True)
    return [_read(values, variable) for variable in jaxpr.outvars], more + float(sure)


def _read(values: dict, variable: Any) -> Any:
    return variable.val if isinstance(variable, Literal) else values[variable]


def _taken(equation, given: list) -> tuple[list, jax.Array]:
    """Evaluates an equation of which it depends on data how much it computes."""
    name, params = equation.primitive.name, equation.params
    if name == "cond":
        branches = [
            lambda *args, branch=branch: _run(branch.jaxpr, branch.consts, args)
            for branch in params["branches"]
        ]
        return jax.lax.switch(given[0], branches, *given[1:])
    if name == "scan":
        body = params["jaxpr"]
        if "ft_in" in params:  # from jax 0.11
            fixed, carried, _ = map(len, params["ft_in"].unpack())
        else:
            fixed, carried = params["num_consts"], params["num_carry"]
        carried += fixed

        def step(carry, rows):
            args = *given[:fixed], *carry, *rows
            out, count = _run(body.jaxpr, body.consts, args)
            return out[: len(carry)], (out[len(carry) :], count)

        start, rows = given[fixed:carried], given[carried:]
        more = dict(length=params["length"], reverse=params["reverse"])
        carry, (stacked, counts) = jax.lax.scan(step, start, rows, **more)
        return [*carry, *stacked], counts.sum()
    if name == "while":
        first = params["cond_nconsts"]
        fixed = first + params["body_nconsts"]
        condition, body = params["cond_jaxpr"], params["body_jaxpr"]

        def goes_on(state):
            args = *given[:first], *state[0]
            return _run(condition.jaxpr, condition.consts, args)[0][0]

        def turn(state):
            args = *given[first:fixed], *state[0]
            out, count = _run(body.jaxpr, body.consts, args)
            return out, state[1] + count + float(_of(condition.jaxpr))

        start = given[fixed:], jnp.float32(float(_of(condition.jaxpr)))
        return jax.lax.while_loop(goes_on, turn, start)
    if name == "custom_linear_solve":
        lengths, solve = params["const_lengths"], params["jaxprs"].solve
        first = lengths.matvec + lengths.vecmat
        args = *given[first : first + lengths.solve], *given[sum(lengths) :]
        return _run(solve.jaxpr, solve.consts, args)
    (inner,) = [one for one in params.values() if isinstance(one, Jaxpr | ClosedJaxpr)]
    closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, [])
    return _run(closed.jaxpr, closed.consts, given)
