"""Which code made a run, and which command repeats it."""

import re
import shlex
import subprocess
import sys

import pytest

import unlearn
from unlearn import provenance

VERSION = f"unlearn-jax {unlearn.__version__}"


def git(folder, *words):
    settings = "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"
    subprocess.run(
        ["git", "-C", str(folder), *settings, *words], check=True, capture_output=True
    )


@pytest.fixture
def repository(tmp_path):
    """A repository with a package at its root and one in a virtual environment."""
    for home in ("", "venv/site-packages/"):
        package = tmp_path / f"{home}unlearn"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("venv\n")
    git(tmp_path, "init")
    return tmp_path


def test_the_revision_is_that_of_the_packages_own_checkout(repository, monkeypatch):
    package = repository / "unlearn"
    assert provenance.revision(package) == VERSION  # not tracked
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    revision = provenance.revision(package)
    assert re.fullmatch("[0-9a-f]{40}", revision)
    (package / "__init__.py").write_text("x = 1\n")
    assert provenance.revision(package) == revision + "+"
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert provenance.revision(package) == revision + "+"
    monkeypatch.setenv("PATH", "")
    assert provenance.revision(package) == VERSION


def test_a_repository_around_an_installed_package_is_not_asked(repository):
    inside = repository / "venv" / "site-packages" / "unlearn"
    git(repository, "add", "--force", ".")
    git(repository, "commit", "-m", "with its environment")
    assert provenance.revision(inside) == VERSION


ROOT = provenance.PACKAGE.parent


@pytest.mark.parametrize(
    "argv, expected",
    [
        (["launch.py"], "python launch.py --preset=cpu"),
        (["launch.py", "--preset=smoke"], "python launch.py --preset=smoke"),
        (["launch.py", "-preset", "full"], "python launch.py -preset full"),
        (["launch.py", "--presets=1"], "python launch.py --presets=1 --preset=cpu"),
        (
            ["./launch.py", "--config.audit.reason=a 'b' $C", "--config.x=(1,)"],
            None,
        ),
        ([str(ROOT / "launch.py")], f"python {ROOT}/launch.py --preset=cpu"),
        (["/venv/bin/unlearn", "--seeds=1"], "unlearn --seeds=1 --preset=cpu"),
    ],
)
def test_the_command_can_be_pasted(monkeypatch, argv, expected):
    import unlearn.launcher  # noqa: F401

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", argv)
    command = provenance.command("cpu")
    if expected is not None:
        assert command == expected
    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True
    )
    words = done.stdout.split("\0")[:-1]
    assert words == shlex.split(command) and set(argv[1:]) <= set(words)


@pytest.mark.parametrize("program", ["", "-c", "pytest", "/elsewhere/launch.py"])
def test_another_program_has_no_command(monkeypatch, program):
    monkeypatch.setattr(sys, "argv", [program, "--x=1"])
    assert provenance.command("cpu") is None
    monkeypatch.setattr(sys, "argv", [])
    assert provenance.command() is None
