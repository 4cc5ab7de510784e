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
constants that are there stay unless beaten by a margin, or where no trial reaches its
purpose by `FAR`: the best of failures, such as 2 % where 100 is best, is no choice.
`audit`: what attacks on few shadow models find (`leak_trials`), as a share of what
they find of the original, under the same utility limit: neither of the other two sees
a leak, and either may choose a trial that has one. Test data is not used. Every trial
is a row of `tuning.csv`; a chosen constant near a limit of its range is named, as a
wider range could be better.

`tune.budgets` puts rows of other lengths in the place of each method (`budgets`).
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unlearn import methods, store
from unlearn.data.splits import ForgetConfig
from unlearn.errors import InputError
from unlearn.metrics import purpose
from unlearn.pipeline import (
    budgets,
    leak_trials,
    method_programs,
    setup,
    trials,
)
from unlearn.pipeline.checks import check, methods_of
from unlearn.pipeline.imported import require_reference, require_trained
from unlearn.pipeline.other_requests import check_apart, other_requests
from unlearn.pipeline.run import plain
from unlearn.pipeline.setup import Run
from unlearn.report import csv_files
from unlearn.report.progress import Progress

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class Objective(NamedTuple):
    """What trials are chosen by."""

    column: str  # of `tuning.csv`
    best: Callable  # min or max
    judge: Callable  # `runs -> (method, trials) -> rows`
    margin: float  # what is no better than that leaves the constants as they are


OBJECTIVES = {
    # Of the first two the noise of some thousands of validation examples. Of a share of
    # the leak 24 shadow models tell less apart than that: more models, or draws, do.
    "avg_gap": Objective("avg_gap", min, trials.judge, 0.002),
    "tug_of_war": Objective("tug_of_war", max, trials.judge, 0.002),
    "audit": Objective("leak", min, leak_trials.judge, 0.1),
}
FAR = 0.05  # of Tug-of-War


class TuneConfig(NamedTuple):
    """The section `tune` of a config."""

    trials: int = 16  # a method
    seeds: int = 1  # not of audit, which has models
    first_seed: int = 100  # beyond those of the tables
    draws: int = 1  # forget sets, or classes: others than those of the tables
    examples: int = 2000  # at most so many of the forget and of the retain set measured
    utility: float = purpose.TEST  # of validation accuracy: may be lost to retraining
    objective: str = "avg_gap"  # or tug_of_war, or audit
    models: int = 24  # of a request, for audit: shadow models
    classes: tuple[int | str, ...] = ()  # a forget set each, in place of `draws`
    budgets: tuple[float, ...] = ()  # shares of retraining's compute: a row for each

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
        if self.models < leak_trials.LEAST_MODELS or self.models % 2:
            raise InputError(
                f"tune.models must be even and at least {leak_trials.LEAST_MODELS}; "
                f"it is {self.models}"
            )
        if self.objective == "audit" and self.examples < leak_trials.FEW:
            raise InputError(
                f"tune.objective=audit needs tune.examples of {leak_trials.FEW} or "
                f"more; it is {self.examples}"
            )
        budgets.check_budgets(self.budgets)


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
    if settings.objective == "audit":
        require_trained(config, "tune.objective=audit")
    names = tuple(n for n in methods_of(config) if n in methods.METHODS)
    fixed = [name for name in names if not methods.METHODS[name].search]
    names = tuple(name for name in names if name not in fixed)
    if not names:
        raise InputError("no method to tune: none in `run` names floats in its search")
    folder, source, told, lengths = Path(folder) / "tuning", None, [], {}
    if settings.budgets:
        check(config, names)
        source = setup.load(config, data_dir)
        config, names, lengths, told = budgets.with_rows(config, names, source)
    section = budgets.saved_section(config)
    claimed = setup.saved_config(config, names) | {"tune": section}
    store.check_claim(folder, claimed)
    runs = prepare(config, folder, names, data_dir, source)
    lock = store.claim(folder, claimed)
    fingerprints = [run.fingerprint for run in runs]
    of = {"tuning": setup.hash_of(setup.without_methods(claimed), fingerprints)}
    if settings.objective == "audit" and ForgetConfig(**config.forget).whole_classes:
        of["measures"] = list(leak_trials.OF_CLASSES)  # there were fewer before
    path, progress = folder / "tuning.csv", runs[0].progress
    if fixed:
        progress.say(f"Nothing to tune in {', '.join(fixed)}: no floats in the search")
    for line in told:
        progress.say(line)
    judge = OBJECTIVES[settings.objective].judge(runs)
    best, rows = {}, []
    for number, name in enumerate(names, 1):
        search = methods.METHODS[name].search
        tried = points(search, config.methods[name], settings.trials)
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
            with method_programs.mistakes_of(methods.METHODS[name]):
                done = judge(name, tried)
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
        chosen = {constant: row[constant] for constant in tried[0]}
        best[name] = lengths.get(name, {}) | chosen
    say_chosen(progress, path, best)
    lock.release()
    return best


