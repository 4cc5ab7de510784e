"""What the studies show: the audits of every model in tables, controls and verdicts.

A table is as `report.page` has it, a dict of columns and rows; a cell is a value with
its 95 % interval. What decides the verdict on a method is in `decide`: U-LiRA on the
forgotten targets, on the mislabelled ones among them, and the accuracy that is left.
"""

import math
from typing import NamedTuple

import numpy as np

from unlearn import audits, forget_sets, metrics, pipeline, studies
from unlearn.metrics import bavaria, lira, rmia, roc, ruli
from unlearn.metrics.composite import (
    adaptive_unlearning_score,
    interclass_confusion,
    nomus,
)
from unlearn.metrics.forgetting_score import final_score, relative_forgetting_score
from unlearn.metrics.klom import klom_summary
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.metrics.relearning import anamnesis_index, relearn_time
from unlearn.metrics.verdict import (
    INCONCLUSIVE,
    OUTSIDE,
    WITHIN,
    Judged,
    conclusive,
    judge,
    together,
)
from unlearn.report import tables

OUTCOMES = {WITHIN: "pass", OUTSIDE: "fail", INCONCLUSIVE: "inconclusive"}
EXPECTED = {
    "original": ("fail", "the model before unlearning"),
    "retrain": ("pass", "trained anew without the forget set, with fresh seeds"),
    "no_op": ("fail", "a request to which nothing was done"),
    "head_distill": ("fail", "only the head was trained, to answer like retraining"),
    "constant_margin": ("fail", "the original's answers, all equally confident"),
    "collapsed": ("fail", "one answer to everything"),
}
ANCHORS = (*EXPECTED, audits.UNTRAINED)


class Finding(NamedTuple):
    """The verdict on one model, and the sentences with the numbers that decide it."""

    judged: Judged
    attacked: Judged  # by the attacks alone, its accuracy left aside
    because: list[str]


def reference(name: str) -> str:
    """The retrained models that a model is compared with: others than itself."""
    return "oracle" if name == "retrain" else "retrain"


def cell(value, low=math.nan, high=math.nan) -> dict:
    return {"value": value, "low": low, "high": high}


def mean_cell(values) -> dict:
    values = np.asarray(values, float)
    mean, half = float(np.mean(values)), tables.interval(values)
    return cell(mean, mean - half, mean + half)


def kind(name: str) -> str:
    return "control" if name in ANCHORS else "method"


def table(name, title, note, columns, rows) -> dict:
    """Columns as (key, label, unit, digits, help); rows as {model: cells}."""
    keys = "key", "label", "unit", "digits", "help"
    return {
        "id": name,
        "title": title,
        "note": note,
        "columns": [dict(zip(keys, column, strict=True)) for column in columns],
        "rows": [
            {"model": model, "kind": kind(model), "cells": cells}
            for model, cells in rows.items()
        ],
    }


# Per example: the shadow study

PER_EXAMPLE = (
    ("u_lira", "U-LiRA AUC", "", 3, "forgotten or never seen? 0.5: cannot be told"),
    (
        "u_lira_canary",
        "U-LiRA, mislabelled",
        "",
        3,
        "the same, of mislabelled examples only",
    ),
    (
        "u_lira_memorised",
        "U-LiRA, memorised",
        "",
        3,
        "the third memorised most of the others",
    ),
    (
        "u_lira_not_memorised",
        "U-LiRA, not memorised",
        "",
        3,
        "the third memorised least: a control",
    ),
    (
        "tpr_1",
        "TPR at 1 % FPR",
        "%",
        1,
        "U-LiRA, mislabelled, at 1 % false alarms",
    ),
    ("tpr_01", "TPR at 0.1 % FPR", "%", 1, "the same at 0.1 %"),
    ("bavaria", "BaVarIA AUC", "", 3, "as U-LiRA, for few shadow models"),
    ("rmia", "RMIA AUC", "", 3, "as U-LiRA, by ratios to other examples"),
    ("ruli", "RULI privacy AUC", "", 3, "as U-LiRA, by kernel densities"),
    (
        "efficacy",
        "RULI efficacy AUC",
        "",
        3,
        "unlearned or retrained? by kernel densities",
    ),
    ("retain", "LiRA AUC, retained", "", 3, "kept or never seen? compare with retrain"),
    ("population", "population MIA AUC", "", 3, "the attack of the usual tables"),
    (
        "forget",
        "Forget acc.",
        "%",
        1,
        "of forgotten targets, mislabelled ones left out",
    ),
    ("test", "Test acc.", "%", 1, "of test examples"),
)
NOTE = (
    "Every model of the study has a forget set of its own; each target is out of a "
    "third of the training sets, kept in a third and forgotten in a third. Intervals: "
    "95 %, bootstrap over models and examples."
)


