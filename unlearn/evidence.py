"""What the studies show: the audits of every model in tables, controls and verdicts.

A table is as `report.page` has it, a dict of columns and rows; a cell is a value with
its 95 % interval. What decides the verdict on a method is in `decide`: U-LiRA on the
forgotten targets, on the mislabelled ones among them, and the accuracy that is left.
What compares unlearned with retrained models (RULI efficacy, KLoM) is shown, not
judged: a method may train on and so be told apart without a trace of what it forgot.
"""

import itertools
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
    if name == NULL:
        return "floor"
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
        "u_lira_requested",
        "U-LiRA, requested",
        "",
        3,
        "the same, of those that the run is asked to forget",
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
    "95 %, bootstrap over models and examples. `by chance`: retrained models attacked "
    "with forgotten and never-seen examples exchanged at random, and the 95 % interval "
    "of what is then found; of the other attacks the row of `retrain` is the floor."
)
RATES = (
    ("u_lira", "U-LiRA"),
    ("u_lira_canary", "U-LiRA, mislabelled"),
    ("bavaria", "BaVarIA"),
    ("rmia", "RMIA"),
    ("ruli", "RULI privacy"),
    ("efficacy", "RULI efficacy"),
)
KEPT = (
    ("lira", "LiRA", lira.lira_online),
    ("lira_offline", "LiRA, offline", lira.lira_offline),
    ("rmia", "RMIA", rmia.rmia),
    ("bavaria", "BaVarIA", bavaria.bavaria),
)
NULL = "by chance"
FEW = 20  # of fewer requested examples an AUC says nothing


