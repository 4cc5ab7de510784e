"""What is kept of the models of a run, and what is measured on it."""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from unlearn import devices, memory, metrics, spread, store, training
from unlearn.errors import InputError
from unlearn.metrics import Outputs
from unlearn.metrics.accuracy import row_blocks
from unlearn.pipeline import checks
from unlearn.pipeline.setup import Run
from unlearn.problem import Model, Problem, Variables, count, joined, rows

BLOCK = 2**24  # entries of logits that are computed at once where there are many

ADVICE = "set data.resident=False or lower data.examples"


def predict_examples(
    problem: Problem, variables: Variables, examples: Any
) -> np.ndarray:
    """Returns the logits float32[N, K] of a tree of arrays [N, ...].

    Raises:
      InputError: that takes more memory than a device has.
    """
    args = variables, spread.replicate(examples, problem.mesh)
    return np.asarray(_predict_program(problem, *args)(*args))


def _predict_program(problem: Problem, *args: Any) -> Callable[..., jax.Array]:
    fn = predictor(problem.model, problem.preprocess, problem.mesh)
    execute, _ = devices.compiled(fn, *args)
    memory.check(execute, "evaluation", ADVICE)
    return execute


def check_memory(run: Run, variables: Variables) -> None:
    """Checks, before any is trained, that models can be evaluated.

    Raises:
      InputError: that takes more memory than a device has.
    """
    parts = [examples for examples, _ in sets_of(run).values()]
    tests, classes = len(run.sets.test_labels), run.problem.num_classes
    if checks.count_logits(run.problem, tests) > checks.MOST_LOGITS:
        most = max(1, BLOCK // classes)
        seen = max((next(blocks(part, most))[1] for part in parts), key=count)
    elif run.problem.mesh is None:
        seen = jax.eval_shape(joined, *parts)
    else:
        seen = joined(*parts)
    _predict_program(run.problem, variables, spread.replicate(seen, run.problem.mesh))


@functools.lru_cache(maxsize=64)
def predictor(
    model: Model, preprocess: Callable[[Any], Any], mesh: Mesh | None
) -> Callable[..., jax.Array]:
    """Returns `training.predict` of a model, always the same function."""

    def predict(variables, examples):
        return training.predict(model, variables, examples, preprocess, mesh=mesh)

    return predict


def evaluate(run: Run, predict: Callable[[Any], ArrayLike]) -> dict[str, np.ndarray]:
    """Computes what is kept of a model, on training, test and validation set.

    Raises:
      InputError: its outputs are probabilities; they are to be in a file, and it cannot
        be written.

    Returns: `train_logits` float32[N, K] and so on, by the name of the set; of more
      than `checks.MOST_LOGITS` of them, for an audit the same in a file that has no
      name, else `train_losses` float64[N] and `train_predictions` int[N]. What is not
      finite is so in the losses as well.
    """
    sets = sets_of(run)
    logits = checks.count_logits(run.problem, len(run.sets.test_labels))
    if logits <= checks.MOST_LOGITS:
        parts = [examples for examples, _ in sets.values()]
        logits = np.asarray(predict(joined(*parts)))
        refuse_probabilities(logits)
        parts = np.split(logits, np.cumsum([count(part) for part in parts])[:-1])
        return {f"{name}_logits": part for name, part in zip(sets, parts, strict=True)}
    found, classes = {}, run.problem.num_classes
    for name, (examples, labels) in sets.items():
        if "audit" in run.config:
            answers = answers_of(predict, examples, classes)
            found[f"{name}_logits"] = in_file(run, answers, (len(labels), classes))
            continue
        seen = outputs(predict, examples, labels, classes)
        found |= {f"{name}_{key}": values for key, values in seen._asdict().items()}
    return found


def in_file(
    run: Run, parts: Iterable[np.ndarray], shape: tuple[int, int]
) -> np.ndarray:
    """Writes the rows of an array float32[N, K] one after another, and maps the file.

    It lies in the run's folder without a name, and is gone with the array.

    Raises:
      InputError: it cannot be written, or the rows are others than those of `shape`.
    """
    written = 0
    with contextlib.ExitStack() as stack:
        with _writing(run):
            file = stack.enter_context(tempfile.TemporaryFile(dir=run.folder))
        for part in parts:
            if part.shape[1:] != shape[1:]:
                raise InputError(
                    f"the model answers with {list(part.shape[1:])} logits an "
                    f"example, and there are {shape[1]} classes"
                )
            with _writing(run):
                file.write(np.ascontiguousarray(part, np.float32).data)
            written += len(part)
        if written != shape[0]:
            raise InputError(f"the model answers {written} of {shape[0]} examples")
        with _writing(run):
            file.flush()
        return np.memmap(file, np.float32, "r", shape=shape)


@contextlib.contextmanager
def _writing(run: Run) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise store.cannot_write(run.folder / "evaluations", error) from error


def each_row(
    run: Run, fn: Callable[[np.ndarray], np.ndarray], logits: np.ndarray
) -> np.ndarray:
    """Applies a function of rows to logits [N, K]; to many by parts, see `in_file`."""
    if logits.size <= checks.MOST_LOGITS:
        return fn(logits)
    answers = (fn(part) for (part,) in row_blocks(logits, entries=BLOCK))
    return in_file(run, answers, logits.shape)


def answers_of(
    predict: Callable[[Any], ArrayLike], examples: Any, classes: int
) -> Iterator[np.ndarray]:
    """Yields logits [n, K] of all examples, a block of them after the other.

    Raises:
      InputError: they are probabilities.
    """
    total = count(examples)
    for start, block in blocks(examples, max(1, BLOCK // classes)):
        logits = np.asarray(predict(block))[: total - start]
        refuse_probabilities(logits)
        yield logits


def all_finite(evaluation: Mapping[str, np.ndarray]) -> bool:
    """Says whether all that is kept of a model is finite."""
    return all(
        np.isfinite(part).all()
        for values in evaluation.values()
        for (part,) in row_blocks(values)
    )


def refuse_probabilities(logits: np.ndarray) -> None:
    """Refuses outputs [N, K] that are not negative and add up to 1.

    Raises:
      InputError: they are probabilities, so losses and attacks would be wrong.
    """
    if logits.min() >= 0 and np.allclose(logits.sum(1), 1, atol=1e-3):
        raise InputError(
            "the model returns probabilities and must return logits: leave out the "
            "softmax at its end"
        )


def sets_of(run: Run) -> dict[str, tuple[Any, np.ndarray]]:
    """Returns examples and labels of training, test and validation set by name."""
    problem, held_out = run.problem, run.problem.validation
    sets = {
        "train": (problem.examples, run.sets.train_labels),
        "test": (run.test_examples, run.sets.test_labels),
    }
    if held_out is not None:
        sets["validation"] = held_out.examples, np.asarray(held_out.labels)
    return sets


def outputs(
    predict: Callable[[Any], ArrayLike], examples: Any, labels: np.ndarray, classes: int
) -> Outputs:
    """Computes losses and predictions a block of examples after the other."""
    parts, start = [], 0
    for logits in answers_of(predict, examples, classes):
        with np.errstate(invalid="ignore"):
            seen = metrics.outputs(logits, labels[start : start + len(logits)])
        start += len(logits)
        finite = np.isfinite(logits).all(axis=1)
        parts.append(seen._replace(losses=np.where(finite, seen.losses, np.nan)))
    return Outputs(*map(np.concatenate, zip(*parts, strict=True)))


def blocks(examples: Any, most: int) -> Iterator[tuple[int, Any]]:
    """Yields the first index and the rows of blocks, all of one size: one program.

    The last one is filled up with the first examples.
    """
    total = count(examples)
    size = -(-total // -(-total // most))
    for start in range(0, total, size):
        yield start, rows(examples, np.arange(start, start + size) % total)


def measure(run: Run, evaluation: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Computes the standard metrics from what `evaluate` returns."""
    sets = run.sets
    return metrics.measure_outputs(
        metrics.outputs_of(evaluation, "train", sets.train_labels),
        sets.train_labels,
        sets.forget,
        sets.retain,
        metrics.outputs_of(evaluation, "test", sets.test_labels),
        sets.test_labels,
        forget_classes=sets.forget_classes,
        attack_examples=run.config.attack_examples,
    )
