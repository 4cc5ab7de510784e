"""Distributions of margins, on simulated models."""

import pytest
from simulated_study import cells_of

from unlearn.audit import model_tables


def test_distributions(request_study):
    study, models = request_study
    cells = cells_of(model_tables.distributional(study, models))
    assert cells["retrain"]["klom_forget_ratio"]["value"] == pytest.approx(1)
    assert cells["retrain"]["epsilon_ratio"]["value"] == pytest.approx(1)
    assert (
        cells["leaky"]["klom_forget"]["value"] > cells["clean"]["klom_forget"]["value"]
    )
    assert cells["collapsed"]["final"]["value"] < cells["clean"]["final"]["value"] / 2
