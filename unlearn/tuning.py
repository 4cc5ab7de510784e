"""Hyper-parameters of every method by one procedure: `launch.py --tune`.

Each method gets the same number of trials: the constants that the experiment has now,
then points of one scrambled Sobol sequence over the floats that its registry row names
in `search` (log-uniform, three significant digits). The trials of a method are one
compiled program; whole numbers and names stay as the experiment has them.

Objective (`tune.objective`), a mean over the tuning seeds and the classes to forget in
turn (`tune.classes`; default: the experiment's forget set), with the validation split
in the place of the test split: `avg_gap` to the retrained model, or `tug_of_war`. The
latter is for whole classes, where Avg. Gap's attack hangs on the few examples that the
model gets wrong and calls all of the forgotten class members, or none of it.
Utility limit: the validation accuracy is at most `tune.utility` below the retrained
model's in the mean; trials beyond it are chosen only if every trial is, and then the
most accurate one. The constants that are there stay unless beaten by `MARGIN`. Test
data is not used. Every trial is a row of `tuning.csv`.
"""

import functools
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import devices, methods, metrics, pipeline, training
from unlearn.errors import InputError
from unlearn.metrics.membership import spread
from unlearn.report import tables
from unlearn.report.progress import Progress

OBJECTIVES = {
    "avg_gap": (metrics.avg_gap, min),
    "tug_of_war": (metrics.tug_of_war, max),
}
TRIAL = ("forget_accuracy", "retain_accuracy", "test_accuracy", "mia_confidence")


def run(config, folder, *, data_dir=None) -> dict[str, dict[str, float]]:
    """Tunes the methods in `config.run`; `{method: {constant: value}}`, best trials.

    Continues where it stopped: methods with all their trials in `tuning.csv` are done.

    Raises:
      InputError: as `pipeline.run`; no validation split or no such objective.
    """
    names = tuple(n for n in dict.fromkeys(config.run) if n in pipeline.APPROXIMATE)
    folder = Path(folder) / "tuning"
    objective = config.tune.objective
    if objective not in OBJECTIVES:
        raise InputError(
            f"unknown tune.objective {objective!r}: choose from {', '.join(OBJECTIVES)}"
        )
    seeds, path = range(config.tune.seeds), folder / "tuning.csv"
    requests = prepare(config, folder, names, data_dir)
    progress = requests[0].progress
    classes = " ".join(map(str, config.tune.classes)) or "-"
    rows = tables.read_csv(path) if path.exists() else []
    samples = [Sample(this.problem, config.tune.examples) for this in requests]
    pairs = [
        (this, sample, seed)
        for this, sample in zip(requests, samples, strict=True)
        for seed in seeds
    ]
    references = [
        sample.measure(config, predict(this, sample, "retrain", seed))
        for this, sample, seed in pairs
    ]
    best = {}
    for number, name in enumerate(names, 1):
        trials = points(name, config.methods[name], config.tune.trials)
        done = [row for row in rows if row["method"] == name]
        if len(done) != config.tune.trials or str(done[0]["classes"]) != classes:
            started = time.perf_counter()
            logits = [many_trials(*pair, name, trials) for pair in pairs]
            rows = [row for row in rows if row["method"] != name]
            done = []
            for i, point in enumerate(trials):
                row = {"method": name, "trial": i, "classes": classes}
                measured = [
                    sample.measure(config, of_pair[i])
                    for (_, sample, _), of_pair in zip(pairs, logits, strict=True)
                ]
                done.append(row | score(config, measured, references) | point)
            row = choose(done, objective)
            row["chosen"] = True
            rows += done
            tables.write_csv(path, rows)
            seconds = time.perf_counter() - started
            progress.say(
                f"{number}/{len(names)}  {name:<22} {objective} "
                f"{100 * row[objective]:6.2f}, {100 * done[0][objective]:6.2f} before, "
                f"trial {row['trial']}"
                f"{'' if row['feasible'] else ', NONE within the utility limit'}"
                f"  {seconds:.1f} s"
            )
        row = choose(done, objective)
        best[name] = {constant: row[constant] for constant in trials[0]}
    progress.say(f"Every trial is in {path}. For the experiment's file:\n")
    for name, constants in best.items():
        settings = ", ".join(f"{key}={value!r}" for key, value in constants.items())
        progress.say(f'    "{name}": dict({settings}),')
    return best