def per_example(study, models: dict, *, rounds: int = 300):
    """`(AUCs, true positive rates, of kept examples, {model: ROC})`: tables, curves.

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
    parts = {"u_lira": everything, **masks}
    for key, chosen in (("canary", canary), ("requested", study.requested)):
        if chosen.sum() >= (FEW if key == "requested" else 1):
            parts[f"u_lira_{key}"] = everything & chosen
    rows, rates, kept, curves = {}, {}, {}, {}

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
        found = {key: audit(scores, mask) for key, mask in parts.items()}
        for key, scores in (
            ("bavaria", bavaria.bavaria(margins, states, positive=FORGET)),
            ("rmia", rmia.rmia(margins, states, positive=FORGET)),
            ("ruli", ruli.ruli_privacy(margins, states)),
        ):
            found[key] = audit(scores, everything)
        other = models[reference(name)].margins[:, targets]
        two = ruli.ruli_efficacy(margins, other, states)
        none, twice = np.zeros_like(positive), np.tile(np.arange(study.models), 2)
        found["efficacy"] = roc.evaluate(
            np.concatenate(two),
            np.concatenate([positive, none]),
            np.concatenate([none, positive]),
            models=twice,
            rounds=rounds,
        )
        retained = {
            key: audit(
                attack(margins, states, positive=RETAIN),
                everything,
                one=states == RETAIN,
            )
            for key, _, attack in KEPT
        }
        kept[name] = auc_cells(retained) | rate_cells(retained)
        cells = auc_cells(found)
        rates[name] = rate_cells(found)
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
    present = rows["retrain"].keys()
    rows[NULL] = null_cells(models["retrain"].margins[:, targets], states, parts)
    columns = [column for column in PER_EXAMPLE if column[0] in present]
    title = "Per-example attacks on forgotten and kept examples"
    return (
        table("per_example", title, NOTE, columns, rows),
        rates_table(rates, present),
        kept_table(kept),
        curves,
    )


def null_cells(margins, states, parts, *, times: int = 100) -> dict:
    """U-LiRA on retrained models, OUT and FORGET exchanged for a half of each target's
    groups of three models: neither was seen, so nothing can be told."""
    draw, margins = np.random.default_rng(0), margins.astype(np.float64)
    found = {key: [] for key in parts}
    swapped = np.where(states == OUT, FORGET, np.where(states == FORGET, OUT, states))
    for _ in range(times):
        groups = draw.random((-(-len(states) // 3), states.shape[1])) < 0.5
        others = np.where(groups.repeat(3, 0)[: len(states)], swapped, states)
        scores = lira.u_lira(margins, others)
        for key, mask in parts.items():
            groups = ((others == state) & mask for state in (FORGET, OUT))
            found[key].append(roc.evaluate(scores, *groups, rounds=0).auc)
    cells = {}
    for key, values in found.items():
        mean, half = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1))
        cells[key] = cell(mean, mean - half, mean + half)
    return cells


def auc_cells(found) -> dict:
    return {key: cell(one.auc, *one.auc_interval) for key, one in found.items()}


def rate_cells(found) -> dict:
    cells = {}
    for key, one in found.items():
        cells[f"{key}_1"] = percent(one.tpr_at_1fpr, *one.tpr_at_1fpr_interval)
        cells[f"{key}_01"] = percent(one.tpr_at_01fpr, *one.tpr_at_01fpr_interval)
    return cells


def rates_table(rates, present) -> dict:
    columns = [
        (f"{key}_{end}", f"{label}, {at}", "%", 1, "")
        for key, label in RATES
        if key in present
        for end, at in (("1", "at 1 % FPR"), ("01", "at 0.1 %"))
    ]
    kept = [key for key, *_ in columns]
    rows = {name: {key: of[key] for key in kept} for name, of in rates.items()}
    note = (
        "Of the forgotten examples, how many an attack finds when 1 % or "
        "0.1 % of the never-seen ones are taken for such; guessing finds as many."
    )
    return table(
        "rates", "True positive rates at few false alarms", note, columns, rows
    )


def kept_table(rows) -> dict:
    columns = []
    for key, label, _ in KEPT:
        columns += [
            (key, f"{label} AUC", "", 3, ""),
            (f"{key}_1", f"{label}, at 1 % FPR", "%", 1, ""),
            (f"{key}_01", f"{label}, at 0.1 %", "%", 1, ""),
        ]
    note = (
        "Kept, or never seen? AUCs, and how many of the kept examples an attack finds "
        "when 1 % or 0.1 % of the never-seen ones are taken for such. Retraining does "
        "not hide the kept ones: its row is what to compare with, and the floor."
    )
    return table("kept", "Per-example attacks on kept examples", note, columns, rows)


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
    for name in models:
        if name == "oracle":
            continue
        twin = "oracle" if name == "retrain" else name
        ours = models[twin]
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
        ratios = (accuracy[twin][k] / accuracy["retrain"][k] for k in ("rest", "test"))
        cells["final"] = cell(final_score(score.score, *ratios))
        rows[name] = cells
    note = (
        f"{study.models} models of each kind answered the same request. `retrain` is a "
        "second group of retrained models, so its row is the floor, what a perfect "
        "method would get from so many models, and its ratios are 1 by definition. "
        "Test examples stand for unseen ones."
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


def control_rows(this, context) -> list[dict]:
    """As in `results.csv`: the pipeline's metrics of the controls, for each seed."""
    rows = []
    for name in studies.CONTROLS:
        for seed in range(this.config.seeds):
            this.progress.tick(f"{pipeline.place(this, seed)}  {name}  measuring")
            logits = audits.logits_of(this, name, seed)
            row = {"model": name, "seed": seed, "seconds": math.nan, "status": "ok"}
            rows.append(row | pipeline.measure(this, context, logits))
    return rows


def outputs(this, context, names, measured) -> dict:
    """Distances of the outputs on the forget set, over the run's seeds.

    `measured`: the rows of `results.csv` and `control_rows`.
    """
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
    results = {(row["model"], row["seed"]): row for row in measured}
    for name in ("original", "retrain", *studies.CONTROLS, *names):
        found = []
        for seed in seeds[:-1:2] if name == "retrain" else seeds:
            own = audits.logits_of(this, name, seed)["train_logits"][forget]
            other = seed + (name == "retrain")
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
        if found:
            rows[name] = {
                key: mean_cell(
                    [row[key] * (100 if key in shares else 1) for row in found]
                )
                for key, *_ in OUTPUTS
            }
    note = (
        "On the forget set, against the retrained model of the same seed; `retrain` "
        "against that of another seed, in pairs, which is the floor."
    )
    return table("outputs", "Distances of outputs", note, OUTPUTS, rows)