def per_example(study, models: dict, *, rounds: int = 300):
    """`(table, {model: ROC})` of the shadow study.

    Args:
      study: a `studies.Study` with states.
      models: `{name: Measured}`; with `original`, `retrain` and `oracle`.

    The memorised third is found by the models of one half and audited on the other.
    """
    targets, test = study.sets["targets"], study.sets["test"]
    states, canary = study.states, study.canary
    labels = np.asarray(study.labels)
    positive, negative = states == FORGET, states == OUT
    before = models["original"].margins[:, targets]
    masks = memorized(before, states, canary)
    everything = np.ones(states.shape, bool)
    rows, curves = {}, {}

    def audit(scores, mask, one=positive):
        return roc.evaluate(scores, one & mask, negative & mask, rounds=rounds)

    for name, measured in models.items():
        if name == "oracle":
            continue
        margins = measured.margins[:, targets].astype(np.float64)
        hits = measured.predictions == labels
        scores = lira.u_lira(margins, states)
        curves[name] = {
            part: roc.roc_curve(scores, positive & mask, negative & mask)
            for part, mask in (("all", everything), ("mislabelled", canary[None]))
            if mask.any()
        }
        cells = {"u_lira": auc_cell(audit(scores, everything))}
        if canary.any():
            of_canaries = audit(scores, canary[None] & everything)
            cells["u_lira_canary"] = auc_cell(of_canaries)
            cells["tpr_1"] = percent(
                of_canaries.tpr_at_1fpr, *of_canaries.tpr_at_1fpr_interval
            )
            cells["tpr_01"] = percent(
                of_canaries.tpr_at_01fpr, *of_canaries.tpr_at_01fpr_interval
            )
        for key, mask in masks.items():
            cells[key] = auc_cell(audit(scores, mask))
        for key, scores in (
            ("bavaria", bavaria.bavaria(margins, states, positive=FORGET)),
            ("rmia", rmia.rmia(margins, states, positive=FORGET)),
            ("ruli", ruli.ruli_privacy(margins, states)),
        ):
            cells[key] = auc_cell(audit(scores, everything))
        other = models[reference(name)].margins[:, targets]
        two = ruli.ruli_efficacy(margins, other, states)
        none, twice = np.zeros_like(positive), np.tile(np.arange(study.models), 2)
        cells["efficacy"] = auc_cell(
            roc.evaluate(
                np.concatenate(two),
                np.concatenate([positive, none]),
                np.concatenate([none, positive]),
                models=twice,
                rounds=rounds,
            )
        )
        kept = lira.lira_online(margins, states, positive=RETAIN)
        cells["retain"] = auc_cell(audit(kept, everything, one=states == RETAIN))
        clean = ~canary[None]
        cells["population"] = mean_cell(
            [
                population_auc(
                    margins[s], measured.margins[s, test], positive[s] & clean[0]
                )
                for s in range(study.models)
            ]
        )
        accuracies = np.where(positive & clean, hits[:, targets], np.nan)
        cells["forget"] = mean_cell(100 * np.nanmean(accuracies, axis=1))
        cells["test"] = mean_cell(100 * hits[:, test].mean(axis=1))
        rows[name] = cells
    present = {key for cells in rows.values() for key in cells}
    columns = [column for column in PER_EXAMPLE if column[0] in present]
    title = "Per-example attacks on forgotten and kept examples"
    return table("per_example", title, NOTE, columns, rows), curves


def memorized(before, states, canary) -> dict[str, np.ndarray]:
    """Masks bool[S, T] of the least and most memorised third of the clean targets."""
    half = np.arange(len(states)) % 2
    masks = {
        key: np.zeros(states.shape, bool)
        for key in ("u_lira_not_memorised", "u_lira_memorised")
    }
    clean = np.flatnonzero(~canary)
    for side in (0, 1):
        rows = half != side
        scores = forget_sets.memorization(before[rows], states[rows])[clean]
        groups = forget_sets.strata(np.nan_to_num(scores))
        for key, group in (("u_lira_not_memorised", 0), ("u_lira_memorised", 2)):
            chosen = np.isin(np.arange(len(canary)), clean[groups == group])
            masks[key] |= (half == side)[:, None] & chosen
    return masks


def auc_cell(audit) -> dict:
    return cell(audit.auc, *audit.auc_interval)


def percent(value, low, high) -> dict:
    return cell(100 * value, 100 * low, 100 * high)


