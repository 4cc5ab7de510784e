"""The models of a run: the original, the retrained one, and what methods make of them.

Every model is kept as a checkpoint, so that a stopped run continues where it was.
"""

import functools
import math
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import (
    devices,
    memory,
    methods,
    metrics,
    spread,
    store,
    training,
    training_time,
)
from unlearn import problem as problems
from unlearn.errors import InputError
from unlearn.pipeline import imported
from unlearn.pipeline.checks import split_chain
from unlearn.pipeline.epochs import epoch_seconds, train_functions
from unlearn.pipeline.evaluation import check_memory, predict_examples
from unlearn.pipeline.method_programs import (
    advice_on_memory,
    check_methods_fit,
    function_of,
    mistakes_of,
    withheld,
)
from unlearn.pipeline.setup import Run, template
from unlearn.problem import Problem, Variables

CHECKPOINT_SECONDS = 1.0
"""Epochs shorter than this share a checkpoint: writing one takes about 0.05 s, and an
epoch of `digits_forget` 0.015 s."""


class Diverged(InputError):
    """A loss or a weight that is not finite; `info` has the seconds that it took."""

    def __init__(self, message: str, info: dict | None = None):
        super().__init__(message)
        self.info = info or {}


def key_of(seed: int, name: str) -> jax.Array:
    """Returns a key of its own for each model of each seed, whatever else is run."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))


def make_model(run: Run, name: str, seed: int) -> tuple[Variables, dict]:
    """Returns `(variables, info)`, from the checkpoint if there is one.

    The variables lie where the problem does.
    """
    final = run.checkpoints(name, seed) / "final"
    if final.exists():
        delete_siblings(final)
        variables, info = store.load_checkpoint(final, template(run.problem))
        check_identity(run, final, info, name, seed)
        return spread.replicate(variables, run.problem.mesh), info
    make = train if name in ("original", "retrain") else apply_method
    if imported.file_of(run.config, name, seed):
        make = import_model
    variables, info = make(run, name, seed)
    store.save_checkpoint(final, variables, info | {"of": run.identity(name, seed)})
    delete_siblings(final)
    return spread.replicate(variables, run.problem.mesh), info


def check_identity(run: Run, path: Path, info: dict, name: str, seed: int) -> None:
    """Checks that a checkpoint is the one that belongs in its place.

    Raises:
      InputError: it is of another run, model or seed.
    """
    if info.get("of") != run.identity(name, seed):
        raise InputError(
            f"{path} is of another run or model: delete that folder, {store.ANEW}"
        )


def delete_siblings(final: Path) -> None:
    """Deletes checkpoints of single epochs, and what a kill left of them."""
    store.delete(*(path for path in final.parent.iterdir() if path != final))


def original(run: Run, seed: int) -> Variables:
    """Returns the original model of a seed; the last one stays in memory."""
    return run.remember("original", seed, lambda: make_model(run, "original", seed)[0])


def import_model(run: Run, name: str, seed: int) -> tuple[Variables, dict]:
    """Reads the original or the reference of a seed from its file."""
    variables = imported.load(run.config, name, seed, template(run.problem))
    return variables, dict(imported.INFO)


def seen(run: Run, part: str, seed: int) -> Problem:
    """Returns what a method may see, the seed's early weights included."""
    info = methods.METHODS[part]
    problem = withheld(run, info.needs)
    epochs = info.early_epochs(run.config.methods.get(part, {}))
    if not epochs:
        return problem
    kept = run.remember("early", (seed, epochs), lambda: early(run, seed, epochs))
    return problem.replace(early=kept)


# Training


def early(run: Run, seed: int, epochs: Sequence[int]) -> dict[int, Variables]:
    """Returns the original after some epochs, trained again to the same bits."""
    recipe = training.Recipe(**run.config.train)
    problem, indices = run.problem, jnp.arange(len(run.problem.labels))
    begin, advance = train_functions(problem.model, recipe, len(indices))
    key_init, key_fit = jax.random.split(key_of(seed, "original"))
    state = devices.compiled(begin, key_init, problem)[0](key_init, problem)
    keys = training.epoch_keys(key_fit, recipe.epochs)
    first = problem.in_epoch(key_fit, 0)
    advance, _ = devices.compiled(advance, keys[0], state, first, indices)
    found = {}
    for number in range(max(epochs) + 1):
        if number in epochs:
            found[number] = jax.tree.map(jnp.copy, state.variables)
        if number < max(epochs):
            now = problem.in_epoch(key_fit, number)
            state, _ = advance(keys[number], state, now, indices)
    return found


