"""Each class forgotten once: the run with all methods, then the best ones again.

Published constants collapse on some classes, so the worst class is what is reported.
The best are chosen on validation data: what is reported of them is on test data.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unlearn import methods, metrics, store
from unlearn.data.lookup import class_folder, class_numbers
from unlearn.errors import InputError
from unlearn.metrics import columns
from unlearn.pipeline.checks import check, methods_of
from unlearn.pipeline.imported import require_reference
from unlearn.pipeline.run import run as run_pipeline
from unlearn.pipeline.setup import load
from unlearn.report import class_sweep as report
from unlearn.report import csv_files, plotting
from unlearn.report.progress import Progress
from unlearn.report.summary import NO_REFERENCE, WEAK_REFERENCE

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class SweepConfig(NamedTuple):
    """The section `class_sweep` of a config."""

    classes: tuple[
        int | str, ...
    ] = ()  # numbers or names: those to forget, one after the other
    best: int = 5  # so many methods go on to the other classes
    seeds: int = 1
    speedup: float = 10.0  # methods come first that have this speed-up over retraining

    def check(self) -> None:
        """Raises `InputError` for a number that makes no sense."""
        for name in ("best", "seeds"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(
                    f"class_sweep.{name} must be at least 1; it is {value}"
                )


class Sweep(NamedTuple):
    """What a sweep over classes ends with."""

    worst: list[dict]  # one a model, as in worst_class.csv
    diverged: tuple[str, ...]  # methods that are not finite for some class


def run(
    config: "ConfigDict", folder: Path | str, *, data_dir: str | None = None
) -> Sweep:
    """Runs `config` as it is, then its best methods on each of `class_sweep.classes`.

    Each class is a run folder `forget_<name>` of its own. The original model does not
    depend on the class and is trained once. Writes `classes.csv` (a row a class and
    model), `worst_class.csv` and `.md`, and `figures/worst_class.png`.

    Raises:
      InputError: as `pipeline.run`; not one class to forget first, or no validation
        split.
    """
    folder, progress = Path(folder), Progress()
    SweepConfig(**config.class_sweep).check()
    require_reference(config, "a sweep over classes", trained=True)
    if not config.data.validation:
        raise InputError(
            "a sweep over classes chooses its methods on validation data: set "
            "data.validation"
        )
    if len(config.forget.classes) != 1:
        raise InputError("a sweep over classes begins with one: give forget.classes=7,")
    store.refuse_if_locked(folder)
    check(config, methods_of(config))
    source = load(config, data_dir)
    names = source.dataset.class_names
    (first,) = class_numbers(config.forget.classes, names)
    numbers = class_numbers(config.class_sweep.classes, names)
    given = dict(zip(numbers, config.class_sweep.classes, strict=True))
    home = folder / class_folder(first, names)
    lock = store.lock(folder)
    result = run_pipeline(config, home, source=source)
    chosen = best(
        result.rows,
        result.summary,
        config.class_sweep.best,
        config.class_sweep.speedup,
    )
    others = [number for number in given if number != first]
    if others:
        progress.say(f"{len(others)} other classes with the best: {', '.join(chosen)}")
    summaries, diverged = {first: result.summary}, list(result.diverged)
    for number in others:
        class_config = config.copy_and_resolve_references()
        class_config.forget.classes = (given[number],)
        place = folder / class_folder(number, names)
        class_config.run = (*chosen, *there_too(place, chosen))
        class_config.seeds = min(config.seeds, config.class_sweep.seeds)
        result = run_pipeline(
            class_config,
            place,
            source=source,
            originals=home,
        )
        summaries[number] = result.summary
        diverged += result.diverged
    by_class = {
        number if names[number] == str(number) else names[number]: summaries[number]
        for number in sorted(summaries)
    }
    rows = class_rows(by_class, (*chosen, "retrain"))
    worst = worst_class(rows)
    csv_files.write_csv(folder / "classes.csv", rows)
    csv_files.write_csv(folder / "worst_class.csv", worst)
    text = report.markdown(worst)
    store.write_text(folder / "worst_class.md", text)
    plotting.save(report.figure(rows, folder.name), folder / FIGURE)
    print(text)
    progress.say(f"Everything is in {folder}")
    lock.release()
    return Sweep(worst, tuple(dict.fromkeys(diverged)))


FIGURE = "figures/worst_class.png"
UNJUDGED = ("", "reference", NO_REFERENCE, WEAK_REFERENCE)  # verdicts; "": no pair


def best(
    rows: Sequence[dict], summary: Sequence[dict], count: int, speedup: float
) -> tuple[str, ...]:
    """Returns the approximate methods of best Tug-of-War, those fast enough first.

    Args:
      rows: as in results.csv; with the validation accuracy in place of that on test.
      summary: of the same run: status and speed.
      count: how many.
      speedup: how many times as fast as retraining is fast enough.
    """
    scores = validation_scores(rows)
    candidates = [
        row
        for row in summary
        if row["model"] in methods.METHODS
        and methods.METHODS[row["model"]].kind != "exact"
        and row["status"] == "ok"
    ]
    candidates.sort(key=lambda row: (row["speedup"] < speedup, -scores[row["model"]]))
    return tuple(row["model"] for row in candidates[:count])


def validation_scores(rows: Sequence[dict]) -> dict[str, float]:
    """Returns the mean Tug-of-War of each model, its test accuracy that on validation.

    Seeds that diverged are left out.
    """
    finished = {
        (row["model"], row["seed"]): row | {"test_accuracy": row["validation_accuracy"]}
        for row in rows
        if row["status"] != "diverged"
    }
    scores: dict[str, list[float]] = {}
    for (model, seed), row in finished.items():
        if ("retrain", seed) in finished:
            score = metrics.tug_of_war(row, finished["retrain", seed])
            scores.setdefault(model, []).append(score)
    return {model: sum(found) / len(found) for model, found in scores.items()}


def class_rows(
    summaries: Mapping[int | str, Sequence[dict]], models: Iterable[str]
) -> list[dict]:
    """Returns a row a (class, model): accuracies, distance and cost to retrain."""
    rows = []
    for name, summary in summaries.items():
        by_model = {row["model"]: row for row in summary}
        retrain = by_model["retrain"]
        for model in models:
            row = by_model[model]
            lost = retrain["test_accuracy"] - row["test_accuracy"]
            rows.append(
                {
                    "class": name,
                    "model": model,
                    "seeds": row["seeds"],
                    "forget_accuracy": row["forget_accuracy"],
                    "test_forget_accuracy": row["test_forget_accuracy"],
                    "test_accuracy": row["test_accuracy"],
                    "test_accuracy_lost": lost,
                    "avg_gap": row["avg_gap"],
                    "seconds": row["seconds"],
                    "cost": row["seconds"] / retrain["seconds"],
                    "misses": row["misses"],
                    "verdict": row["verdict"],
                }
            )
    return rows


def worst_class(rows: Sequence[dict]) -> list[dict]:
    """Returns a row a model: the worst value of each quantity, and its class.

    `judged` counts the classes on which the summary can tell whether it reaches its
    purpose, `reached` those of them on which it does. No value at all, as of a method
    that diverged, is worse than any.
    """
    worst = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        judged = [r for r in own if r["misses"] or r["verdict"] not in UNJUDGED]
        reached = [r for r in judged if not r["misses"] and r["verdict"] != "diverged"]
        row = {"model": model, "classes": len(own)}
        row |= {"judged": len(judged), "reached": len(reached)}
        for name in columns.CLASS_SWEEP:
            top = max(own, key=lambda r: (math.isnan(r[name]), r[name]))
            row |= {name: top[name], f"{name}_class": top["class"]}
        worst.append(row)
    return worst


def there_too(folder: Path, chosen: Sequence[str]) -> tuple[str, ...]:
    """Names what else a class's folder has: the best of what there was before."""
    path = folder / "config.json"
    run = store.read_json(path).get("run", ()) if path.exists() else ()
    return tuple(name for name in run if name not in chosen)
