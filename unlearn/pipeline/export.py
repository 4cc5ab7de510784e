"""Writes the unlearned models of a run as files for others."""

from collections.abc import Sequence

from unlearn import models, training_time
from unlearn.pipeline.setup import Run
from unlearn.pipeline.stages import make_model


def export(run: Run, rows: Sequence[dict]) -> None:
    """Writes `export/<model>/<seed>.<format>` of every model without the forgotten.

    What is there already stays. Models that diverged or were imported, and those of
    `training_time`, which are no single set of weights, are left out.
    """
    kind, left_out = run.config.export, []
    for row in rows if kind else ():
        name, seed = row["model"], row["seed"]
        if name == "original" or row["status"] != "ok":
            continue
        if name in training_time.METHODS:
            left_out.append(name)
            continue
        path = run.folder / "export" / name / f"{seed}.{kind}"
        if not path.exists():
            models.save_weights(path, make_model(run, name, seed)[0])
    for name in dict.fromkeys(left_out):
        run.progress.say(f"{name} is not exported: it is more than one set of weights")
