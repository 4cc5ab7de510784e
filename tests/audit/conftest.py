"""Simulated models attacked once for all tests of a process."""

import pytest
from simulated_study import audited_models

from unlearn.audit.per_example import per_example


@pytest.fixture(scope="session")
def audited():
    study, models = audited_models()
    table, rates, kept, curves = per_example(study, models, rounds=40)
    assert {row["model"] for row in rates["rows"]} == curves.keys()
    return study, models, table, curves, rates, kept
