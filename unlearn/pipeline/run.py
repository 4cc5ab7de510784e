"""Data, original, retrain, methods, metrics, report: one resumable run."""

import functools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unlearn import methods, metrics, store, training_time
from unlearn.errors import InputError
from unlearn.metrics import columns
from unlearn.pipeline import imported
from unlearn.pipeline.checks import (
    check_space,
    methods_of,
    parts_of,
    split_chain,
)
from unlearn.pipeline.evaluation import (
    all_finite,
    evaluate,
    measure,
    predict_examples,
)
from unlearn.pipeline.export import export
from unlearn.pipeline.method_programs import TO_COME
from unlearn.pipeline.setup import Run, Source, prepare
from unlearn.pipeline.stages import (
    Diverged,
    fit_and_forget,
    make_model,
    retained_only,
    seed_label,
)
from unlearn.pipeline.traces import check_methods
from unlearn.report.progress import Progress

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class Result(NamedTuple):
    """What a run ends with; its arrays are gone once it is dropped."""

    run: Run
    rows: list[dict]  # one a (model, seed), as in results.csv
    summary: list[dict]  # one a model, as in summary.csv
    diverged: tuple[str, ...]  # methods that are not finite for some seed


def run(
    config: "ConfigDict",
    folder: Path | str,
    *,
    data_dir: str | None = None,
    progress: Progress | None = None,
    originals: Path | str | None = None,
    source: Source | None = None,
) -> Result:
    """Runs or continues an experiment in `folder`.

    A method that diverges is reported with the others; see `Result.diverged`.

    Args:
      config: see `pipeline.default_config`.
      folder: the run folder; a run with another config in it is refused.
      data_dir: where prepared data sets lie.
      progress: a `Progress`; default: to standard output.
      originals: the folder of a run of which this one takes the original models: one
        with the same data, model and training, and another class to forget.
      source: the data if it is loaded already, see `setup.load`.

    Raises:
      InputError: bad input, in one line; `Diverged` if an original or a retrained model
        diverges, after the seeds before it are reported.
    """
    names = methods_of(config)
    run = prepare(
        config, folder, names, data_dir=data_dir, progress=progress, source=source
    )
    check_methods(run, names)
    check_space(run.folder, run.problem, config, names, len(run.sets.test_labels))
    if originals:
        copy_originals(originals, run.folder, range(config.seeds))
    for line in imported.notes(config):
        run.progress.say(line)
    rows, stopped = make_rows(run, names)
    summary = report(run, rows) if rows else []
    export(run, rows)
    if stopped:
        raise stopped
    diverged = dict.fromkeys(row["model"] for row in rows if is_diverged(row))
    return Result(run, rows, summary, tuple(diverged))


def copy_originals(source: Path | str, target: Path, seeds: Iterable[int]) -> None:
    """Copies the original models of one run folder to another."""
    for seed in seeds:
        final = Path("checkpoints", "original", str(seed), "final")
        store.copy_checkpoint(Path(source) / final, Path(target) / final)


def report(run: Run, rows: list[dict]) -> list[dict]:
    """Writes summary and figures of a run and prints the table; returns the summary."""
    from unlearn.report import csv_files, figures, tables
    from unlearn.report.summary import caveats, summarize

    whole_classes, folder = len(run.sets.forget_classes) > 0, run.folder
    summary = summarize(rows, imported.has_reference(run.config), whole_classes)
    csv_files.write_csv(folder / "summary.csv", summary)
    notes = [*imported.notes(run.config), *caveats(summary, len(run.sets.class_names))]
    text = tables.summary_markdown(summary, notes)
    copies = "".join(f"\n{line}.\n" for line in run.sets.copies)
    store.write_text(folder / "summary.md", text + copies)
    figures.write_all(folder / "figures", rows, summary, run.sets, run.evaluation)
    tables.print_table(summary)
    for line in caveats(summary, len(run.sets.class_names)):
        run.progress.say(line)
    run.progress.say(f"Everything is in {folder}")
    return summary


# Rows


def make_rows(run: Run, names: Sequence[str]) -> tuple[list[dict], Diverged | None]:
    """Returns the rows of `results.csv`: those that are kept, and the others computed.

    If an original or a retrained model diverges: the rows of the seeds before it, and
    the exception.
    """
    from unlearn.report import csv_files

    seeds = range(run.config.seeds)
    order = [(n, s) for s in seeds for n in imported.rows_of(run.config, names)]
    kept = {key: read_row(run, *key) for key in order}
    missing = [key for key in order if kept[key] is None]
    run.progress.expect((name, work(run, name)) for name, _ in missing)
    trained = "original", "retrain"
    to_come = tuple(dict.fromkeys(n for n, _ in missing if n not in trained))
    run.remember(TO_COME, to_come, lambda: to_come)

    def write():
        rows = [row for row in map(kept.get, order) if row is not None]
        if rows:
            csv_files.write_csv(run.folder / "results.csv", rows)
        return rows

    for name, seed in order:
        if kept[name, seed] is None:
            try:
                with run.progress.stage(name):
                    row = kept[name, seed] = make_row(run, name, seed)
            except Diverged as error:
                kept |= {key: None for key in order if key[1] >= seed}
                return write(), error
            write()
            run.progress.say(progress_line(row, run.config.seeds))
    run.progress.expect(None)
    return write(), None


def work(run: Run, name: str) -> float:
    """Guesses the work of a model, in passes over the training set, for the estimate.

    Only until it was measured once: what methods cost is known to a factor of ten.
    """
    if name in ("original", "retrain") or name in training_time.METHODS:
        return run.config.train.epochs
    return 0.2 * run.config.train.epochs * len(split_chain(name))