def population_auc(margins, unseen, forgotten) -> float:
    """The loss-threshold attack on one model; margins have the order of losses."""
    return metrics.threshold_attack(-margins[forgotten], -unseen).auc


# Distributional: the request study

SETS = {"forget": "targets", "retain": "rest", "test": "test"}
DISTRIBUTION = (
    *(
        column
        for name in SETS
        for column in (
            (f"klom_{name}", f"KLoM {name}", "nats", 2, f"mean over {name} examples"),
            (f"klom_{name}_ratio", f"KLoM {name} / floor", "", 1, "1: as retraining"),
            (f"p95_{name}", f"KLoM {name}, 95 %", "nats", 2, "95th percentile"),
            (f"p95_{name}_ratio", f"95 % {name} / floor", "", 1, "1: as retraining"),
        )
    ),
    ("epsilon", "Forgetting score", "", 3, "of the NeurIPS 2023 challenge"),
    (
        "epsilon_ratio",
        "Score / retrain's",
        "",
        2,
        "1: as two groups of retrained models",
    ),
    ("final", "Final score", "", 3, "the score times the ratios of accuracy"),
)


def distributional(study, models: dict) -> dict:
    """The table of the request study; `models` as `per_example`."""
    retrain, oracle = models["retrain"], models["oracle"]
    labels, sets = np.asarray(study.labels), study.sets
    accuracy = {
        name: {k: np.mean((m.predictions == labels)[:, s]) for k, s in sets.items()}
        for name, m in models.items()
    }
    rows = {}
    for name, measured in models.items():
        if name == "oracle":
            continue
        ours = oracle if name == "retrain" else measured
        cells = {}
        for key, part in SETS.items():
            groups = (m.margins[:, sets[part]] for m in (ours, retrain, oracle))
            found = klom_summary(*groups)
            cells[f"klom_{key}"] = cell(found.mean)
            cells[f"klom_{key}_ratio"] = cell(found.mean / found.floor_mean)
            cells[f"p95_{key}"] = cell(found.p95)
            cells[f"p95_{key}_ratio"] = cell(found.p95 / found.floor_p95)
        groups = (m.margins[:, sets["targets"]] for m in (ours, retrain, oracle))
        score = relative_forgetting_score(*groups)
        cells["epsilon"] = cell(score.score)
        cells["epsilon_ratio"] = cell(score.relative)
        ratios = (accuracy[name][k] / accuracy["retrain"][k] for k in ("rest", "test"))
        cells["final"] = cell(final_score(score.score, *ratios))
        rows[name] = cells
    note = (
        f"{study.models} models of each kind answered the same request. `retrain` is a "
        "second group of retrained models, so its row is the floor: what a perfect "
        "method would get from so many models."
    )
    title = "Distributions of margins against those of retrained models"
    return table("distributional", title, note, DISTRIBUTION, rows)


# The run's own models

OUTPUTS = (
    ("js", "Jensen-Shannon", "nats", 4, "of the outputs to retrain's, 0 to 0.69"),
    ("activation", "Activation dist.", "", 4, "L2 distance of the outputs to retrain"),
    ("agreement", "Agreement", "%", 1, "same predictions as retrain"),
    ("completeness", "Completeness", "%", 1, "Jaccard index of the predictions"),
    ("zrf", "ZRF", "", 3, "1: as random as an untrained model; compare with retrain"),
    ("aus", "AUS", "", 3, "utility kept over distance of forget to test accuracy"),
    ("nomus", "NoMUS", "", 3, "half accuracy, half how little an attack gains"),
)


def outputs(this, context, names) -> dict:
    """Distances of the outputs on the forget set, over the run's seeds."""
    seeds, forget = range(this.config.seeds), context.forget
    rows = {}
    untrained = [
        pipeline.predict_images(
            this.problem,
            audits.variables_of(this, audits.UNTRAINED, seed),
            this.problem.images[forget],
        )
        for seed in seeds
    ]
    results = {
        (row["model"], row["seed"]): row
        for row in tables.read_csv(this.folder / "results.csv")
    }
    for name in ("original", "retrain", *names):
        found = []
        for seed in seeds:
            own = this.evaluation(name, seed)["train_logits"][forget]
            other = (seed + 1) % len(seeds) if name == "retrain" else seed
            retrained = this.evaluation("retrain", other)["train_logits"][forget]
            row = audits.output_distances(own, retrained, untrained[seed])
            one = results[name, seed]
            row["aus"] = adaptive_unlearning_score(
                one["test_accuracy"],
                one["forget_accuracy"],
                results["original", seed]["test_accuracy"],
                class_removal=bool(len(context.forget_classes)),
            )
            attack = one["mia_regression"]
            known = not math.isnan(attack)
            row["nomus"] = nomus(one["test_accuracy"], attack) if known else math.nan
            found.append(row)
        shares = {key for key, _, unit, *_ in OUTPUTS if unit == "%"}
        rows[name] = {
            key: mean_cell([(100 if key in shares else 1) * row[key] for row in found])
            for key, *_ in OUTPUTS
        }
    note = (
        "On the forget set, against the retrained model of the same seed; `retrain` "
        "against that of the next seed, which is the floor."
    )
    return table("outputs", "Distances of outputs", note, OUTPUTS, rows)


