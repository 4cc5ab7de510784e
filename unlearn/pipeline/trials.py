"""Trials of tuning judged by the standard metrics, against a retrained model.

All trials of a method are one compiled program. What the test split is to a table the
validation split is here; Avg. Gap and Tug-of-War are means over the forget sets and
seeds that are tuned on.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import devices, methods, metrics, training
from unlearn.data.splits import ForgetConfig
from unlearn.metrics import columns, purpose
from unlearn.metrics.membership import spread
from unlearn.pipeline import stages
from unlearn.pipeline.evaluation import predict_examples
from unlearn.pipeline.method_programs import run_method
from unlearn.pipeline.run import copy_originals
from unlearn.pipeline.setup import Run
from unlearn.problem import Problem, joined, rows

if TYPE_CHECKING:
    from ml_collections import ConfigDict

GAPS = {"avg_gap": metrics.avg_gap, "tug_of_war": metrics.tug_of_war}
TRIAL = columns.STANDARD


class Sample:
    """Evenly spaced examples of the forget and the retain set; all of validation."""

    def __init__(self, problem: Problem, examples: int):
        held_out = problem.validation
        assert held_out is not None
        chosen = [
            np.asarray(indices)[spread(len(indices), min(examples, len(indices)))]
            for indices in (problem.forget, problem.retain)
        ]
        self.forget, self.size = len(chosen[0]), sum(map(len, chosen))
        indices = np.concatenate(chosen)
        self.examples = joined(rows(problem.examples, indices), held_out.examples)
        self.labels = np.asarray(problem.labels)[indices]
        self.held_out_labels = np.asarray(held_out.labels)
        self.classes = np.asarray(problem.forget_classes)

    def measure(
        self, config: "ConfigDict", logits: np.ndarray
    ) -> dict[str, float] | None:
        """Computes the standard metrics from logits; None if they are not finite."""
        if not np.isfinite(logits).all():
            return None
        return metrics.measure(
            logits[: self.size],
            self.labels,
            np.arange(self.forget),
            np.arange(self.forget, self.size),
            logits[self.size :],
            self.held_out_labels,
            forget_classes=self.classes,
            attack_examples=config.attack_examples,
        )


def judge(runs: Sequence[Run]) -> Callable[[str, Sequence[dict]], list[dict]]:
    """Trains the models that trials start from; returns what measures a method's."""
    config = runs[0].config
    first, count = config.tune.first_seed, config.tune.seeds
    seeds = range(first, first + count)
    for seed in seeds:
        stages.original(runs[0], seed)
    for run in runs[1:]:
        if run.origin == runs[0].origin:
            copy_originals(runs[0].folder, run.folder, seeds)
    pairs = [
        (run, Sample(run.problem, config.tune.examples), seed)
        for run in runs
        for seed in seeds
    ]
    references = [
        sample.measure(config, predict(run, sample, "retrain", seed))
        for run, sample, seed in pairs
    ]

    def measured(name: str, points: Sequence[dict]) -> list[dict]:
        return score_trials(config, name, points, pairs, references)

    return measured


def score_trials(
    config: "ConfigDict",
    name: str,
    trials: Sequence[dict[str, float]],
    pairs: Sequence[tuple[Run, Sample, int]],
    references: Sequence[dict | None],
) -> list[dict]:
    """Returns a row a trial, a mean over the pairs of a request and a seed."""
    of = {
        "forget_sets": " ".join(dict.fromkeys(run.folder.name for run, _, _ in pairs)),
        "seeds": " ".join(str(seed) for seed in dict.fromkeys(s for _, _, s in pairs)),
    }
    logits = [many_trials(*pair, name, trials) for pair in pairs]
    rows = []
    for i, point in enumerate(trials):
        row = {"method": name, "trial": i} | of
        measured = [
            sample.measure(config, of_pair[i])
            for (_, sample, _), of_pair in zip(pairs, logits, strict=True)
        ]
        rows.append(row | score(config, measured, references) | point)
    return rows


def predict(run: Run, sample: Sample, name: str, seed: int) -> np.ndarray:
    variables, _ = stages.make_model(run, name, seed)
    return predict_examples(run.problem, variables, sample.examples)


def many_trials(
    run: Run,
    sample: Sample,
    seed: int,
    name: str,
    trials: Sequence[dict[str, float]],
) -> np.ndarray:
    """Returns logits float32[trials, examples, K]: one program makes all of them."""
    settings = run.config.methods[name]
    fixed = {key: value for key, value in settings.items() if key not in trials[0]}
    floats = {key: jnp.array([trial[key] for trial in trials]) for key in trials[0]}
    problem = stages.seen(run, name, seed)
    args = (
        stages.key_of(seed, name),
        stages.original(run, seed),
        problem,
        sample.examples,
        floats,
    )
    program = trial_program(methods.METHODS[name].fn, tuple(fixed.items()))
    execute, _ = devices.compiled(program, *args)
    return np.asarray(execute(*args))


@functools.cache
def trial_program(fn: Callable, fixed: tuple[tuple[str, Any], ...]) -> Callable:
    """Returns what maps a method over trials and predicts; `fixed`: constants."""

    def program(key, variables, problem, examples, floats):
        model = problem.model

        def one(constants):
            method = run_method
            constants = dict(fixed) | constants
            after, _ = method(fn, key, variables, problem, **constants)
            return training.predict(model, after, examples, problem.preprocess)

        return jax.lax.map(one, floats)

    return program


def score(
    config: "ConfigDict",
    measured: Sequence[dict | None],
    references: Sequence[dict | None],
) -> dict:
    """Returns a trial's columns from its metrics on each pair; `None`: diverged."""
    row = {"chosen": False, "feasible": False, "misses": "diverged"}
    row |= dict.fromkeys((*GAPS, *TRIAL), math.nan)
    pairs = []
    for own, reference in zip(measured, references, strict=True):
        if own is None:
            return row
        assert reference is not None
        pairs.append((own, reference))
    lost = np.mean([r["test_accuracy"] - m["test_accuracy"] for m, r in pairs])
    row["feasible"] = bool(lost <= config.tune.utility)
    for objective, of_pair in GAPS.items():
        row[objective] = float(np.mean([of_pair(m, r) for m, r in pairs]))
    own, reference = (
        {key: float(np.mean([m[key] for m in of])) for key in TRIAL}
        for of in zip(*pairs, strict=True)
    )
    row["misses"] = ""
    if ForgetConfig(**config.forget).whole_classes:
        row["misses"] = purpose.shortfall(own, {}, reference, whole_classes=True)
    return row | own