def train(run: Run, name: str, seed: int) -> tuple[Variables, dict]:
    """Trains the original or the retrained model; a checkpoint an epoch.

    Epochs that follow each other within a second share one.

    Raises:
      Diverged: the loss is not finite.
    """
    problem, indices = run.problem, jnp.arange(len(run.problem.labels))
    if name == "retrain":
        problem = withheld(run, methods.METHODS[name].needs)
        indices = problem.retain
    recipe = training.Recipe(**run.config.train)
    begin, advance = train_functions(problem.model, recipe, len(indices))
    key_init, key_fit = jax.random.split(key_of(seed, name))
    keys = training.epoch_keys(key_fit, recipe.epochs)

    begin, compile_begin = devices.compiled(begin, key_init, problem)
    state = begin(key_init, problem)
    first = problem.in_epoch(key_fit, 0)
    advance, compile_advance = devices.compiled(advance, keys[0], state, first, indices)
    note = memory.check(advance, f"an epoch of {name}")
    if note and compile_advance:
        run.progress.say(note)
    run.remember("fits", None, lambda: check_fit(run, state.variables, bool(note)))
    folder, seconds, done = run.checkpoints(name, seed), 0.0, 0
    saved = store.epoch_checkpoints(folder)
    if saved:
        done, path = saved[-1]
        state, info = store.load_checkpoint(path, state)
        check_identity(run, path, info, name, seed)
        seconds = info["seconds"]
    elif run.progress.wonders:
        args = keys[0], state, first, indices
        run.progress.foresee(recipe.epochs * epoch_seconds(*args, recipe))
    rewind(run.log, name, seed, done)
    what, held_out = held_out_set(run)
    last_saved = time.perf_counter()
    for number in range(done + 1, recipe.epochs + 1):
        started = time.perf_counter()
        now = problem.in_epoch(key_fit, number - 1)
        state, loss = advance(keys[number - 1], state, now, indices)
        loss = float(loss)
        took = time.perf_counter() - started
        seconds += took
        logits = predict_examples(held_out, state.variables, held_out.examples)
        accuracy = metrics.accuracy(logits, np.asarray(held_out.labels))
        run.log.add(
            stage=name,
            seed=seed,
            epoch=number,
            loss=loss,
            accuracy=accuracy,
            seconds=took,
        )
        if not math.isfinite(loss):
            raise Diverged(
                f"{name} (seed {seed}) diverged in epoch {number}: the loss is "
                f"{loss}; lower train.learning_rate (and use another folder)",
            )
        run.progress.tick(
            f"{seed_label(run, seed)}  {name}  epoch {number}/{recipe.epochs}"
            f"  loss {loss:.4f}  {what} accuracy {accuracy:.2%}  {took:.2f} s",
            share=number / recipe.epochs,
        )
        elapsed = time.perf_counter() - last_saved
        if number < recipe.epochs and elapsed > CHECKPOINT_SECONDS:
            path = folder / f"epoch_{number:04d}"
            of = run.identity(name, seed)
            store.save_checkpoint(path, state, {"seconds": seconds, "of": of})
            store.delete(*(old for _, old in store.epoch_checkpoints(folder)[:-1]))
            last_saved = time.perf_counter()
    info = {"seconds": seconds, "compile_seconds": compile_begin + compile_advance}
    return state.variables, info


def check_fit(run: Run, variables: Variables, large: bool) -> None:
    """Checks, before anything is trained, that what follows fits a device.

    Raises:
      InputError: evaluation does not, or, of a large net, a method.
    """
    check_memory(run, variables)
    if large:
        check_methods_fit(run, variables)


def rewind(log: store.Log, name: str, seed: int, done: int = 0) -> None:
    """Drops the log's lines of a stage but for its first `done` epochs."""
    log.rewind(
        lambda line: (
            (line["stage"], line["seed"]) != (name, seed) or line["epoch"] <= done
        )
    )


def held_out_set(run: Run) -> tuple[str, Problem]:
    """Returns what the accuracy while training is of, in words, and its examples.

    The validation set, less the classes that are forgotten; without one, the first
    1,000 training examples.
    """
    return run.remember("held out", None, lambda: _held_out_set(run.problem))