LAYERS = (
    ("relearn", "Relearn", "steps", 0, "until it is back, see below"),
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
    seeds = range(min(seeds, this.config.seeds))
    curves, features = {}, {}
    for seed, name in itertools.product(seeds, models):
        curves[name, seed] = audits.relearn(this, name, seed, **relearning)
        features[name, seed] = looked.of(audits.variables_of(this, name, seed))
    found = {name: [] for name in models}
    for seed, name in itertools.product(seeds, models):
        other = (seed + 1) % len(seeds) if name == "retrain" else seed
        before, retrained = curves["original", seed], curves["retrain", other]
        row = {"probe": 100 * looked.probe(features[name, seed])}
        row["idi"] = looked.information(
            features[name, seed], features["original", seed], features["retrain", other]
        )
        if len(this.problem.forget_classes):
            accuracies = curves[name, seed].accuracy, retrained.accuracy
            row["relearn"] = relearn_time(accuracies[0], 0.95 * before.accuracy[0])
            row["ain"] = anamnesis_index(*accuracies, before.accuracy[0])
        else:
            gap = max(0.0, float(retrained.loss[0] - before.loss[0]))
            target = before.loss[0] + 0.05 * gap + 1e-5
            own, reference = (
                relearn_time(one.loss, target, rising=False)
                for one in (curves[name, seed], retrained)
            )
            row["relearn"] = own
            row["ain"] = own / reference if reference else math.nan
        if name == "retrain" and len(seeds) == 1:
            row |= {"idi": math.nan, "ain": math.nan}
        found[name].append(row)
    rows = {
        name: {key: few_cell([row[key] for row in of]) for key, *_ in LAYERS}
        for name, of in found.items()
    }
    rows = dict.fromkeys(("original", "no_op"), rows["original"]) | rows
    note = (
        f"Mean of {len(found['retrain'])} seeds; retrain is compared with that of the "
        "next seed. Relearning: gradient steps on the forget set until 95 % of the "
        "original's accuracy are back (of whole classes) or 95 % of the way from "
        "retrain's loss to the original's; infinite if that takes more than were "
        "tried. "
        "`head_distill` answers like retrain and keeps the layers of the original; "
        "`untrained` is a model from scratch; the other controls have the original's "
        "layers. IDI is by linear classifiers, a lower "
        "bound of the paper's, so values are not those published; where the original's "
        "layers know little more than those of retrain, as with few examples of all "
        "classes, it is noise. The probe is tested on half of the forget set and "
        "trained on the other half and on retained examples."
    )
    return table("layers", "Below the outputs", note, LAYERS, rows)


def few_cell(values) -> dict:
    """A mean without an interval: the seeds are too few for one."""
    return cell(float(np.mean(values)))


# Harder forget sets


def harder(this, test_labels, shadow, request, names) -> dict:
    """Forget sets harder than a random one: gaps to retraining."""
    models, columns, rows = this.config.audit.harder.models, [], {}
    every = "original", "retrain", *studies.CONTROLS, *names
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
        answers = answered(study, every)
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
        "between two of them. `worst case`: what "
        "retrained models are surest of; `influence`: the main direction in which "
        "examples move the others; `confused pair`: labels of two classes exchanged."
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
        answers = references | answered(study, (*studies.CONTROLS, *names))
        for what in ("forget", "test"):
            key, text = f"{way}_{what}", f"absolute difference of {what} accuracy"
            columns.append((key, f"{what}, {label}", "points", 2, text))
            add(rows, key, gaps(study, answers, SETS[what]))
    note = (
        f"{config.requests} requests of {parts.shape[1]} examples each, answered at "
        "once or one after another, against retraining without all of them. Examples "
        "are retained until they are asked for."
    )
    return table("requests", "Requests in turn", note, columns, rows)


def gaps(study, models: dict, part: str) -> dict[str, dict]:
    """Mean absolute difference of accuracy to retraining on a part of what is measured.

    Retrained models are compared in pairs, no model in two of them. Of a method that
    diverges: NaN.
    """
    labels, part = np.asarray(study.labels), study.sets[part]
    accuracy = {
        name: 100 * (m.predictions == labels)[:, part].mean(1)
        for name, m in models.items()
    }
    retrained = accuracy["retrain"]
    found = {
        name: np.where(
            np.isfinite(models[name].margins).all(1), own - retrained, np.nan
        )
        for name, own in accuracy.items()
    }
    found["retrain"] = retrained[:-1:2] - retrained[1::2]
    return {name: mean_cell(np.abs(gap)) for name, gap in found.items()}


def add(rows: dict, key: str, cells: dict) -> None:
    """A column of cells, one a model."""
    for model, one in cells.items():
        rows.setdefault(model, {})[key] = one


def confusion(study, measured, pair) -> dict:
    """The interclass error on test examples, a mean over models."""
    if not np.isfinite(measured.margins).all():
        return cell(math.nan)
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
        if row["kind"] == "floor":
            continue
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
