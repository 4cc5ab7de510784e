"""The programs of a run's methods: what each sees, and whether it fits a device."""

import contextlib
import functools
import inspect
import traceback
from collections.abc import Callable, Generator, Iterable
from typing import Any

import jax

from unlearn import devices, memory, methods
from unlearn import problem as problems
from unlearn.errors import InputError
from unlearn.pipeline.checks import parts_of
from unlearn.pipeline.setup import Run
from unlearn.problem import Problem, Variables

TO_COME = "methods to come"
"""Under this name a run remembers the methods of which a row is not there yet."""


def withheld(run: Run, needs: tuple[str, ...]) -> Problem:
    """Returns the problem with what `needs` names; its copies live with the run."""
    sets = tuple(name for name in ("forget", "retain") if name in needs)
    cut = run.remember(
        f"only {sets}", None, lambda: problems.cut_to_sets(run.problem, sets)
    )
    return problems.drop_fields(cut, needs)


def seen_as(run: Run, part: str, variables: Variables) -> Problem:
    """Returns what a method may see, with these for early weights: to trace it."""
    info = methods.METHODS[part]
    epochs = info.early_epochs(run.config.methods.get(part, {}))
    kept = dict.fromkeys(epochs, variables)
    return withheld(run, info.needs).replace(early=kept or None)


def function_of(run: Run, part: str) -> tuple[Callable, tuple]:
    """Returns a method with the constants of a run, and these."""
    constants = tuple(run.config.methods[part].items())
    return method_function(methods.METHODS[part].fn, constants), constants


@functools.lru_cache(maxsize=256)
def method_function(
    fn: Callable, constants: tuple[tuple[str, Any], ...]
) -> Callable[[jax.Array, Variables, Problem], tuple[Variables, dict]]:
    """Returns the method with its constants as `fn(key, variables, problem)`.

    The same arguments give the same function, so that what was compiled is found again.
    """
    return functools.partial(run_method, fn, **dict(constants))


def run_method(
    fn: Callable,
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    retain_examples: int = 0,
    **constants: Any,
) -> tuple[Variables, dict]:
    """Runs a method, on a part of the retain set if that is set.

    `retain_examples` is the pipeline's, not the method's: 0, or the size of the random
    part of the retain set that it gets.
    """
    if retain_examples:
        key, key_sample = jax.random.split(key)
        problem = problems.sample_retain(key_sample, problem, retain_examples)
    return fn(key, variables, problem, **constants)


@contextlib.contextmanager
def mistakes_of(info: methods.MethodInfo) -> Generator[None, None, None]:
    """Raises what fails inside a user's method as one line, with its file and line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        file = inspect.getsourcefile(inspect.unwrap(info.fn))
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == file
        ]
        if not info.source_hash() or not lines:
            raise
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(
            f"method {info.name} fails ({file}, line {lines[-1]}): "
            f"{type(error).__name__}: {first}; it sees {', '.join(info.needs)} alone"
        ) from error


def check_methods_fit(run: Run, variables: Variables) -> None:
    """Checks that the methods to come fit a device; their programs are kept.

    Raises:
      InputError: the first that does not fit.
    """
    ahead, before = run.remember("compiled ahead", None, dict), set(run.cache)
    for part in parts_of(run.cache.get(TO_COME, (None, ()))[1]):
        if part not in methods.METHODS or part in ahead:
            continue
        fn, constants = function_of(run, part)
        run.progress.tick(f"{part}  does it fit?")
        with mistakes_of(methods.METHODS[part]):
            args = jax.random.key(0), variables, seen_as(run, part, variables)
            execute, ahead[part] = devices.compiled(fn, *args)
        memory.check(execute, part, advice_on_memory(part, constants))
    for copies in set(run.cache) - before:
        del run.cache[copies]  # of the sets: training needs the room


def advice_on_memory(name: str, constants: Iterable[tuple[str, Any]]) -> str:
    """Says which settings of a method make its program smaller."""
    ends = "batch_size", "examples"
    sizes = [option for option, value in constants if value and option.endswith(ends)]
    if not sizes:
        return f"set methods.{name}.retain_examples"
    return f"lower {' or '.join(f'methods.{name}.{option}' for option in sizes)}"
