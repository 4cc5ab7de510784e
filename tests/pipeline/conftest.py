"""One finished run for all tests of a process."""

import pytest
from small_runs import run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    return folder, run(folder)
