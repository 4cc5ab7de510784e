"""Audits of 2025-26 on the models of a study: both versions, epsilon, class neighbours.

They are shown in the annex and judge nothing.
"""

import math
from collections.abc import Mapping

import numpy as np

from unlearn import metrics, pipeline, training_time
from unlearn.audit import probes
from unlearn.audit.controls import MATCHING, TAUGHT
from unlearn.audit.games import membership
from unlearn.audit.judged import Measurements, few
from unlearn.audit.per_example import IN_PLACE
from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import Study
from unlearn.audit.tables import cell, few_cell, table
from unlearn.errors import InputError
from unlearn.metrics import class_neighbours as neighbours
from unlearn.metrics import empirical_epsilon, lira
from unlearn.metrics.before_after import before_after as attack
from unlearn.metrics.lira import FORGET, OUT, RETAIN

NOT_ATTACKED = "oracle", "constant_margin", "collapsed"  # made of others' margins

CHANGES = (
    ("kept", "{}, from kept"),
    ("unseen", "{}, from never seen"),
    ("mislabelled", "Mislabelled, from never seen"),
)


def before_after(shadow: Measurements | None, stress: Measurements | None) -> dict:
    """Attacks with the margins before and after, in the studies that were made.

    Both have `original` among their models, and whatever was made of its models;
    methods that train models of their own are left out.
    """
    rows: dict[str, dict] = {}
    for part, keys in ((shadow, ("kept", "unseen")), (stress, ("mislabelled",))):
        if part is None:
            continue
        states = part.study.roles()[0]
        asked = few(part.study)[0]
        assert asked is not None  # no study of classes
        targets = part.study.sets["targets"]
        before = part.models["original"].margins[:, targets]
        for name, measured in part.models.items():
            if name in ("original", *NOT_ATTACKED, *training_time.METHODS):
                continue
            after = measured.margins[:, targets]
            for key in keys:
                kept = key == "kept"
                found = attack(
                    before,
                    after,
                    states,
                    against=RETAIN if kept else OUT,
                    mask=asked | (states == RETAIN) if kept else asked,
                    balanced=not kept,
                )
                one = cell(found.auc, *found.auc_interval)
                rows.setdefault(name, {})[key] = one
    refused = shadow is not None and few(shadow.study)[1]
    which = "Others than requested" if refused else "Requested"
    columns = [
        (key, label.format(which), "", 3, "AUC; 0.5: a guess")
        for key, label in CHANGES
        if key in rows["retrain"]
    ]
    note = f"Attacked are {IN_PLACE}. " if refused else ""
    note += (
        "An attacker who has the answers of the model before and after takes those "
        "that became less sure for the forgotten ones. This is a risk of publishing "
        "both versions and no fault of a method: retraining, which forgets perfectly, "
        "gives away as much as its row says, and doing nothing gives nothing away. "
        "So a high value is no failure, and a low one no proof. Withdraw the old "
        "version where it can be had. https://arxiv.org/abs/2605.01129, 2405.20272"
    )
    title = "Before and after: an attacker with both versions"
    return table("before_after", title, note, columns, rows)


def epsilon(
    part: Measurements, claims: Mapping[str, tuple[float, float]] | None = None
) -> dict | None:
    """Bounds epsilon from below by U-LiRA on the forgotten examples of a study.

    Args:
      part: a study with states; the mislabelled ones of a stress study show most.
      claims: the certified epsilon and delta of a method, by its name; its bound is
        that of an epsilon at this delta, all others are at delta 0.

    Returns: None where there are too few models for any bound.
    """
    claims = claims or {}
    rows, trials = {}, (0, 0)
    for name, measured in part.models.items():
        if name in NOT_ATTACKED:
            continue
        game = membership(part.study, measured)
        groups = [game.states == state for state in (FORGET, OUT)]
        try:
            found = empirical_epsilon.empirical_epsilon(
                lira.u_lira(game.margins, game.states),
                *groups,
                delta=claims[name][1] if name in claims else 0.0,
            )
        except InputError:
            if name in training_time.METHODS:  # fewer models
                continue
            return None
        rows[name] = {"epsilon": cell(found.epsilon)}
        if name in claims:
            rows[name]["certified"] = cell(claims[name][0])
        elif name not in training_time.METHODS:
            trials = found.positives, found.negatives
    columns = [("epsilon", "Epsilon, at least", "", 2, "0: nothing is shown")]
    if rows.keys() & claims.keys():
        columns.append(("certified", "Certified", "", 2, "must not be below"))
    deltas = [f"{claims[name][1]:g} of {name}" for name in rows if name in claims]
    at = " and ".join([" and delta 0", *deltas])
    note = (
        "What an attack on so many models proves about the epsilon of forgetting, with "
        f"95 % confidence{at}: {trials[0]} models count, each with one "
        "forgotten and one never-seen example, and the others choose examples and "
        "threshold. An attack that never errs would show "
        f"{empirical_epsilon.largest(*trials):.2f}: a low value "
        "is no guarantee. A value above a certified epsilon refutes the certificate. "
        "https://arxiv.org/abs/2006.07709"
    )
    title = "Lower bounds on epsilon"
    return table("epsilon", title, note, columns, rows)