def _held_out_set(problem: Problem) -> tuple[str, Problem]:
    held_out = problem.validation
    if held_out is None:
        first = problems.rows(problem.examples, slice(1000))
        labels = problem.labels[:1000]
        return "training", problem.replace(examples=first, labels=labels)
    stays = retained_only(problem)
    examples, labels = problems.rows(held_out.examples, stays), held_out.labels[stays]
    what = "validation" if stays.all() else "validation (retained classes)"
    return what, held_out.replace(examples=examples, labels=labels)


def retained_only(problem: Problem) -> np.ndarray:
    """Returns bool[V]: the validation examples of classes that are not forgotten.

    All of them if there are no others.
    """
    gone = np.isin(problem.validation.labels, problem.forget_classes)
    return ~gone if not gone.all() else np.ones_like(gone)


def seed_label(run: Run, seed: int) -> str:
    seeds = run.config.seeds
    return f"seed {seed + 1}/{seeds}" if seed < seeds else f"tuning seed {seed}"


# Methods


def apply_method(run: Run, name: str, seed: int) -> tuple[Variables, dict]:
    """Runs a method on the original, or `first+second` one after the other.

    Each sees what it declared to need, no more.

    Raises:
      Diverged: a weight is not finite.
    """
    variables, key = original(run, seed), key_of(seed, name)
    parts = split_chain(name)
    keys = [key] if len(parts) == 1 else jax.random.split(key, len(parts))
    spent, infos = {"seconds": 0.0, "compile_seconds": 0.0}, {}
    rewind(run.log, name, seed)
    for part, key in zip(parts, keys, strict=True):
        problem = seen(run, part, seed)
        fn, constants = function_of(run, part)
        with mistakes_of(methods.METHODS[part]):
            execute, compile_seconds = devices.compiled(fn, key, variables, problem)
        compile_seconds += run.remember("compiled ahead", None, dict).pop(part, 0.0)
        memory.check(execute, part, advice_on_memory(part, constants))
        run.progress.tick(f"{seed_label(run, seed)}  {name}")
        started = time.perf_counter()
        variables, info = jax.block_until_ready(execute(key, variables, problem))
        seconds = time.perf_counter() - started
        spent["seconds"] += seconds
        spent["compile_seconds"] += compile_seconds
        infos |= jax.tree.map(np.asarray, info)
        losses = np.atleast_1d(info.get("loss", np.zeros(0)))
        for number, of_epoch in enumerate(losses, 1):
            run.log.add(
                stage=name,
                seed=seed,
                epoch=number,
                loss=float(np.mean(of_epoch)),
                accuracy=None,
                seconds=seconds / len(losses),
            )
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables)):
        raise Diverged(f"{name} (seed {seed}) diverged: weights are not finite", spent)
    scalars = {k: v.item() for k, v in infos.items() if v.ndim == 0}
    return variables, spent | scalars


def fit_and_forget(
    run: Run, name: str, seed: int
) -> tuple[Callable[[Any], jax.Array], dict]:
    """Runs a training-time method: trained on everything, then requested to forget.

    Returns how it predicts, and `info`: `seconds` are those of forgetting, done twice
    to tell them from compilation, and `fit_seconds` those of the training before, which
    takes the place of the original's.
    """
    method, problem = training_time.METHODS[name], run.problem
    key_fit, key_forget = jax.random.split(key_of(seed, name))
    run.progress.tick(f"{seed_label(run, seed)}  {name}  training")
    started = time.perf_counter()
    constants = dict(run.config.methods[name])
    if name == "amnesiac":  # it stores the updates of examples that may be requested
        constants["sensitive"] = np.asarray(problem.forget)
    trained = method.fit(key_fit, problem, **constants)
    times = [time.perf_counter()]
    for _ in range(2):
        run.progress.tick(f"{seed_label(run, seed)}  {name}  forgetting")
        state, info = method.forget(key_forget, trained, np.asarray(problem.forget))
        jax.block_until_ready(jax.tree.leaves(state))
        times.append(time.perf_counter())
    cold, seconds = np.diff(times).tolist()
    timed = {"seconds": seconds, "compile_seconds": max(0.0, cold - seconds)}
    timed["fit_seconds"] = times[0] - started
    info = {key: np.asarray(value).item() for key, value in info.items()}
    return functools.partial(method.predict, state), timed | info