LAYERS = (
    ("relearn", "Relearn", "steps", 0, "until the original's loss or accuracy"),
    ("ain", "Anamnesis Index", "", 2, "steps over those of retrain: 1 is ideal"),
    (
        "probe",
        "Linear probe",
        "%",
        1,
        "forget accuracy of a new head on frozen features",
    ),
    ("idi", "IDI", "", 2, "what the layers know more than retrain; original: 1"),
)


def layers(this, names, *, seeds: int, examples: int, relearning: dict) -> dict:
    """What is below the outputs: relearning, a probe and IDI, of some seeds.

    The anchors are `original` (0 steps) and a model from scratch, `untrained`.
    """
    looked = audits.Layers(this, examples)
    models = "original", "retrain", audits.HEAD, audits.UNTRAINED, *names
    found = {name: [] for name in models}
    for seed in range(min(seeds, this.config.seeds)):
        curves, features = {}, {}
        for name in models:
            curves[name] = audits.relearn(this, name, seed, **relearning)
            features[name] = looked.of(audits.variables_of(this, name, seed))
        original = curves["original"]
        for name in models:
            row = {"probe": 100 * looked.probe(features[name])}
            row["idi"] = looked.information(
                features[name], features["original"], features["retrain"]
            )
            if len(this.problem.forget_classes):
                row["relearn"] = relearn_time(
                    curves[name].accuracy, 0.95 * original.accuracy[0]
                )
                row["ain"] = anamnesis_index(
                    curves[name].accuracy,
                    curves["retrain"].accuracy,
                    original.accuracy[0],
                )
            else:
                steps = [
                    relearn_time(curves[n].loss, original.loss[0] + 1e-5, rising=False)
                    for n in (name, "retrain")
                ]
                row["relearn"] = steps[0]
                row["ain"] = steps[0] / steps[1] if steps[1] else math.nan
            found[name].append(row)
    rows = {
        name: {key: few_cell([row[key] for row in of]) for key, *_ in LAYERS}
        for name, of in found.items()
    }
    note = (
        f"Mean of {len(found['retrain'])} seeds. Relearning: gradient steps on the "
        "forget set, infinite if it is not back within those tried. `head_distill` "
        "answers like retrain and keeps the layers of the original; `untrained` is a "
        "model from scratch. Where the original's layers know little more than those "
        "of retrain, as with few examples of all classes, IDI is noise."
    )
    return table("layers", "Below the outputs", note, LAYERS, rows)


def few_cell(values) -> dict:
    """A mean without an interval: the seeds are too few for one."""
    return cell(float(np.mean(values)))


# Harder forget sets


def harder(this, test_labels, shadow, request, names) -> dict:
    """Forget sets harder than a random one: gaps to retraining."""
    models, columns, rows = this.config.audit.harder.models, [], {}
    sets = studies.harder_sets(this, shadow)
    for label, (forget, labels) in sets.items():
        key = label.replace(" ", "_")
        study = studies.fixed_study(
            f"harder/{key}",
            this,
            test_labels,
            forget,
            models,
            labels=labels,
            asked=request if labels is None else None,
        )
        answers = answered(study, ("original", "retrain", *names))
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
        f"Mean difference to retraining of the accuracy on {size} forgotten examples "
        f"over {models} models; retrain's row is the floor, the difference between two "
        "of them. *worst case*: what "
        "retrained models are surest of; *influence*: the main direction in which "
        "examples move the others; *confused pair*: labels of two classes exchanged."
    )
    return table("harder", "Harder forget sets", note, columns, rows)


