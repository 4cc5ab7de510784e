"""Simulated studies of which the truth is known, for tables and verdicts."""

from types import SimpleNamespace

import numpy as np

from unlearn.audit import judged, studies
from unlearn.audit.shadow_models import Measured
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.shadows import balanced_states

MODELS, ASKED, KEPT, UNSEEN = 72, 60, 20, 60
CLASSES = ["cat", "dog", "owl"]


class Config:
    """The section `audit` of a config, as far as verdicts need it."""

    tolerance, utility_tolerance, class_tolerance, seed = 0.25, 0.02, 0.1, 0
    stress_models, trained_models = MODELS, 24
    release = ""


def simulated_study(name="shadow", roles=(OUT, FORGET), of_class=()):
    """A study whose labels are the classes in turn."""
    draw = np.random.default_rng(7)
    states = balanced_states(draw, MODELS, ASKED, roles)
    targets = ASKED
    if name == "shadow":
        kept = balanced_states(draw, MODELS, KEPT, (OUT, RETAIN))
        states, targets = np.concatenate([states, kept], axis=1), ASKED + KEPT
    problem = SimpleNamespace(
        forget_classes=np.array(of_class, int), forget=np.arange(ASKED)
    )
    return studies.Study(
        name,
        run=SimpleNamespace(problem=problem),
        problem=problem,
        targets=np.arange(targets),
        forget=np.zeros((MODELS, 1)),
        retain=None,
        examples=None,
        labels=np.arange(targets + UNSEEN) % len(CLASSES),
        sets={
            "targets": slice(0, targets),
            "rest": slice(0, targets),
            "test": slice(targets, targets + UNSEEN),
        },
        states=None if name == "request" else states,
        requested=None if name == "request" else np.arange(targets) < ASKED,
    )


def simulated_model(study, leak, seed, accuracy=0.9, models=MODELS):
    """`leak`: what a forgotten example's margin has more than a never-seen one's."""
    draw, labels = np.random.default_rng(seed), np.asarray(study.labels)
    margins = draw.normal(0, 1, (models, len(labels)))
    own = margins[:, study.sets["targets"]]
    if study.states is None:
        own += leak
    else:
        own += leak * (study.states[:models] == FORGET)
        own += 2.0 * (study.states[:models] == RETAIN)
    wrong = draw.random(margins.shape) > accuracy
    predictions = np.where(wrong, labels + 1, labels) % len(CLASSES)
    return Measured(margins.astype(np.float32), predictions, 1.0)


LEAKS = {"original": 3.0, "retrain": 0.0, "leaky": 1.0, "clean": 0.0, "collapsed": 0.0}


def measurements(name, of_class=(), roles=(OUT, FORGET), leaks=LEAKS):
    """Models that leak or do not, in one study; `collapsed` has no accuracy."""
    study = simulated_study(name, roles, of_class)
    leaks = leaks | ({"oracle": 0.0} if name == "request" else {})
    models = {
        model: simulated_model(
            study, leak, number, accuracy=0.1 if model == "collapsed" else 0.9
        )
        for number, (model, leak) in enumerate(leaks.items())
    }
    return judged.Measurements(study, models)


def cells_of(table):
    return {row["model"]: row["cells"] for row in table["rows"]}
