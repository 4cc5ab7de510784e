"""Hyper-parameters of every method by one procedure.

Each method gets the same number of trials: the constants that the experiment has now,
then points of one scrambled Sobol sequence over the floats that its registry row names
in `search` (log-uniform, three significant digits). The trials of a method are one
compiled program; whole numbers and names stay as the experiment has them.

Objective (`tune.objective`), a mean over forget sets and seeds that no table uses
(`other_requests`), with the validation split in the place of the test split: `avg_gap`
to the retrained model, or `tug_of_war`. The latter is for whole classes, where Avg.
Gap's attack hangs on the few examples that the model gets wrong and calls all of the
forgotten class members, or none of it. Utility limit, for `avg_gap`: the validation
accuracy is at most `tune.utility` below the retrained model's in the mean; trials
beyond it are chosen only if every trial is, and then the most accurate one.
`tug_of_war` pays for lost accuracy itself, and a trial that keeps all and forgets
nothing is no better than one beyond the limit: of whole classes, the trials that reach
their purpose (`purpose.shortfall`) come first, and if there is none all are alike. The
constants that are there stay unless beaten by `MARGIN`, or where no trial reaches its
purpose by `FAR`: the best of failures, such as 2 % where 100 is best, is no choice.
Test data is not used. Every trial is a row of `tuning.csv`; a chosen constant near a
limit of its range is named, as a wider range could be better.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import devices, methods, metrics, store, training
from unlearn.data.splits import ForgetConfig
from unlearn.errors import InputError
from unlearn.metrics import columns, purpose
from unlearn.metrics.membership import spread
from unlearn.pipeline import setup, stages
from unlearn.pipeline.checks import check, methods_of
from unlearn.pipeline.evaluation import predict_examples
from unlearn.pipeline.imported import require_reference
from unlearn.pipeline.other_requests import check_apart, other_requests
from unlearn.pipeline.run import copy_originals, plain
from unlearn.pipeline.setup import Run
from unlearn.problem import Problem, joined, rows
from unlearn.report import csv_files

if TYPE_CHECKING:
    from ml_collections import ConfigDict

OBJECTIVES = {
    "avg_gap": (metrics.avg_gap, min),
    "tug_of_war": (metrics.tug_of_war, max),
}
TRIAL = columns.STANDARD


class TuneConfig(NamedTuple):
    """The section `tune` of a config."""

    trials: int = 16  # a method
    seeds: int = 1
    first_seed: int = 100  # beyond those of the tables
    draws: int = 1  # forget sets, or classes: others than those of the tables
    examples: int = 2000  # at most so many of the forget and of the retain set measured
    utility: float = purpose.TEST  # of validation accuracy: may be lost to retraining
    objective: str = "avg_gap"  # or tug_of_war
    classes: tuple[int | str, ...] = ()  # a forget set each, in place of `draws`

    def check(self) -> None:
        """Raises `InputError` for a value that makes no sense."""
        if self.objective not in OBJECTIVES:
            raise InputError(
                f"unknown tune.objective {self.objective!r}: "
                f"choose from {', '.join(OBJECTIVES)}"
            )
        for name in ("trials", "seeds", "draws", "examples"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"tune.{name} must be at least 1; it is {getattr(self, name)}"
                )


def run(
    config: "ConfigDict", folder: Path | str, *, data_dir: str | None = None
) -> dict[str, dict[str, float]]:
    """Tunes the methods in `config.run`: `{method: {constant: value}}`, best trials.

    Continues where it stopped: methods whose trials are kept are done.

    Raises:
      InputError: as `pipeline.run`; no validation split or no such objective; a folder
        that was tuned with other settings.
    """
    settings = TuneConfig(**config.tune)
    settings.check()
    check_apart(config)
    require_reference(config, "tuning", trained=True)
    names = tuple(n for n in methods_of(config) if n in methods.METHODS)
    fixed = [name for name in names if not methods.METHODS[name].search]
    names = tuple(name for name in names if name not in fixed)
    if not names:
        raise InputError("no method to tune: none in `run` names floats in its search")
    folder = Path(folder) / "tuning"
    claimed = setup.saved_config(config, names) | {"tune": config.tune.to_dict()}
    store.check_claim(folder, claimed)
    runs = prepare(config, folder, names, data_dir)
    lock = store.claim(folder, claimed)
    seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
    for seed in seeds:
        stages.original(runs[0], seed)
    for run in runs[1:]:
        if run.origin == runs[0].origin:
            copy_originals(runs[0].folder, run.folder, seeds)
    of = {"tuning": setup.hash_of(claimed, [run.fingerprint for run in runs])}
    path, progress = folder / "tuning.csv", runs[0].progress
    if fixed:
        progress.say(f"Nothing to tune in {', '.join(fixed)}: no floats in the search")
    pairs = [
        (run, Sample(run.problem, settings.examples), seed)
        for run in runs
        for seed in seeds
    ]
    references = [
        sample.measure(config, predict(run, sample, "retrain", seed))
        for run, sample, seed in pairs
    ]
    best, rows = {}, []
    for number, name in enumerate(names, 1):
        trials = points(name, config.methods[name], settings.trials)
        record = folder / "trials" / f"{name}.json"
        if record.exists():
            kept = store.load_record(record)
            if kept.get("of") != of | {"method": name}:
                raise InputError(
                    f"{record} is of other tuning: delete it, {store.ANEW}"
                )
            done = [dict(row) for row in kept["trials"]]
        else:
            started = time.perf_counter()
            done = score_trials(config, name, trials, pairs, references)
            choose(done, settings.objective)["chosen"] = True
            kept = [[[k, plain(v)] for k, v in row.items()] for row in done]
            of_method = of | {"method": name}
            store.save_record(record, {"of": of_method, "trials": kept})
            progress.say(
                f"{number}/{len(names)}  {trial_line(name, done, settings.objective)}"
                f"  {time.perf_counter() - started:.1f} s"
            )
        rows += done
        csv_files.write_csv(path, rows)
        row = choose(done, settings.objective)
        best[name] = {constant: row[constant] for constant in trials[0]}
    progress.say(f"Every trial is in {path}. For the experiment's file:\n")
    for name, constants in best.items():
        text = ", ".join(f"{key}={value!r}" for key, value in constants.items())
        progress.say(f'    "{name}": dict({text}),')
    lock.release()
    return best


def trial_line(name: str, trials: list[dict], objective: str) -> str:
    """Says in a line what tuning a method has brought."""
    row = choose(trials, objective)
    limit = "" if row["feasible"] else ", beyond the utility limit"
    found = near_a_limit(name, row)
    edge = f", near the limit of its range: {', '.join(found)}" if found else ""
    return (
        f"{name:<22} {objective} {100 * row[objective]:6.2f}, "
        f"{100 * trials[0][objective]:6.2f} before, trial {row['trial']}{limit}{edge}"
    )


def near_a_limit(name: str, row: Mapping) -> list[str]:
    """Names the constants of a trial in the outer tenths of their ranges."""
    found = []
    for key, (low, high) in methods.METHODS[name].search.items():
        value = row[key]
        if low > 0:
            low, high, value = map(math.log, (low, high, max(value, 1e-30)))
        if not 0.1 < (value - low) / (high - low) < 0.9:
            found.append(key)
    return found


def score_trials(
    config: "ConfigDict",
    name: str,
    trials: Sequence[dict[str, float]],
    pairs: Sequence[tuple[Run, "Sample", int]],
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


def prepare(
    config: "ConfigDict", folder: Path, names: Sequence[str], data_dir: str | None
) -> list[Run]:
    """Returns a run for each forget set to tune on, see `other_requests`."""
    if not config.data.validation:
        raise InputError("tuning needs a validation split: data.validation")
    check(config, names)
    source = setup.load(config, data_dir)
    return [
        setup.prepare(other, folder / name, names, source=source)
        for name, other in other_requests(config, source)
    ]


def points(name: str, constants: Mapping, count: int) -> list[dict[str, float]]:
    """Returns the trials of a method: the constants as they are, then Sobol points."""
    from scipy.stats import qmc

    search = methods.METHODS[name].search
    trials = [{key: float(constants[key]) for key in search}]
    size = math.ceil(math.log2(max(2, count)))
    units = qmc.Sobol(len(search), seed=0).random_base2(size)[: count - 1]
    for unit in units:
        trial = {}
        for u, (key, (low, high)) in zip(unit, search.items(), strict=True):
            value = low * (high / low) ** u if low > 0 else low + (high - low) * u
            trial[key] = float(f"{value:.3g}")
        trials.append(trial)
    return trials


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
            method = stages.run_method
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
    row |= dict.fromkeys((*OBJECTIVES, *TRIAL), math.nan)
    pairs = []
    for own, reference in zip(measured, references, strict=True):
        if own is None:
            return row
        assert reference is not None
        pairs.append((own, reference))
    lost = np.mean([r["test_accuracy"] - m["test_accuracy"] for m, r in pairs])
    row["feasible"] = bool(lost <= config.tune.utility)
    for objective, (of_pair, _) in OBJECTIVES.items():
        row[objective] = float(np.mean([of_pair(m, r) for m, r in pairs]))
    own, reference = (
        {key: float(np.mean([m[key] for m in of])) for key in TRIAL}
        for of in zip(*pairs, strict=True)
    )
    row["misses"] = ""
    if ForgetConfig(**config.forget).whole_classes:
        row["misses"] = purpose.shortfall(own, {}, reference, whole_classes=True)
    return row | own


MARGIN = 2e-3  # the noise of some thousands of validation examples
FAR = 0.05  # of Tug-of-War


def choose(rows: list[dict], objective: str = "avg_gap") -> dict:
    """Returns the best of the feasible trials; if there is none, the most accurate one.

    By `tug_of_war` those are feasible that reach their purpose, or if there is none,
    every finite trial. The first trial, which is what the experiment has, stays unless
    it is beaten by more than `MARGIN`, or by `FAR` if none reaches its purpose.
    """
    finite = [row for row in rows if not math.isnan(row["test_accuracy"])]
    margin = MARGIN
    if objective == "tug_of_war":
        feasible = [row for row in finite if not row["misses"]]
        if not feasible:
            feasible, margin = finite, FAR
    else:
        feasible = [row for row in finite if row["feasible"]]
    if feasible:
        _, best = OBJECTIVES[objective]
        top = best(feasible, key=lambda row: row[objective])
        stays = any(row is rows[0] for row in feasible)
        stays &= abs(top[objective] - rows[0][objective]) <= margin
        return rows[0] if stays else top
    return max(finite or rows, key=lambda row: row["test_accuracy"])
