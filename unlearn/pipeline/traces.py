"""What a trace tells of a run's methods, before anything is trained."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from unlearn import methods
from unlearn.errors import InputError
from unlearn.pipeline.checks import parts_of
from unlearn.pipeline.method_programs import method_function, seen_as
from unlearn.pipeline.setup import Run, template
from unlearn.problem import Variables


def check_methods(run: Run, names: Sequence[str]) -> None:
    """Traces each method of which nothing is there yet, before anything is trained.

    Raises:
      InputError: it refuses its constants or the problem, does not know one of the
        constants, or returns something else than variables like those given, and a
        dict.
    """
    new = (n for n in names if not (run.folder / "evaluations" / n).exists())
    key, variables = jax.random.key(0), template(run.problem)
    for part in parts_of(tuple(new)):
        info = methods.METHODS.get(part)
        if info is None or part == "retrain":
            continue
        settings = run.config.methods[part]
        check_names(part, info.fn, settings)
        problem = seen_as(run, part, variables)
        fn = method_function(info.fn, tuple(settings.items()))
        try:
            result = jax.eval_shape(jax.jit(fn), key, variables, problem)
        except InputError as error:
            raise InputError(f"methods.{part}: {error}") from None
        except Exception:  # where it is run, it is said with its place
            continue
        check_result(part, result, variables)


def check_names(name: str, fn: Callable, settings: Mapping[str, Any]) -> None:
    """Refuses constants that a method does not take."""
    taken = inspect.signature(fn).parameters
    if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return
    unknown = [key for key in settings if key not in (*taken, "retain_examples")]
    if unknown:
        constants = [p.name for p in taken.values() if p.kind is p.KEYWORD_ONLY]
        raise InputError(
            f"methods.{name}.{unknown[0]}: {name} has no such constant: it has "
            f"{', '.join(constants) or 'none'}"
        )


def check_result(name: str, result: Any, variables: Variables) -> None:
    """Refuses what is not variables of the same tree and shapes, and a dict."""
    must = "it must return (variables, info), the variables as they came and a dict"
    if not (
        isinstance(result, tuple)
        and len(result) == 2
        and isinstance(result[1], Mapping)
    ):
        what = type(result).__name__
        if isinstance(result, tuple):
            what = f"({', '.join(type(part).__name__ for part in result)})"
        raise InputError(f"method {name} returns {what}: {must}")
    if jax.tree.structure(result[0]) != jax.tree.structure(variables):
        raise InputError(
            f"method {name} returns variables with other names in them: {must}"
        )
    for (path, leaf), was in zip(
        jax.tree_util.tree_leaves_with_path(result[0]),
        jax.tree.leaves(variables),
        strict=True,
    ):
        if leaf.shape != was.shape:
            place = jax.tree_util.keystr(path, simple=True, separator="/")
            raise InputError(
                f"method {name} returns {place} of shape {list(leaf.shape)}, and it "
                f"was {list(was.shape)}: {must}"
            )
