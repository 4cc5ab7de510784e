"""Distributions of margins, on simulated models."""

import math

import numpy as np
import pytest
from simulated_study import cells_of

from unlearn.audit import model_tables
from unlearn.audit.controls import TAUGHT


def test_distributions(request_study):
    study, models = request_study
    cells = cells_of(model_tables.distributional(study, models))
    assert cells["retrain"]["klom_forget_ratio"]["value"] == pytest.approx(1)
    assert cells["retrain"]["epsilon_ratio"]["value"] == pytest.approx(1)
    assert (
        cells["leaky"]["klom_forget"]["value"] > cells["clean"]["klom_forget"]["value"]
    )
    assert cells["collapsed"]["final"]["value"] < cells["clean"]["final"]["value"] / 2


@pytest.mark.slow
def test_what_a_retrained_model_taught_is_compared_with_others(request_study):
    """Who answers as the teachers do is at the floor, not below it."""
    study, models = request_study
    pupils = dict.fromkeys(TAUGHT, models["retrain"])
    cells = cells_of(model_tables.distributional(study, models | pupils))
    for name in TAUGHT:
        for key in ("klom_forget_ratio", "p95_test_ratio", "epsilon_ratio"):
            assert cells[name][key]["value"] == pytest.approx(1)


def test_retraining_without_any_randomness_has_no_floor(request_study):
    study, models = request_study
    same = np.zeros_like(models["retrain"].margins)
    fixed = {name: models[name]._replace(margins=same) for name in models}
    fixed["leaky"] = models["leaky"]
    cells = cells_of(model_tables.distributional(study, fixed))
    assert cells["retrain"]["klom_forget_ratio"]["value"] == 1
    assert cells["leaky"]["klom_forget_ratio"]["value"] == math.inf
    assert math.isnan(model_tables.ratio(math.nan, 0.0))
