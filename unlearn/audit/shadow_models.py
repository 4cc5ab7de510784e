"""The models of a study, made by `parallel.map_models` and measured.

What is measured of each model is kept in the run folder a chunk at a time; the same
command goes on with the next chunk. Several processes may be at it: each chunk is made
by the one that claims it. Methods that train a model of their own run on the
host, one model after another: of these there are `audit.trained_models`, the first of
the study.
"""

import collections
import contextlib
import functools
import time
import zlib
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unlearn import methods, parallel, store, training, training_time
from unlearn.audit import controls, kept
from unlearn.audit.config import PrivateConfig
from unlearn.audit.studies import Study
from unlearn.errors import InputError
from unlearn.methods.matching import Matching
from unlearn.metrics import lira
from unlearn.pipeline import run_method, template
from unlearn.privacy import dp_sgd
from unlearn.problem import Variables, withhold
from unlearn.shadows import measure, measured_trainer

REFERENCES = ("original", "retrain", "oracle")
"""Trained from scratch; `oracle` is a second retrained model, for the floors."""
DERIVED = "constant_margin", "collapsed"
"""Made of the original's answers."""


class Measured(NamedTuple):
    """What the audits see of S models; M examples as in `Study.sets`."""

    margins: np.ndarray  # float32[S, M]: z_y - logsumexp of the other logits
    predictions: np.ndarray  # int32[S, M]
    seconds: float  # of all models, compilation apart


def measured(study: Study, name: str) -> Measured:
    """Makes and measures the models of a reference, a control or a method."""
    if name == "constant_margin":
        return controls.constant_margin(
            measured(study, "original"), study.labels, study.problem.num_classes
        )
    if name == "collapsed":
        return controls.collapsed(
            measured(study, "original"), study.problem.num_classes
        )
    if name in training_time.METHODS:
        return _fitted(study, name)
    name = _made_as(study, name)
    if name in (*REFERENCES, controls.PRIVATE):
        return _trained(study, name)[0]
    return _map(study, name, *_answering(study, name, trained_variables))[0]


def prepare(study: Study, name: str) -> None:
    """Compiles what makes the models of a reference, a control or a method."""
    name = _made_as(study, name)
    if name in DERIVED or name in training_time.METHODS or kept.files_of(study, name):
        return
    if name in (*REFERENCES, controls.PRIVATE):
        fn, models = _training(study, name)
    else:
        fn, models = _answering(study, name, _shapes)
    parallel.prepare(fn, models, *_shared(study), **_options(study))


def _made_as(study: Study, name: str) -> str:
    """Returns `no_op` for originals that are another study's."""
    return "no_op" if name == "original" and study.source is not None else name


def _trained(study: Study, name: str):
    """Trains models from scratch: on all they may see, or on the retain set."""
    return _map(study, name, *_training(study, name))


def _training(study: Study, name: str):
    """Returns what trains a model from scratch, and its arguments for all models.

    `original@E` are the originals after E epochs.
    """
    name, _, epochs = name.partition("@")
    everyone = name in ("original", controls.PRIVATE)
    sets = [study.forget, study.retain] if everyone else [study.retain]
    indices = np.concatenate(sets, axis=1)
    if name == controls.PRIVATE:
        private = PrivateConfig(**study.run.config.audit.private)
        budget = dp_sgd.Budget(private.epsilon, private.delta)
        noise = dp_sgd.noise_for(budget, indices.shape[1], private.recipe())
        return _privately(private.recipe(), noise), (_keys(study, name), indices)
    recipe = training.Recipe(**study.run.config.train)
    trainer = measured_trainer(recipe, int(epochs) if epochs else None)
    return trainer, (_keys(study, name), indices)


def check_private(study: Study) -> None:
    """Traces the private training of a study: it is refused now or never.

    Raises:
      InputError: a budget, a recipe or a net that it cannot have.
    """
    try:
        fn, models = _training(study, controls.PRIVATE)
        one = jax.tree.map(lambda x: x[0], models)
        jax.eval_shape(fn, one, *_shared(study))
    except InputError as error:
        raise InputError(f"audit.private: {error}") from None


@functools.lru_cache(maxsize=8)
def _privately(recipe: dp_sgd.Recipe, noise: float) -> Callable:
    def train(model, problem, examples, labels):
        key, indices = model
        variables, _ = dp_sgd.train(key, problem, indices, recipe, noise)
        return measure(problem, variables, examples, labels)

    return train


