"""One finished run for all tests of a process; figures are drawn in few runs alone."""

import pytest
from small_runs import blank, run

from unlearn.report import plotting


@pytest.fixture(autouse=True)
def blank_figures(monkeypatch):
    """A run of one test alone only says which figures it draws: they take seconds."""
    monkeypatch.setattr(plotting, "save", blank)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "save", blank)
        return folder, run(folder)
