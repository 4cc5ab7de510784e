"""How a deployment is trained and how it answers: a method, and what it keeps.

A method of the registry (or a chain of them) keeps the variables; one of
`training_time` its state. Both have the same functions here, and say

- `needs`: what the method must see: `forget`, the examples of the request once more;
- `keeps_rows`: whether its problem has a row for every training example as deployed,
  erased ones (as zeros) too.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unlearn import devices, methods, pipeline, store, training, training_time
from unlearn.errors import InputError
from unlearn.pipeline.epochs import train_functions
from unlearn.problem import Problem, Variables, withhold
from unlearn.report.progress import Progress
from unlearn.requests import states
from unlearn.requests.deployment import Deployment
from unlearn.requests.packing import Rewindable

CHECKPOINT_SECONDS = 60
ANEW = "retrain", "retrain_short"  # train a model anew, without what was erased


@dataclasses.dataclass(frozen=True)
class Plain:
    """A method of the registry, or a chain of them."""

    name: str
    constants: dict[str, dict]
    recipe: training.Recipe
    place: Path
    progress: Progress
    keeps_rows = False

    @property
    def parts(self) -> list[str]:
        return pipeline.split_chain(self.name)

    @property
    def early_epochs(self) -> tuple[int, ...]:
        """The epochs of the training whose weights the method rewinds to."""
        return early_epochs(self.name, self.constants)

    @property
    def needs(self) -> tuple[str, ...]:
        found = (need for part in self.parts for need in methods.METHODS[part].needs)
        return tuple(dict.fromkeys(found))

    def check(self, problem: Problem, request: Callable[[], Problem]) -> None:
        """Traces the method on a request of one example: it fails now or never."""
        key, variables = jax.random.key(0), pipeline.template(problem)
        kept = dict.fromkeys(self.early_epochs, variables)
        for part in self.parts:
            given = request().replace(early=kept)
            seen = withhold(given, methods.METHODS[part].needs)
            fn = _function(methods.METHODS[part].fn, self._constants(part))
            jax.eval_shape(fn, key, variables, seen)

    def _constants(self, part: str) -> tuple[tuple[str, Any], ...]:
        return tuple(self.constants[part].items())

    def fit(self, key: jax.Array, problem: Problem) -> Variables | Rewindable:
        """Trains on the retain set; continues where a killed process was.

        What the method rewinds to is kept; after a kill it is trained once more.
        """
        recipe, rows = self.recipe, problem.retain
        begin, advance = train_functions(problem.model, recipe, len(rows))
        key_init, key_fit = jax.random.split(key)
        keys = training.epoch_keys(key_fit, recipe.epochs)
        state = devices.compiled(begin, key_init, problem)[0](key_init, problem)
        first = problem.in_epoch(key_fit, 0)
        advance = devices.compiled(advance, keys[0], state, first, rows)[0]
        saved, done, kept = store.epoch_checkpoints(self.place), 0, {}
        self._keep(kept, 0, state)
        if saved:
            done, path = saved[-1]
            for number in range(1, min(done, max(self.early_epochs, default=0)) + 1):
                now = problem.in_epoch(key_fit, number - 1)
                state, _ = advance(keys[number - 1], state, now, rows)
                self._keep(kept, number, state)
            state, _ = store.load_checkpoint(path, state)
        last_saved = time.perf_counter()
        for number in range(done + 1, recipe.epochs + 1):
            now = problem.in_epoch(key_fit, number - 1)
            state, loss = advance(keys[number - 1], state, now, rows)
            if not np.isfinite(loss):
                raise InputError(
                    f"the training diverged in epoch {number}: the loss is {loss}; "
                    "lower train.learning_rate"
                )
            self._keep(kept, number, state)
            self.progress.tick(
                f"training  epoch {number}/{recipe.epochs}  loss {loss:.4f}",
                share=number / recipe.epochs,
            )
            if time.perf_counter() - last_saved > CHECKPOINT_SECONDS:
                store.save_checkpoint(self.place / f"epoch_{number:04d}", state, {})
                store.delete(*(p for _, p in store.epoch_checkpoints(self.place)[:-1]))
                last_saved = time.perf_counter()
        variables = jax.tree.map(np.asarray, state.variables)
        return Rewindable(variables, kept) if self.early_epochs else variables

    def start(
        self, key: jax.Array, problem: Problem, imported: Variables | None
    ) -> Variables | Rewindable:
        """Returns what was imported, or trains."""
        return imported or self.fit(key, problem)

    def _keep(self, kept: dict, number: int, state: training.State) -> None:
        if number in self.early_epochs:
            kept[number] = jax.tree.map(np.array, state.variables)

    def forget(
        self,
        key: jax.Array,
        state: Variables | Rewindable,
        problem: Problem,
        rows: np.ndarray,
    ) -> tuple[Variables | Rewindable, dict]:
        """Runs the method, or the chain; `problem.forget` has the rows already."""
        del rows
        self.check_held_out(problem)
        keys = [key] if len(self.parts) == 1 else jax.random.split(key, len(self.parts))
        infos, variables, kept = {}, self.weights(state), None
        if isinstance(state, Rewindable):
            kept = state.early
        for part, key in zip(self.parts, keys, strict=True):
            declared = methods.METHODS[part]
            seen = withhold(problem.replace(early=kept), declared.needs)
            if part == "retrain":
                variables = self.fit(key, seen)
                continue
            fn = _function(declared.fn, self._constants(part))
            execute, _ = devices.compiled(fn, key, variables, seen)
            variables, info = jax.block_until_ready(execute(key, variables, seen))
            infos |= plain_info(info)
        variables = jax.tree.map(np.asarray, variables)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables)):
            raise InputError(
                f"{self.name} diverged: weights are not finite; nothing was changed: "
                "deploy with smaller constants, or with method retrain"
            )
        return Rewindable(variables, kept) if kept else variables, infos

    def check_held_out(self, problem: Problem) -> None:
        """Refuses to choose by a validation set of which nothing is left."""
        for part in self.parts:
            for option in ("rewind", "early_stopping"):
                if problem.validation is None and self.constants[part].get(option):
                    raise InputError(
                        f"{part} needs validation examples for {option}, and all are "
                        "erased: deploy again with the examples that stay, and with "
                        f"data.validation or methods.{part}.{option}=False"
                    )

    def predict(
        self, state: Variables | Rewindable, problem: Problem, examples: Any
    ) -> np.ndarray:
        """Returns logits float32[N, K]."""
        return pipeline.predict_examples(problem, self.weights(state), examples)

    def weights(self, state: Variables | Rewindable) -> Variables:
        """Returns the variables in use."""
        return state.variables if isinstance(state, Rewindable) else state


@functools.lru_cache(maxsize=64)
def _function(fn, constants):
    """Returns the same function for the same arguments: it is compiled once."""
    return functools.partial(pipeline.run_method, fn, **dict(constants))


@dataclasses.dataclass(frozen=True)
class TrainingTime:
    """A method that also changes how the model is trained."""

    name: str
    constants: dict
    slices: Path
    keeps_rows = True
    needs = ()

    @property
    def method(self) -> training_time.TrainingMethod:
        return training_time.METHODS[self.name]

    @property
    def kept(self) -> dict:
        """Returns where SISA finds its checkpoints, as an argument."""
        return {"kept": states.SliceStore(self.slices)} if self.name == "sisa" else {}

    def check(self, problem: Problem, request: Callable[[], Problem]) -> None:
        """Leaves the checks to `fit`."""

    def fit(self, key: jax.Array, problem: Problem) -> Any:
        """Trains, with what requests will need."""
        return self.method.fit(key, problem, **self.constants, **self.kept)

    def start(
        self, key: jax.Array, problem: Problem, imported: Variables | None
    ) -> Any:
        """Trains; `imported`, of `certified` alone, is what makes the features."""
        if imported is None:
            return self.fit(key, problem)
        return self.method.fit(key, problem, variables=imported, **self.constants)

    def fit_shards(
        self, key: jax.Array, problem: Problem, shards: Sequence[int]
    ) -> list[int]:
        """Trains some shards of SISA; returns those that nobody has trained yet."""
        for only in (shards, ()):  # then looks at what others have trained meanwhile
            state = self.method.fit(
                key, problem, only=only, **self.constants, **self.kept
            )
        return training_time.sisa.untrained(state)

    def forget(
        self, key: jax.Array, state: Any, problem: Problem, rows: np.ndarray
    ) -> tuple[Any, dict]:
        """Answers a request."""
        del problem
        state, info = self.method.forget(key, state, rows, **self.kept)
        return state, plain_info(info)

    def predict(self, state: Any, problem: Problem, examples: Any) -> np.ndarray:
        """Returns logits float32[N, K]."""
        del problem
        return np.asarray(self.method.predict(state, examples))

    def weights(self, state: Any) -> Variables:
        """Returns the last slice of each shard, or the model."""
        if self.name == "sisa":
            voters = np.unique(np.asarray(state.shard)[np.asarray(state.active)])
            return {f"shard_{s}": state.checkpoints[s][-1] for s in voters.tolist()}
        if self.name == "certified":
            head = {"params": {"head": {"kernel": state.head.weights.T}}}
            features = state.variables
            return head if features is None else head | {"features": features}
        return state.variables


Strategy = Plain | TrainingTime


def make(settings: dict, place: Path, slices: Path, progress: Progress) -> Strategy:
    """Returns the strategy of a deployment.

    Args:
      settings: of the deployment.
      place: a folder for what an unfinished training leaves.
      slices: the folder of SISA's checkpoints.

    Raises:
      InputError: see `devices.check_deterministic`.
    """
    devices.check_deterministic()
    name = settings["method"]
    if name in training_time.METHODS:
        return TrainingTime(name, settings["methods"][name], slices)
    constants = settings["methods"]
    return Plain(name, constants, training.Recipe(**settings["train"]), place, progress)


def early(method: str) -> list[str]:
    """Names the parts of a method that need weights from early in the training."""
    parts = pipeline.split_chain(method)
    return [
        part
        for part in parts
        if part in methods.METHODS and "early" in methods.METHODS[part].needs
    ]


def early_epochs(method: str, constants: Mapping[str, dict]) -> tuple[int, ...]:
    """Returns the epochs of the training whose weights a method rewinds to, sorted.

    0 is where the training started, before it saw an example.
    """
    epochs = (
        methods.METHODS[part].early_epochs(constants[part]) for part in early(method)
    )
    return tuple(sorted({epoch for found in epochs for epoch in found}))


def guarantee_of(deployment: Deployment) -> str:
    """Returns what a deployment's method guarantees: exact, certified or none."""
    method = deployment.method
    if method in training_time.METHODS:
        return training_time.METHODS[method].guarantee
    if deployment.certificate is not None:
        return "certified"
    return "exact" if method in ANEW else "none"


def model_of(settings: dict) -> dict:
    """Says what net a deployment has; of `certified` only a linear head learns."""
    model = settings["model"]
    if settings["method"] != "certified":
        return model
    of = "the inputs"
    if model.get("trained_on"):
        of = f"the features of {model['name']}, trained on {model['trained_on']}"
    return {"name": f"linear heads on {of}, each scaled to norm 1"}


def plain_info(info: dict) -> dict:
    """Returns the scalars of an `info` as Python's numbers."""
    arrays = {key: np.asarray(value) for key, value in info.items()}
    return {key: value.item() for key, value in arrays.items() if value.ndim == 0}