NEIGHBOURS = (
    ("apart", "Told from retrained", "", 3, "AUC by answers; 0.5: a guess"),
    ("distance", "Distance of answers", "", 3, "total variation to retrain's, 0 to 1"),
    ("nearest", "To the nearest class", "%", 1, "of its examples, so answered"),
    ("own", "To the class itself", "%", 1, "of its examples, so answered"),
    (
        "members",
        "Members, by neighbours",
        "",
        3,
        "AUC: trained with or test? one model",
    ),
)


def class_neighbours(study: Study, answers: Mapping[str, Measured]) -> dict | None:
    """Attacks by the classes that examples of a forgotten class are taken for.

    Args:
      study: the request study of whole classes.
      answers: what is measured of its models, by name.

    Returns: None where no whole class is requested, or fewer than three classes or six
      models are there. Of several classes each measure is the mean.
    """
    run, classes = study.run, study.problem.num_classes
    gone = [int(one) for one in np.asarray(study.problem.forget_classes)]
    if not gone or classes < 3 or study.models < neighbours.LEAST:
        return None
    labels = np.asarray(study.labels)
    rows = {}
    for name in answers:
        if name == "oracle":
            continue
        twin = answers["oracle" if name == "retrain" else name]
        retrained = answers["oracle" if name in TAUGHT else "retrain"]
        found = []
        for one in gone:
            ours, theirs = (
                neighbours.answer_shares(m.predictions[:, labels == one], classes)
                for m in (twin, retrained)
            )
            nearest = neighbours.nearest_class(theirs, one)
            distance = neighbours.total_variation(ours, theirs)
            found.append(
                {
                    "apart": neighbours.told_apart(ours, theirs),
                    "distance": distance.mean(),
                    "nearest": 100 * ours[:, nearest].mean(),
                    "own": 100 * ours[:, one].mean(),
                    "members": members(run, name, one, nearest),
                }
            )
        rows[name] = {k: few_cell([r[k] for r in found]) for k, *_ in NEIGHBOURS}
    note = (
        "Models that never saw a class take its examples for the nearest ones. "
        f"`Told from retrained`: an attack on whole models, {study.models} of each "
        "kind, by how they share out the examples of the class; retrain's row is of "
        "two groups of retrained models, the floor. `Members`: in the run's own "
        "models, was an example of the class trained with? By how much it is taken for "
        "the nearest class. https://arxiv.org/abs/2506.20893, re-expressed"
    )
    title = "Neighbours of the forgotten class"
    return table("class_neighbours", title, note, NEIGHBOURS, rows)


def members(run: pipeline.Run, name: str, forgotten: int, nearest: int) -> float:
    """Attacks examples of a class in the run's models, by `neighbour_margins`: an AUC.

    NaN where a run has no such models or the test set has none of the class.
    """
    if name == MATCHING:
        return math.nan
    sets, found = run.sets, []
    for seed in range(run.config.seeds):
        logits = probes.logits_of(run, name, seed)
        trained, unseen = (
            neighbours.neighbour_margins(
                values[labels == forgotten], forgotten, nearest
            )
            for values, labels in (
                (logits["train_logits"], sets.train_labels),
                (logits["test_logits"], sets.test_labels),
            )
        )
        found.append(metrics.threshold_attack(-trained, -unseen).auc)
    return float(np.mean(found))