def say_chosen(progress: Progress, path: Path, best: Mapping[str, Mapping]) -> None:
    """Prints `{method: {constant: value}}` as an experiment's file has them."""
    progress.say(f"Every trial is in {path}. For the experiment's file:\n")
    for name, constants in best.items():
        text = ", ".join(f"{key}={value!r}" for key, value in constants.items())
        progress.say(f'    "{name}": dict({text}),')


def trial_line(name: str, tried: list[dict], objective: str) -> str:
    """Says in a line what tuning a method has brought."""
    row, column = choose(tried, objective), OBJECTIVES[objective].column
    limit = "" if row["feasible"] else ", beyond the utility limit"
    found = near_a_limit(name, row)
    edge = f", near the limit of its range: {', '.join(found)}" if found else ""
    return (
        f"{name:<22} {column} {100 * row[column]:6.2f}, "
        f"{100 * tried[0][column]:6.2f} before, trial {row['trial']}{limit}{edge}"
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


def prepare(
    config: "ConfigDict",
    folder: Path,
    names: Sequence[str],
    data_dir: str | None,
    source: setup.Source | None = None,
) -> list[Run]:
    """Returns a run for each forget set to tune on, see `other_requests`."""
    if not config.data.validation:
        raise InputError("tuning needs a validation split: data.validation")
    check(config, names)
    source = source or setup.load(config, data_dir)
    return [
        setup.prepare(other, folder / name, names, source=source)
        for name, other in other_requests(config, source)
    ]


def points(
    search: Mapping[str, tuple[float, float]], constants: Mapping, count: int
) -> list[dict[str, float]]:
    """Returns the trials of a method: the constants as they are, then Sobol points.

    Args:
      search: of its registry row.
    """
    from scipy.stats import qmc

    tried = [{key: float(constants[key]) for key in search}]
    size = math.ceil(math.log2(max(2, count)))
    units = qmc.Sobol(len(search), seed=0).random_base2(size)[: count - 1]
    for unit in units:
        trial = {}
        for u, (key, (low, high)) in zip(unit, search.items(), strict=True):
            value = low * (high / low) ** u if low > 0 else low + (high - low) * u
            trial[key] = float(f"{value:.3g}")
        tried.append(trial)
    return tried


def choose(rows: list[dict], objective: str = "avg_gap") -> dict:
    """Returns the best of the feasible trials; if there is none, the most accurate one.

    By `tug_of_war` those are feasible that reach their purpose, or if there is none,
    every finite trial. The first trial, which is what the experiment has, stays unless
    it is beaten by more than the objective's margin, or by `FAR` if none reaches its
    purpose.
    """
    column, best, _, margin = OBJECTIVES[objective]
    finite = [row for row in rows if not math.isnan(row["test_accuracy"])]
    if objective == "tug_of_war":
        feasible = [row for row in finite if not row["misses"]]
        if not feasible:
            feasible, margin = finite, FAR
    else:
        feasible = [row for row in finite if row["feasible"]]
    if feasible:
        top = best(feasible, key=lambda row: row[column])
        stays = any(row is rows[0] for row in feasible)
        stays &= abs(top[column] - rows[0][column]) <= margin
        return rows[0] if stays else top
    return max(finite or rows, key=lambda row: row["test_accuracy"])