def prepare(config, folder, names, data_dir) -> list[pipeline.Run]:
    """A run for each request: `tune.classes` in turn, or the config's forget set.

    The original model does not depend on the request and is trained once.
    """
    if config.tune.classes and config.forget.kind != "class":
        raise InputError("tune.classes is for forget.kind=class")
    if not config.data.validation:
        raise InputError("tuning needs a validation split: data.validation")
    requests = []
    for number in config.tune.classes or (None,):
        turn = config.copy_and_resolve_references()
        if number is not None:
            turn.forget.classes = (number,)
        place = folder if number is None else folder / f"forget_{number}"
        this, _ = pipeline.prepare(turn, place, names, data_dir, Progress())
        if requests:
            pipeline.copy_originals(requests[0].folder, place, config.tune.seeds)
        else:
            for seed in range(config.tune.seeds):
                pipeline.original(this, seed)
        requests.append(this)
    return requests


def points(name: str, constants, count: int) -> list[dict[str, float]]:
    """The trials of a method: the constants as they are, then Sobol points."""
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

    def __init__(self, problem, examples: int):
        held_out = problem.validation
        chosen = [
            np.asarray(indices)[spread(len(indices), min(examples, len(indices)))]
            for indices in (problem.forget, problem.retain)
        ]
        self.forget, self.size = len(chosen[0]), sum(map(len, chosen))
        indices = np.concatenate(chosen)
        self.images = jnp.concatenate([problem.images[indices], held_out.images])
        self.labels = np.asarray(problem.labels)[indices]
        self.held_out_labels = np.asarray(held_out.labels)
        self.classes = np.asarray(problem.forget_classes)

    def measure(self, config, logits) -> dict[str, float] | None:
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


def predict(this, sample: Sample, name: str, seed: int):
    variables, _ = pipeline.make_model(this, name, seed)
    return pipeline.predict_images(this.problem, variables, sample.images)


def many_trials(this, sample: Sample, seed: int, name: str, trials) -> np.ndarray:
    """Logits float32[trials, examples, K]: one program for all of them."""
    settings = this.config.methods[name]
    fixed = {key: value for key, value in settings.items() if key not in trials[0]}
    floats = {key: jnp.array([trial[key] for trial in trials]) for key in trials[0]}
    problem = pipeline.withheld(this, methods.METHODS[name].needs)
    args = (
        pipeline.key_of(seed, name),
        pipeline.original(this, seed),
        problem,
        sample.images,
        floats,
    )
    execute, _ = devices.compiled(trial_program(name, tuple(fixed.items())), *args)
    return np.asarray(execute(*args))


@functools.cache
def trial_program(name, fixed):
    def program(key, variables, problem, images, floats):
        def one(constants):
            method = pipeline.run_method
            constants = dict(fixed) | constants
            after, _ = method(name, key, variables, problem, **constants)
            scale = problem.mean, problem.std
            return training.predict(problem.model, after, images, *scale)

        return jax.lax.map(one, floats)

    return program


def score(config, measured, references) -> dict:
    """A trial's columns from its metrics on each pair; `None` in the list: diverged."""
    row = {"chosen": False, "feasible": False}
    row |= dict.fromkeys((*OBJECTIVES, *TRIAL), math.nan)
    if None in measured:
        return row
    pairs = list(zip(measured, references, strict=True))
    lost = np.mean([r["test_accuracy"] - m["test_accuracy"] for m, r in pairs])
    row["feasible"] = bool(lost <= config.tune.utility)
    for objective, (of_pair, _) in OBJECTIVES.items():
        row[objective] = float(np.mean([of_pair(m, r) for m, r in pairs]))
    return row | {key: float(np.mean([m[key] for m in measured])) for key in TRIAL}


MARGIN = 2e-3  # the noise of some thousands of validation examples


def choose(rows: list[dict], objective: str = "avg_gap") -> dict:
    """The best of the feasible trials; if there is none, the most accurate one.

    The first trial, which is what the experiment has, stays unless it is beaten by more
    than `MARGIN`.
    """
    feasible = [row for row in rows if row["feasible"]]
    if feasible:
        _, best = OBJECTIVES[objective]
        top = best(feasible, key=lambda row: row[objective])
        stays = rows[0]["feasible"]
        stays &= abs(top[objective] - rows[0][objective]) <= MARGIN
        return rows[0] if stays else top
    finite = [row for row in rows if not math.isnan(row["test_accuracy"])]
    return max(finite or rows, key=lambda row: row["test_accuracy"])