def in_turn(this, test_labels, request, names) -> dict:
    """Requests answered at once, or one after another: gaps to retraining."""
    config, columns, rows, references = this.config.audit.harder, [], {}, {}
    parts = forget_sets.in_turn(
        len(this.problem.labels), requests=config.requests, fraction=config.fraction
    )
    ways = ("once", 1, "at once"), ("turn", config.requests, "in turn")
    for way, requests, label in ways:
        study = studies.fixed_study(
            f"requests/{way}",
            this,
            test_labels,
            parts.ravel(),
            config.models,
            requests=requests,
            asked=request,
        )
        references = references or answered(study, ("original", "retrain"))
        answers = references | answered(study, names)
        for what in ("forget", "test"):
            key, text = f"{way}_{what}", f"difference of {what} accuracy to retraining"
            columns.append((key, f"{what}, {label}", "points", 2, text))
            add(rows, key, gaps(study, answers, SETS[what]))
    note = (
        f"{config.requests} requests of {parts.shape[1]} examples each, answered at "
        "once or one after another, against retraining without all of them."
    )
    return table("requests", "Requests in turn", note, columns, rows)


def gaps(study, models: dict, part: str) -> dict[str, dict]:
    """Mean difference of accuracy to retraining on a part of what is measured.

    Retrained models are compared in pairs, no model in two of them.
    """
    labels, part = np.asarray(study.labels), study.sets[part]
    accuracy = {
        name: 100 * (m.predictions == labels)[:, part].mean(1)
        for name, m in models.items()
    }
    retrained = accuracy["retrain"]
    found = {name: own - retrained for name, own in accuracy.items()}
    found["retrain"] = retrained[:-1:2] - retrained[1::2]
    return {name: mean_cell(np.abs(gap)) for name, gap in found.items()}


def add(rows: dict, key: str, cells: dict) -> None:
    """A column of cells, one a model."""
    for model, one in cells.items():
        rows.setdefault(model, {})[key] = one


def confusion(study, measured, pair) -> dict:
    """The interclass error on test examples, a mean over models."""
    test = study.sets["test"]
    labels, classes = np.asarray(study.labels)[test], study.problem.num_classes
    answers = np.eye(classes, dtype=int)[measured.predictions[:, test]]
    counts = [metrics.confusion_matrix(one, labels) for one in answers]
    return mean_cell(
        [100 * interclass_confusion(c, [tuple(pair)]).error for c in counts]
    )


# Verdicts


def decide(study, models: dict, per_example_table: dict, config) -> dict[str, Finding]:
    """The verdict on every model of the shadow study.

    `config.auc_tolerance` is how far from 0.5 an AUC, `config.utility_tolerance` how
    far below retraining the test accuracy may be to count as equal.
    """
    labels, test = np.asarray(study.labels), study.sets["test"]
    hits = {n: (m.predictions == labels)[:, test].mean(1) for n, m in models.items()}
    findings = {}
    for row in per_example_table["rows"]:
        name, cells = row["model"], row["cells"]
        judged, because = [], []
        for key, what in (
            ("u_lira", "U-LiRA on all forgotten examples"),
            ("u_lira_canary", "U-LiRA on the mislabelled ones"),
        ):
            if key not in cells:
                continue
            one = cells[key]
            values = one["value"], one["low"], one["high"]
            judged.append(
                judge(
                    *values,
                    null=0.5,
                    tolerance=config.auc_tolerance,
                    models=study.models,
                )
            )
            because.append(
                f"{what}: AUC {values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f}), "
                f"where 0.5 ± {config.auc_tolerance:g} counts as equal: "
                f"{judged[-1].verdict}."
            )
        attacked = together(judged)
        lost = mean_cell(hits[name] - hits[reference(name)])
        worse = [min(lost[key], 0.0) for key in ("value", "low", "high")]
        tolerance = config.utility_tolerance
        judged.append(judge(*worse, null=0, tolerance=tolerance, models=study.models))
        because.append(
            f"Test accuracy against retraining: {signed(lost['value'])} points "
            f"({signed(lost['low'])} to {signed(lost['high'])}), where "
            f"{signed(-tolerance, 0)} is allowed: {judged[-1].verdict}."
        )
        findings[name] = Finding(together(judged), attacked, because)
    return findings


def signed(share: float, digits=2) -> str:
    return f"{100 * share:+.{digits}f}".replace("-", "−")


def controls_of(findings: dict[str, Finding]) -> list[dict]:
    """The controls as the page lists them."""
    return [
        {
            "name": name,
            "what": what,
            "expected": expected,
            "outcome": OUTCOMES[findings[name].judged.verdict],
            "because": " ".join(findings[name].because),
        }
        for name, (expected, what) in EXPECTED.items()
        if name in findings
    ]


def can_judge(findings: dict[str, Finding]) -> tuple[bool, str]:
    """Whether the study tells the original from retraining, and in a sentence why."""
    return conclusive(findings["original"].attacked, findings["retrain"].judged)


def answered(study, names) -> dict[str, studies.Measured]:
    """References, controls and methods, each measured."""
    return {name: studies.measured(study, name) for name in names}
