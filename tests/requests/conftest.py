import pytest
from deployments import copy, deploy


@pytest.fixture(scope="session")
def deployed(tmp_path_factory):
    """Returns a function: the folder of a deployment by a method, made once."""
    made = {}

    def deployed(method):
        if method not in made:
            made[method] = deploy(tmp_path_factory.mktemp(method) / "dep", method)
        return made[method]

    return deployed


@pytest.fixture
def fresh(deployed, tmp_path):
    """Returns a function: a copy of such a deployment, for this test alone."""

    def fresh(method, name="dep"):
        return copy(deployed(method), tmp_path / name)

    return fresh
