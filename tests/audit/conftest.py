"""Simulated models judged once for all tests of a process; noise without a package.

Figures are drawn in audits that tests share, alone.
"""

import pytest
from simulated_study import CLASSES, Config, measurements
from small_runs import blank

from unlearn.audit import judged, per_example
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.privacy import dp_sgd
from unlearn.report import plotting


@pytest.fixture(autouse=True)
def blank_figures(monkeypatch):
    """An audit of one test alone only says which figures it draws."""
    monkeypatch.setattr(plotting, "save", blank)


@pytest.fixture(scope="session")
def shadow():
    return measurements("shadow")


@pytest.fixture(scope="session")
def request_study():
    return measurements("request")


@pytest.fixture(scope="session")
def judgement(shadow, request_study):
    return judged.judge_all(shadow, request_study, CLASSES, Config)


@pytest.fixture(scope="session")
def tables(shadow, judgement):
    thirds = per_example.memorised_thirds(judgement.played["original"])
    return per_example.attack_tables(
        shadow.study, judgement.played, judgement.leaks, shadow.models, thirds
    )


@pytest.fixture(scope="session")
def of_a_class():
    """A request of class 1: attacked in the request study."""
    made = measurements("request", of_class=(1,))
    return judged.judge_all(None, made, CLASSES, Config)


@pytest.fixture(scope="session")
def stress():
    made = measurements("stress", roles=(OUT, RETAIN, FORGET))
    return judged.judge_stress(made, Config)


@pytest.fixture
def accounted(monkeypatch):
    """In place of jax-privacy: as much noise as there are examples, over 100."""
    asked = []

    def noise_for(budget, examples, recipe):
        asked.append((budget, examples, recipe))
        return examples / 100

    monkeypatch.setattr(dp_sgd, "noise_for", noise_for)
    monkeypatch.setattr(dp_sgd, "require", lambda: None)
    return asked
