"""Homes of their own, and calls of the command."""

import os
import sys

import pytest
from commands import SMALL, launch

from unlearn import launcher


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A home of its own for what is kept, and programs that are compiled quickly."""
    home = tmp_path_factory.mktemp("home")
    return {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "TMPDIR": str(home),
    }


@pytest.fixture(scope="module")
def first_run(environment, tmp_path_factory):
    """`SMALL`, done: the folder and the process."""
    folder = tmp_path_factory.mktemp("first")
    done = launch(environment, *SMALL, f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """The command in this process, where JAX has started already."""

    def start(preset, **options):
        return preset or "cpu", "as given"

    monkeypatch.setattr(launcher, "start", start)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def call(*words):
        code = launcher.Launch("launch.py").main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def refused(call, tmp_path):
    """The one line on stderr that the command ends with."""

    def refused(*words):
        words = [f"--workdir={tmp_path}", "--preset=smoke", *words]
        code, _, errors = call(*words)
        assert code == 1
        lines = errors.splitlines()
        assert len(lines) == 1 and lines[0].startswith("launch.py: "), errors
        return lines[0]

    return refused
