"""Gaps to retraining on harder forget sets, and over sequential requests."""

import math
from collections.abc import Sequence

import numpy as np

from unlearn.audit import hard_sets
from unlearn.audit.controls import CONTROLS, TAUGHT
from unlearn.audit.model_tables import SETS
from unlearn.audit.shadow_models import Measured, measure_all
from unlearn.audit.studies import Study, fixed_study
from unlearn.audit.tables import add, cell, mean_cell, table
from unlearn.metrics.accuracy import confusions
from unlearn.metrics.composite import interclass_confusion
from unlearn.pipeline import Run


def harder(
    run: Run,
    shadow: Study,
    stress: Study | None,
    request: Study,
    names: Sequence[str],
) -> dict:
    """Measures gaps to retraining on forget sets harder than a random one."""
    models, columns, rows = run.config.audit.harder.models, [], {}
    every = "original", "retrain", *CONTROLS, *names
    sets = hard_sets.harder_sets(run, shadow, stress)
    for label, (forget, labels) in sets.items():
        key = label.replace(" ", "_")
        study = fixed_study(
            f"harder/{key}",
            run,
            forget,
            models,
            labels=labels,
            source=request if labels is None else None,
        )
        answers = measure_all(study, every)
        text = f"accuracy on the forget set {label}"
        columns.append((f"{key}_forget", label, "points", 1, text))
        add(rows, f"{key}_forget", gaps(study, answers, "targets"))
        if key == "confused_pair":
            pair = np.unique(labels[forget])
            text = "share of unseen examples of the two classes taken for another"
            columns.append(("confusion", "interclass error", "%", 1, text))
            errors = {name: confusion(study, answers[name], pair) for name in rows}
            add(rows, "confusion", errors)
    size = len(next(iter(sets.values()))[0])
    note = (
        f"Mean absolute difference to retraining of the accuracy on {size} forgotten "
        f"examples over {models} models; retrain's row is the floor, the difference "
        "between two of them. `worst case`: what retrained models are surest of; "
        "`confused pair`: labels of two classes exchanged."
    )
    return table("harder", "Harder forget sets", note, columns, rows)


def sequential(run: Run, request: Study, names: Sequence[str]) -> dict:
    """Measures gaps to retraining after requests answered at once or one by one."""
    config, columns, rows, references = run.config.audit.harder, [], {}, {}
    parts = hard_sets.sequential_requests(
        len(run.problem.labels), requests=config.requests, fraction=config.fraction
    )
    modes = ("once", 1, "at once"), ("sequential", config.requests, "sequential")
    for mode, requests, label in modes:
        study = fixed_study(
            f"requests/{mode}",
            run,
            parts.ravel(),
            config.models,
            requests=requests,
            source=request,
        )
        references = references or measure_all(study, ("original", "retrain"))
        answers = references | measure_all(study, (*CONTROLS, *names))
        for what in ("forget", "test"):
            key, text = f"{mode}_{what}", f"absolute difference of {what} accuracy"
            columns.append((key, f"{what}, {label}", "points", 2, text))
            add(rows, key, gaps(study, answers, SETS[what]))
    note = (
        f"{config.requests} requests of {parts.shape[1]} examples each, answered at "
        "once or one after another, against retraining without all of them. Examples "
        "are retained until they are requested."
    )
    return table("requests", "Sequential requests", note, columns, rows)


def gaps(study: Study, models: dict[str, Measured], part: str) -> dict[str, dict]:
    """Returns the mean absolute difference of accuracy to retraining.

    On `part` of what is measured. Retrained models are compared in pairs, no model in
    two of them; what each was taught by one, with another one. A method that diverges
    has NaN.
    """
    labels, part = np.asarray(study.labels), study.sets[part]
    accuracy = {
        name: 100 * (m.predictions == labels)[:, part].mean(1)
        for name, m in models.items()
    }
    retrained = accuracy["retrain"]
    found = {}
    for name, own in accuracy.items():
        others = np.roll(retrained, 1) if name in TAUGHT else retrained
        finite = np.isfinite(models[name].margins).all(1)
        found[name] = np.where(finite, own - others, np.nan)
    found["retrain"] = retrained[:-1:2] - retrained[1::2]
    return {name: mean_cell(np.abs(gap)) for name, gap in found.items()}


def confusion(study: Study, measured: Measured, pair: np.ndarray) -> dict:
    """Returns the interclass error on test examples, a mean over models."""
    if not np.isfinite(measured.margins).all():
        return cell(math.nan)
    test = study.sets["test"]

    def first_second_other(classes):
        return np.select([classes == pair[0], classes == pair[1]], [0, 1], 2)

    labels = first_second_other(np.asarray(study.labels)[test])
    answers = first_second_other(measured.predictions[:, test])
    counts = [confusions(one, labels, 3) for one in answers]
    return mean_cell([100 * interclass_confusion(c, [(0, 1)]).error for c in counts])
