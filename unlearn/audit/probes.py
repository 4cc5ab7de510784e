"""Audits of the models of a finished run: relearning, layers, weights, outputs.

Relearning curves are kept in the run folder; the same command reads them again.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import pipeline, store, surgery
from unlearn.audit import controls
from unlearn.audit.tables import UNTRAINED
from unlearn.metrics import connectivity, divergence, idi, relearning, residual
from unlearn.metrics.membership import spread
from unlearn.pipeline import Run, evaluation
from unlearn.pipeline.setup import MAPPED
from unlearn.problem import Variables

HEAD = "head_distill"


def variables_of(run: Run, name: str, seed: int) -> Variables:
    """Returns a model of the run, one from scratch, or one with a distilled head.

    The last one stays in memory.
    """
    make = functools.partial(_variables_of, run, name, seed)
    return run.remember("looked into", (name, seed), make)


def _variables_of(run: Run, name: str, seed: int) -> Variables:
    if name == UNTRAINED:
        return surgery.fresh(pipeline.key_of(seed, name), run.problem)
    if name == HEAD:
        teacher, _ = pipeline.make_model(run, "retrain", seed)
        distill = jax.jit(controls.head_distill)
        return distill(pipeline.original(run, seed), run.problem, teacher)
    return pipeline.make_model(run, name, seed)[0]


def logits_of(run: Run, name: str, seed: int) -> dict[str, np.ndarray]:
    """Returns the logits of a model or a control on training and test data."""
    if name == HEAD:
        path, of = run.evaluation_path(name, seed), identity(run, "outputs", name, seed)
        if not store.is_kept(path):
            variables = variables_of(run, name, seed)
            predict = functools.partial(
                pipeline.predict_examples, run.problem, variables
            )
            store.save_kept(path, pipeline.evaluate(run, predict), of)
        return store.load_kept(path, of, mapped=MAPPED)
    if name in controls.CONTROLS:
        before = run.evaluation("original", seed)
        answer = functools.partial(controls.control_logits, name)
        parts = "train_logits", "test_logits"
        return {part: evaluation.each_row(run, answer, before[part]) for part in parts}
    return run.evaluation(name, seed)


def identity(run: Run, what: str, name: str, seed: int) -> dict:
    """Returns what a kept file is of, so that no other is taken for it."""
    return {"run": run.fingerprint, "what": what, "model": name, "seed": seed}


def relearn(run: Run, name: str, seed: int, **constants: Any) -> relearning.Curves:
    """Lets a model learn the forget set again and returns its `relearning.Curves`.

    All models of a seed see the same batches.
    """
    return _kept_curves(run, name, seed, "forget", ("forget",), constants)


def relearn_on_retain(
    run: Run, name: str, seed: int, **constants: Any
) -> relearning.Curves:
    """Lets a model learn on the retain set alone; the curves are of the forget set."""
    return _kept_curves(run, name, seed, "retain", ("forget", "retain"), constants)


def _kept_curves(run, name, seed, on, needs, constants) -> relearning.Curves:
    path = run.folder / "relearning" / on / name / f"{seed}.npz"
    of = identity(run, f"relearning on {on}", name, seed) | constants
    if not store.is_kept(path):
        seen = pipeline.withheld(run, needs)
        variables = variables_of(run, name, seed)
        run.progress.tick(f"{pipeline.seed_label(run, seed)}  {name}  relearning")
        fn = _relearn(tuple(sorted({"on": on, **constants}.items())))
        curves = fn(pipeline.key_of(seed, "relearn"), variables, seen)
        store.save_kept(path, jax.tree.map(np.asarray, curves)._asdict(), of)
    return relearning.Curves(**store.load_kept(path, of))


@functools.lru_cache(maxsize=16)
def _relearn(constants: tuple):
    return jax.jit(functools.partial(relearning.relearn, **dict(constants)))


# Neighbours of the forget set, and the weights


def neighbour_answers(
    run: Run, name: str, seed: int, radius: float, examples: int
) -> np.ndarray:
    """Says which neighbours of forgotten examples are answered right: bool[20, F].

    At most `examples` of them; all models of a run see the same neighbours. See
    `residual.neighbour_answers`.
    """
    forget = run.problem.forget
    chosen = forget[spread(len(forget), min(len(forget), examples))]
    key, variables = pipeline.key_of(0, "neighbours"), variables_of(run, name, seed)
    return np.asarray(_neighbour_answers(key, variables, run.problem, chosen, radius))


@jax.jit
def _neighbour_answers(key, variables, problem, indices, radius):
    return residual.neighbour_answers(key, variables, problem, indices, radius=radius)


def path_between(
    run: Run, one: Variables, other: Variables, examples: int
) -> tuple[float, float]:
    """Returns distance and `connectivity.barrier` of two models, on retained examples.

    At most `examples` of them.
    """
    retain = run.problem.retain
    chosen = retain[spread(len(retain), min(len(retain), examples))]
    distance, losses = _path_between(one, other, run.problem, chosen)
    return float(distance), connectivity.barrier(losses)


@jax.jit
def _path_between(one, other, problem, indices):
    losses = connectivity.path_losses(one, other, problem, indices)
    return connectivity.weight_distance(one, other), losses


# Layers


class Layers:
    """Features of the forget set and of as many retained examples, at most `examples`.

    Convolutional maps are averaged over space. With fewer than five of each nothing is
    said: probe and IDI are NaN.
    """

    def __init__(self, run: Run, examples: int):
        forget, retain = (
            np.asarray(s) for s in (run.problem.forget, run.problem.retain)
        )
        count = min(examples, len(forget), len(retain))
        self.run, self.few = run, count < 5
        chosen = [s[spread(len(s), count)] for s in (forget, retain)]
        self.indices = jnp.asarray(np.concatenate(chosen))
        self.forgotten = np.arange(2 * count) < count
        self.labels = np.asarray(run.problem.labels)[np.concatenate(chosen)]

    def of(self, variables: Variables) -> list[np.ndarray]:
        """Returns the features of each layer, the input of the first left out."""
        found = _features(self.run.problem, variables, self.indices)
        return [np.asarray(values) for values in found]

    def probe(self, features: list[np.ndarray]) -> float:
        """Returns the accuracy of a linear classifier of the last layer's input.

        It is tested on half of the forget set and trained on everything else.
        """
        if self.few:
            return math.nan
        test = self.forgotten & (np.arange(len(self.forgotten)) % 2 == 0)
        last = features[-1]
        return idi.linear_probe(
            last[~test], self.labels[~test], last[test], self.labels[test]
        )

    def information(self, features: list[np.ndarray]) -> np.ndarray:
        """Returns what each layer knows of being forgotten, in nats: float[L]."""
        if self.few:
            return np.full(len(features), math.nan)
        return idi.layer_information(features, self.forgotten)


@jax.jit
def _features(problem, variables, indices):
    inputs, *_ = surgery.activations(problem.model)(variables, problem.inputs(indices))
    return [surgery.pooled(v) for v in list(inputs.values())[1:]]  # without the input


def output_distances(
    logits: np.ndarray, retrained: np.ndarray, untrained: np.ndarray
) -> dict[str, float]:
    """Compares two models on the same examples: logits float[N, K] each."""
    return {
        "js": float(divergence.jensen_shannon(logits, retrained).mean()),
        "activation": divergence.activation_distance(logits, retrained),
        "agreement": divergence.agreement(logits, retrained),
        "completeness": divergence.completeness(logits, retrained),
        "zrf": divergence.zrf(logits, untrained),
    }