def record_path(run: Run, name: str, seed: int) -> Path:
    return run.evaluation_path(name, seed).with_suffix(".json")


def read_row(run: Run, name: str, seed: int) -> dict | None:
    """Returns a row that was computed before; None if anything of it is missing.

    Raises:
      InputError: it is damaged or of another run, or its logits or weights are.
    """
    path, logits = record_path(run, name, seed), run.evaluation_path(name, seed)
    weights = run.checkpoints(name, seed) / "final"
    if not path.exists():
        return None
    record = store.load_record(path)
    remedy = f"delete it, {store.ANEW}"
    if record.keys() != {"run", "row", "logits", "weights"}:
        raise InputError(f"{path} is damaged or of another version: {remedy}")
    row = dict(record["row"])
    place = row.get("model"), row.get("seed")
    if record["run"] != run.fingerprint or place != (name, seed):
        raise InputError(f"{path} is of another run or model: {remedy}")
    for part, found in (("logits", logits), ("weights", weights)):
        if record[part] is not None and not found.exists():
            return None
    if record["logits"] is not None and store.file_hash(logits) != record["logits"]:
        raise InputError(f"{logits} is damaged or of another run: {remedy}")
    if record["weights"] is not None:
        store.verify_checkpoint(weights)
        if store.checkpoint_hash(weights) != record["weights"]:
            raise InputError(f"{weights} is of another run or model: {remedy}")
    return row


def make_row(run: Run, name: str, seed: int) -> dict:
    """Trains or unlearns one model of one seed, measures it and keeps the row."""
    row = {"model": name, "seed": seed}
    try:
        if name in training_time.METHODS:
            predict, info = fit_and_forget(run, name, seed)
        else:
            variables, info = make_model(run, name, seed)
            predict = functools.partial(predict_examples, run.problem, variables)
        run.progress.tick(f"{seed_label(run, seed)}  {name}  measuring")
        evaluation = evaluate(run, predict)
        store.save_arrays(run.evaluation_path(name, seed), evaluation)
        if not all_finite(evaluation):
            raise Diverged(f"{name} (seed {seed}) diverged: not finite", info)
    except Diverged as error:
        if name in ("original", "retrain"):
            raise
        run.progress.say(str(error))
        blank = dict.fromkeys(columns.MEASURED, math.nan)
        row |= blank | timing(error.info) | {"status": "diverged"}
        save_row(run, row)
        return row
    measured = measure(run, evaluation)
    if run.problem.validation is not None:
        labels = np.asarray(run.problem.validation.labels)
        found = metrics.outputs_of(evaluation, "validation", labels).predictions
        stays = retained_only(run.problem)
        measured["validation_accuracy"] = metrics.share((found == labels)[stays])
    row |= {name: measured.pop(name) for name in columns.MEASURED}
    status = "imported" if info.get("imported") else "ok"
    row |= timing(info) | {"status": status} | measured
    save_row(run, row)
    return row


def save_row(run: Run, row: dict) -> None:
    """Keeps a row with the hashes of what it was computed from."""
    name, seed = row["model"], row["seed"]
    logits = run.evaluation_path(name, seed)
    weights = run.checkpoints(name, seed) / "final"
    record = {
        "run": run.fingerprint,
        "row": [[key, plain(value)] for key, value in row.items()],
        "logits": store.file_hash(logits) if logits.exists() else None,
        "weights": store.checkpoint_hash(weights) if weights.exists() else None,
    }
    store.save_record(record_path(run, name, seed), record)


def plain(value: Any) -> Any:
    """Returns a number of NumPy's as Python's."""
    return value.item() if hasattr(value, "item") else value


def timing(info: dict) -> dict:
    names = "seconds", "compile_seconds", "fit_seconds"
    return {key: info[key] for key in names if key in info}


def progress_line(row: dict, seeds: int) -> str:
    """Writes a row in a line for the terminal."""
    if is_diverged(row):
        return f"seed {row['seed'] + 1}/{seeds}  {row['model']:<16} diverged"
    took = f"{row['seconds']:8.2f} s + {row['compile_seconds']:.1f} s compile"
    return (
        f"seed {row['seed'] + 1}/{seeds}  {row['model']:<16}"
        f" forget {row['forget_accuracy']:7.2%}"
        f"  retain {row['retain_accuracy']:7.2%}  test {row['test_accuracy']:7.2%}"
        f"  {'imported' if row['status'] == 'imported' else took}"
    )


def is_diverged(row: dict) -> bool:
    return row["status"] == "diverged"


ROWS = {
    "oracle_matching": "audit.matching.learning_rate",
    "dp_sgd": "audit.private.learning_rate",
}
"""What to lower of the rows that an audit may ask for."""


def diverged_message(names: Iterable[str]) -> str:
    """Says in a line which methods diverged and what to do."""
    names = list(names)
    lower = ", ".join(ROWS.get(n) or constant_to_lower(n) for n in parts_of(names))
    return (
        f"{', '.join(names)} diverged: the loss or a weight is not finite; lower "
        f"{lower} (and use another folder); everything else is reported"
    )


def constant_to_lower(name: str) -> str:
    """Names the setting that makes a method's steps smaller."""
    from unlearn.pipeline.config import method_defaults

    known = name in methods.METHODS or name in training_time.METHODS
    if known and "learning_rate" not in method_defaults(name):
        return f"the steps by the constants in methods.{name}"
    return f"methods.{name}.learning_rate"