def _answering(study: Study, name: str, variables_of: Callable):
    """Returns what applies a method or a control to a model, and its arguments."""
    originals = variables_of(study.source or study, "original", study.models)
    models = _keys(study, name), originals, study.forget, study.retain
    if name in controls.TAUGHT:
        models = *models, variables_of(study, "retrain", study.models)
    constants = tuple(dict(study.run.config.methods.get(name, {})).items())
    if name == controls.MATCHING:
        constants = tuple(dict(study.run.config.audit.matching).items())
    info = methods.METHODS.get(name)
    if info and (epochs := info.early_epochs(dict(constants))):
        of = study.source or study
        early = {e: variables_of(of, f"original@{e}", study.models) for e in epochs}
        models = *models, early
    fn = _answerer(
        name,
        info.fn if info else None,
        info.needs if info else (),
        constants,
        study.requests,
    )
    return fn, models


@functools.lru_cache(maxsize=64)
def _answerer(
    name: str, fn: Any, needs: tuple[str, ...], constants: tuple, requests: int
):
    def answer(model, problem, examples, labels):
        key, variables, forget, retain, *more = model  # a teacher, or early weights
        parts = forget.reshape(requests, -1)
        later = forget[parts.shape[1] :]
        spare = jnp.resize(retain, later.shape)

        def one(variables, request):
            key, number, part = request
            gone = jnp.arange(len(later)) < number * len(part)
            stays = jnp.concatenate([retain, jnp.where(gone, spare, later)])
            current = problem.replace(forget=part, retain=stays)
            if name == "no_op":
                return variables, None
            if name == "head_distill":
                return controls.head_distill(variables, current, *more), None
            if name == controls.MATCHING:
                how = Matching(**dict(constants))
                matched = controls.oracle_matching(key, variables, current, *more, how)
                return matched, None
            seen = withhold(current, needs)
            if "early" in needs:
                seen = seen.replace(early=more[0])
            options = dict(constants)
            return run_method(fn, key, variables, seen, **options)[0], None

        rows = jax.random.split(key, requests), jnp.arange(requests), parts
        variables, _ = jax.lax.scan(one, variables, rows)
        return measure(problem, variables, examples, labels)

    return answer


def _fitted(study: Study, name: str) -> Measured:
    """Trains models of a training-time method and lets them forget, on the host."""
    config, method = study.run.config, training_time.METHODS[name]
    models, keys = config.audit.trained_models, _keys(study, name)
    labels = np.asarray(study.labels)

    def one(number: int) -> dict:
        key_fit, key_forget = jax.random.split(keys[number])
        forget, retain = study.forget[number], study.retain[number]
        constants = dict(config.methods[name])
        if name == "amnesiac":  # it stores the updates of what may be requested
            constants["sensitive"] = forget
        seen = np.sort(np.concatenate([forget, retain]))
        state = method.fit(key_fit, study.problem, indices=seen, **constants)
        started = time.perf_counter()
        state, _ = method.forget(key_forget, state, np.sort(forget))
        logits = np.asarray(method.predict(state, study.examples))
        return {
            "margins": lira.margins(logits, labels).astype(np.float32),
            "predictions": logits.argmax(-1).astype(np.int32),
            "seconds": time.perf_counter() - started,
        }

    chunk = config.audit.chunk
    waiting, parts = collections.deque(range(0, models, chunk)), {}
    while waiting:
        first = waiting.popleft()
        numbers = range(first, min(first + chunk, models))
        path, of = kept.place(study, name, first, len(numbers))
        with kept.claimed(path) as ours:
            if ours:
                made = []
                for number in numbers:
                    text = f"{study.name} study  {name}  model {number + 1}/{models}"
                    study.run.progress.tick(text, share=number / models)
                    made.append(one(number))
                rows = {key: np.stack([m[key] for m in made]) for key in made[0]}
                store.save_kept(path, rows, of)
        if store.is_kept(path):
            parts[first] = store.load_kept(path, of)
        else:
            waiting.append(first)
    margins, predictions, seconds = (
        np.concatenate([parts[first][key] for first in sorted(parts)])
        for key in Measured._fields
    )
    return Measured(margins, predictions, float(seconds.sum()))


def _keys(study: Study, name: str):
    """Returns a key for each model, other than those of the run's own models.

    Studies of one family, such as `harder/...`, are paired: they have the same keys.
    """
    family = study.name.split("/")[0]
    study_key = jax.random.key(zlib.crc32(family.encode()))
    key = jax.random.fold_in(study_key, zlib.crc32(name.encode()))
    return jax.random.split(key, study.models)


