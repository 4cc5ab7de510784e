"""A simulated study of which the truth is known, for tables and verdicts."""

import numpy as np

from unlearn.audit import studies
from unlearn.audit.shadow_models import Measured
from unlearn.metrics.lira import FORGET

MODELS, TARGETS, CANARIES, UNSEEN = 48, 60, 20, 50


class Config:
    auc_tolerance, utility_tolerance = 0.06, 0.02


def simulated(seed=0, unseen_accuracy=0.9):
    """A study with a third of each state; true labels are class 1."""
    draw = np.random.default_rng(seed)
    states = studies.balanced_states(draw, MODELS, TARGETS)
    sets = {"targets": slice(0, TARGETS), "rest": slice(0, TARGETS)}
    sets["test"] = slice(TARGETS, TARGETS + UNSEEN)
    study = studies.Study(
        "simulated",
        run=None,
        problem=None,
        targets=np.arange(TARGETS),
        forget=np.zeros((MODELS, 1)),
        retain=None,
        examples=None,
        labels=np.ones(TARGETS + UNSEEN, int),
        sets=sets,
        states=states,
        canary=np.arange(TARGETS) < CANARIES,
        requested=np.arange(TARGETS) >= TARGETS - CANARIES,
    )

    def model(leak, accuracy=unseen_accuracy):
        """`leak`: what a forgotten canary's margin has more than a never seen one's."""
        margins = draw.normal(0, 1, (MODELS, TARGETS + UNSEEN))
        margins[:, :CANARIES] += leak * (states[:, :CANARIES] == FORGET)
        margins[:, :TARGETS] += 3.0 * (states == 1)
        predictions = (draw.random((MODELS, TARGETS + UNSEEN)) < accuracy).astype(int)
        return Measured(margins.astype(np.float32), predictions, 1.0)

    return study, model


def cells_of(table):
    return {row["model"]: row["cells"] for row in table["rows"]}


def audited_models():
    """The study, and models that leak or do not."""
    study, model = simulated()
    return study, {
        "original": model(4.0),
        "retrain": model(0.0),
        "oracle": model(0.0),
        "collapsed": model(0.0, accuracy=0.1),
        "leaky": model(2.0),
        "clean": model(0.0),
    }
