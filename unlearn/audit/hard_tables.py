"""Gaps to retraining on harder forget sets, and over sequential requests."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.audit import games, hard_sets
from unlearn.audit.controls import CONTROLS, TAUGHT
from unlearn.audit.judged import Measurements, reference
from unlearn.audit.model_tables import SETS
from unlearn.audit.shadow_models import Measured, measure_all
from unlearn.audit.studies import Study, fixed_study, one_by_one
from unlearn.audit.tables import add, cell, mean_cell, table
from unlearn.metrics.accuracy import confusions
from unlearn.metrics.composite import interclass_confusion
from unlearn.pipeline import Run

ATTACKED = {
    "single": "AUC of the strongest attack by one example",
    "whole": "AUC of the attack by all examples of all requests",
}
MEMBERSHIP = (
    ("once_member", "members, at once", "", 3, "AUC: forgotten or never seen, single"),
    ("once_members", "members, at once, whole", "", 3, "the same by a whole set"),
    ("sequential_member", "members, sequential", "", 3, "AUC, after all requests"),
    ("sequential_members", "members, sequential, whole", "", 3, "by a whole set"),
)
FEWEST = 4  # models of a kind that an attack is fitted to


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


def sequential(
    run: Run,
    request: Study,
    names: Sequence[str],
    shadow: Measurements | None,
) -> dict:
    """Measures gaps to retraining after requests answered at once or one by one.

    Args:
      shadow: the shadow study if its forget sets are to be answered one by one too.
    """
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
        references = references or measure_all(study, ("original", "retrain", "oracle"))
        answers = references | measure_all(study, (*CONTROLS, *names))
        shown = {name: one for name, one in answers.items() if name != "oracle"}
        for what in ("forget", "test"):
            key, text = f"{mode}_{what}", f"absolute difference of {what} accuracy"
            columns.append((key, f"{what}, {label}", "points", 2, text))
            add(rows, key, gaps(study, shown, SETS[what]))
        leaks = {name: attacked(study, answers, name) for name in shown}
        for what, text in ATTACKED.items():
            key = f"{mode}_{what}"
            columns.append((key, f"{what}, {label}", "", 3, text))
            add(rows, key, {name: leak[what] for name, leak in leaks.items()})
    more = ""
    if shadow is not None:
        columns += MEMBERSHIP
        cells = membership(shadow, names, config.requests)
        for name, row in rows.items():
            row |= cells.get(name, {key: cell(math.nan) for key, *_ in MEMBERSHIP})
        more = (
            " Members: the attacks of the shadow study, in whose models each example "
            "was forgotten or never seen, so that the length of training tells "
            f"nothing; {config.requests} requests of "
            f"{shadow.study.forget.shape[1] // config.requests}."
        )
    note = (
        f"{config.requests} requests of {parts.shape[1]} examples each, answered at "
        "once or one after another, against retraining without all of them. Examples "
        "are retained until they are requested. Single and whole: AUC of who asks of "
        "a model whether it answered these requests or was retrained without them, by "
        "one example or by all; .5 where the two cannot be told apart, as retrain and "
        "others retrained. How long a model was trained tells it too, so an exact "
        "retraining in fewer epochs (retrain_short) is what to compare with: what "
        f"requests add up to is the difference between at once and sequential.{more}"
    )
    return table("requests", "Sequential requests", note, columns, rows)


def membership(
    shadow: Measurements, names: Sequence[str], requests: int
) -> dict[str, dict]:
    """Attacks the models of a shadow study that answered requests one after another.

    Returns cells by the keys of `MEMBERSHIP`; the original and the retrained model are
    not asked one after another, and have those at once.
    """
    study = one_by_one(shadow.study, "requests/members", requests)
    asked = [name for name in names if name in shadow.models]
    answers = measure_all(study, asked)
    rows = {}
    for name in ("original", "retrain", *asked):
        once = members(shadow.study, shadow.models[name])
        later = members(study, answers[name]) if name in answers else once
        keys = (key for key, *_ in MEMBERSHIP)
        rows[name] = dict(zip(keys, (*once, *later), strict=True))
    return rows


def members(study: Study, measured: Measured) -> tuple[dict, dict]:
    """Returns the AUC of single examples and of whole sets; NaN of what diverged."""
    if not np.isfinite(measured.margins).all():
        return cell(math.nan), cell(math.nan)
    leak = games.play(games.membership(study, measured))
    return cell(*leak.leak), cell(*leak.whole)


def attacked(
    study: Study, models: Mapping[str, Measured], name: str
) -> dict[str, dict]:
    """Attacks models that all forgot one set: are they told from retrained ones?

    Returns cells by the keys of `ATTACKED`; NaN of a method that diverges, and of so
    few models that an attack cannot be fitted.
    """
    other = models[reference(name)]
    enough = min(len(models[name].margins), len(other.margins)) >= FEWEST
    if not enough or not np.isfinite(models[name].margins).all():
        return dict.fromkeys(ATTACKED, cell(math.nan))
    leak = games.play(games.efficacy(study, models[name], other))
    return {"single": cell(*leak.leak), "whole": cell(*leak.whole)}


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