def trained_variables(study: Study, name: str, models: int) -> Variables:
    """Returns variables of the first models trained from scratch: `kept.LazyLeaf`s."""
    _, files = _trained(study, name)
    shapes = {"variables": _shapes(study, name, models)}
    leaves = {
        path: kept.LazyLeaf(files, path, like)
        for path, like in flatten_dict(shapes, sep="/").items()
    }
    return unflatten_dict(leaves, sep="/")["variables"]


def _shapes(study: Study, name: str, models: int) -> Variables:
    """Returns what `trained_variables` has the shapes of."""
    del name
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((models, *leaf.shape), leaf.dtype),
        template(study.problem),
    )


def _map(study: Study, name: str, fn, models) -> tuple[Measured, dict[Path, range]]:
    """Returns what is measured of the models, and the files of their chunks."""
    files = kept.files_of(study, name)
    if not files:
        _make(study, name, fn, models)
        files = kept.files_of(study, name)
    return Measured(**kept.load(study, name, files, Measured._fields)), files


def _make(study: Study, name: str, fn, models) -> None:
    """Makes the chunks of models that are not kept and that no other process is at."""
    progress = study.run.progress

    def keep(first, count, compute):
        path, of = kept.place(study, name, first, count)
        with kept.claimed(path) as ours:
            if ours:
                results, took = compute()
                if name == "oracle":
                    del results["variables"]  # only measured
                results["seconds"] = np.full(count, took / count)
                store.save_kept(path, flatten_dict(results, sep="/"), of)
        return {} if store.is_kept(path) else None

    def say(done):
        text = f"{study.name} study  {name}  model {done}/{study.models}"
        progress.tick(text, share=done / study.models)

    _, how = parallel.map_models(
        fn, models, *_shared(study), **_options(study), keep=keep, progress=say
    )
    if how.seconds:
        progress.say(
            f"{study.name} study  {name}  {study.models} models  {how.seconds:.1f} s "
            f"+ {how.compile_seconds:.1f} s compile  ({MODE_LABELS[how.mode]} on "
            f"{how.devices} devices)"
        )


def _shared(study: Study) -> tuple:
    return study.problem, study.examples, study.labels


def _options(study: Study) -> dict:
    leaves = jax.tree.leaves(template(study.problem))
    weights = sum(np.prod(leaf.shape, dtype=int) for leaf in leaves)
    return dict(mode=parallel.choose_mode(weights), chunk=study.run.config.audit.chunk)


MODE_LABELS = {"map": "one after another", "vmap": "vectorised"}


def make_free(wanted: Iterable[tuple[Study, str]]) -> None:
    """Makes the models of every kind that no other process is at.

    Beside others that compiles a program once, not once a process.
    """
    for study, name in wanted:
        if name in DERIVED or kept.files_of(study, name):
            continue
        with kept.claimed(study.folder / name / "all.kind") as ours:
            if ours:
                measured(study, name)


def measure_all(
    study: Study, names: Iterable[str], *, ahead: bool = True
) -> dict[str, Measured]:
    """Makes and measures references, controls and methods.

    While the models of one run, programs of the next are compiled, if `ahead`.
    """
    names, found, progress = tuple(names), {}, study.run.progress
    with compiled_ahead((study, name) for name in names[1:] if ahead):
        for name in names:
            with progress.stage(f"{study.name} {name}"):
                found[name] = measured(study, name)
    return found


@contextlib.contextmanager
def compiled_ahead(wanted: Iterable[tuple[Study, str]]) -> Generator[None]:
    """Compiles what makes models in another thread, in the order given.

    An error comes up when the models are made.
    """
    ahead = ThreadPoolExecutor(1)
    for study, name in wanted:
        ahead.submit(prepare, study, name)
    try:
        yield
    finally:
        ahead.shutdown(cancel_futures=True)


def plan(
    study_name: str, models: int, epochs: int, names: Iterable[str]
) -> list[tuple[str, float]]:
    """Guesses the work of `measure_all` in training passes, for the estimate."""
    stages = []
    for name in names:
        whole = name in (*REFERENCES, controls.PRIVATE)
        passes = epochs if whole else 0.2 * epochs
        work = 0.0 if name in DERIVED else models * passes
        stages.append((f"{study_name} {name}", work))
    return stages
