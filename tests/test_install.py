"""Built, installed and used from another folder.

The slow tests need a package index. They are skipped without one, and fail instead if
the environment variable UNLEARN_TEST_INSTALL is set.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import unlearn
from unlearn.user_code import EXTRAS

ROOT = Path(__file__).parent.parent
CORE = {"jax", "numpy", "optax", "scipy", "sklearn", "threadpoolctl", "unlearn"}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_requirements_are_those_of_the_project():
    """requirements.txt installs the core and all of the extras."""
    extras = project()["optional-dependencies"]
    expected = [
        *project()["dependencies"],
        *extras["experiments"],
        *extras["models"],
        *(r for r in extras["test"] if not r.startswith("unlearn-jax[")),
    ]
    assert (ROOT / "requirements.txt").read_text().splitlines() == expected


def test_methods_and_metrics_import_nothing_beyond_the_core():
    folders = "methods", "metrics", "training_time"
    paths = [p for name in folders for p in (ROOT / "unlearn" / name).rglob("*.py")]
    assert len(paths) > 60
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                assert top in CORE or top in sys.stdlib_module_names, (path, name)


WITHOUT_EXTRAS = f"""
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{*{EXTRAS!r}}} - {{"absl"}}:  # optax needs absl
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import unlearn
from unlearn import methods, metrics, training_time
for package in methods, metrics, training_time:
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
for name in unlearn.__all__:
    getattr(unlearn, name)
from unlearn import curvature, devices, surgery, training
"""


@pytest.mark.slow
def test_the_core_imports_without_the_extras():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# With a package index


def run(*words, **options):
    words = [str(word) for word in words]
    return subprocess.run(words, capture_output=True, text=True, **options)


def succeed(*words, **options):
    done = run(*words, **options)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def install(python, *words):
    """Installs packages by uv, which takes a quarter of the time, or by pip."""
    uv = shutil.which("uv")
    way = (uv, "pip", "install", "--python") if uv else ()
    words = (*way, python, *words) if uv else (python, "-m", "pip", "install", *words)
    return run(*words)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A new environment, in a repository of the user's, with what builds wheels."""
    home = tmp_path_factory.mktemp("user")
    succeed("git", "init", home)
    venv.create(home / ".venv", with_pip=not shutil.which("uv"))
    python = home / ".venv" / "bin" / "python"
    done = install(python, "--upgrade", "pip", "hatchling")
    if done.returncode:
        reason = "no package index: " + done.stderr.strip().splitlines()[-1]
        if os.environ.get("UNLEARN_TEST_INSTALL"):
            pytest.fail(reason)
        pytest.skip(reason)
    return python


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / ".cache")}
    return {"cwd": folder, "env": environment}


ALONE = "--no-deps", "--no-build-isolation"  # what builds wheels is there
WHEEL = "-m", "pip", "wheel", *ALONE


@pytest.fixture(scope="module")
def wheel(python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    succeed(python, *WHEEL, "-w", folder, ROOT)
    (path,) = folder.iterdir()
    return path


def contents(path):
    with zipfile.ZipFile(path) as file:
        return {
            i.filename: i.CRC for i in file.infolist() if "dist-info" not in i.filename
        }


@pytest.mark.slow
def test_wheel_and_sdist_have_all_files_and_nothing_else(python, wheel, tmp_path):
    assert wheel.name == f"unlearn_jax-{unlearn.__version__}-py3-none-any.whl"
    tracked = succeed("git", "-C", ROOT, "ls-files", "unlearn", "experiments")
    expected = {
        f"unlearn/{name}" if name.startswith("experiments/") else name
        for name in tracked.splitlines()
    }
    built = contents(wheel)
    assert expected <= built.keys()
    assert not [name for name in built if "__pycache__" in name or "test" in name]
    assert all(name.startswith("unlearn/") for name in built)
    words = python, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path
    succeed(*words, cwd=ROOT)
    (sdist,) = tmp_path.iterdir()
    succeed(python, *WHEEL, "-w", tmp_path / "2", sdist)
    (again,) = (tmp_path / "2").iterdir()
    assert contents(again) == built


@pytest.mark.slow
def test_from_a_repository(python, tmp_path):
    words = "-m", "pip", "install", *ALONE, "--target", tmp_path
    succeed(python, *words, f"git+file://{ROOT}")
    for name in ("launcher", "report/page.html", "experiments/digits_forget.py"):
        assert (tmp_path / "unlearn" / name).exists()


SCRIPT = """
import jax, numpy as np
from unlearn import Model, make_problem, methods, metrics

def init(key, x):
    return {"params": {"w": 0.1 * jax.random.normal(key, (x[0].size, 3))}}

def apply(variables, x, *, train=False, key=None):
    return x.reshape(len(x), -1) @ variables["params"]["w"], variables

rng = np.random.default_rng(0)
images, labels = rng.integers(0, 255, (60, 4, 4, 1), np.uint8), rng.integers(0, 3, 60)
problem = make_problem(images, labels, range(6), Model(init, apply))
before = init(jax.random.key(0), problem.inputs(np.arange(1)))
for name in ("finetune", "ssd"):
    after, _ = methods.METHODS[name].fn(jax.random.key(1), before, problem)
    logits, _ = apply(after, problem.inputs(problem.retain))
    print(name, metrics.accuracy(np.asarray(logits), labels[6:]))
"""


@pytest.mark.slow
def test_installed_and_used_from_another_folder(python, wheel, elsewhere):
    """The core alone, then the command with the extra."""
    assert install(python, wheel).returncode == 0
    packages = json.loads(succeed(python, "-m", "pip", "list", "--format=json"))
    names = {package["name"].lower().replace("_", "-") for package in packages}
    assert not names & {"flax", "orbax-checkpoint", "tensorflow-datasets", "rich"}
    assert not names & {"matplotlib", "ml-collections", "pytest"}
    lines = succeed(python, "-c", SCRIPT, **elsewhere).splitlines()
    assert len(lines) == 2
    command = python.parent / "unlearn"
    for flag in ("--help", "--list_experiments"):
        assert "digits_forget: " in succeed(command, flag, **elsewhere)
    done = run(command, **elsewhere)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pip install 'unlearn-jax[experiments]'" in line

    extra = install(python, f"unlearn-jax[experiments] @ {wheel.as_uri()}")
    assert extra.returncode == 0, extra.stderr
    words = "--experiment=digits_forget", "--preset=smoke", "--methods=finetune"
    words = *words, "--seeds=1", "--config.train.epochs=2"
    printed = succeed(command, *words, **elsewhere)
    folder = elsewhere["cwd"] / "runs" / "digits_forget"
    assert str(Path("runs") / "digits_forget") in printed
    assert (folder / "summary.md").exists()
    version = f"unlearn-jax {unlearn.__version__}"
    assert json.dumps(version) in (folder / "manifest.json").read_text()
    code = "from unlearn import provenance; print(provenance.revision())"
    assert succeed(python, "-c", code, **elsewhere).strip() == version
    assert "finetune" in succeed(command, "--list_methods", **elsewhere)
    mine = elsewhere["cwd"] / "mine.py"
    mine.write_text("from unlearn.experiments.digits_forget import get_config\n")
    printed = succeed(command, "--experiment=mine.py", "--print_config", **elsewhere)
    assert "--config.train.epochs=30" in printed.splitlines()
