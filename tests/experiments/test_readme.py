"""The READMEs name what there is, and their code runs."""

import importlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import unlearn
from unlearn import models, training_time
from unlearn.launcher import commands, flags
from unlearn.methods import METHODS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "experiments" / "README.md").read_text()
NAMES = sorted(path.stem for path in ROOT.glob("experiments/[a-z]*.py"))
FILES = ["README.md", "experiments/README.md"]


def code(text, word):
    """The Python block that has the word."""
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if word in block]
    return found


def documents():
    """Everything that tells a user which flags there are."""
    yield from ((name, (ROOT / name).read_text()) for name in FILES)
    for path in ROOT.glob("experiments/*.py"):
        yield path.name, importlib.import_module(f"experiments.{path.stem}").__doc__


def test_it_is_short():
    assert len(README.encode()) < 8000


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_is_in_both(name):
    assert f"| `{name}` |" in README
    assert f"\n## {name}\n" in RESULTS or f"\n### {name}\n" in RESULTS


@pytest.mark.parametrize("file", FILES)
def test_what_it_links_to_exists(file):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / file).read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / file).parent / name if name else ROOT / file
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in {one.lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in documents() if text]
)
def test_every_flag_it_names_exists(text):
    configs = [
        importlib.import_module(f"experiments.{name}").get_config("cpu")
        for name in ("digits_audit", "mnist_federated", "mnist_private", "speed")
    ]
    known = {key for config in configs for key, _ in flags.flat(config)}
    own = set(flags.define()) | {word.strip("-") for word in flags.HELP}
    own |= {flag for name in commands.COMMANDS for flag in commands.define(name)}
    text = re.sub(r"(?m)^(#SBATCH|gcloud)(.*\\\n)*.*$", "", text)  # of other programs
    for name in re.findall(r"(?<![\w-])--(?!xla_)([a-z_]+(?:\.\w+)*)", text):
        if name.startswith("config."):
            assert name.removeprefix("config.") in known, name
        else:
            assert name in own, name
    for name in re.findall(r"--experiment=(\w+)(?![\w.])", text):
        assert name in (*NAMES, "NAME"), name
    everything = {"all", *METHODS, *training_time.METHODS}
    for chosen in re.findall(r"--methods=([\w+,]+)", text):
        names = {name.partition("__")[0] for name in re.split(r"[+,]", chosen)}
        assert names <= everything


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in documents() if text]
)
def test_values_of_flags_paste_into_a_shell_and_have_their_type(text):
    config = importlib.import_module("experiments.digits_audit").get_config("cpu")
    known = dict(flags.flat(config))
    for name, value in re.findall(r"--config\.([\w.]+)=(\"[^\"]*\"|[^\s`]*)", text):
        assert value[:1] == '"' or not set(value) & set("()'\"$&|;<>*? "), value
        if isinstance(known.get(name), tuple):
            values, words = flags.define(), [f"--config.{name}={value.strip(chr(34))}"]
            changed = ConfigDict(config)
            flags.parse(values, words, known_only=True)
            flags.define_settings(values, words, changed)
            assert isinstance(dict(flags.flat(changed))[name], tuple)


def test_your_own_model():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 4, 1), np.uint8)
    labels = np.arange(40, dtype=np.int32) % 10
    text = code(README, "Model(init, apply)")
    before, after = text.split("problem = make_problem")
    given = {"inputs": images, "labels": labels}
    exec(before, given)
    given["trained"] = given["init"](jax.random.key(1), images)
    exec(f"problem = make_problem{after}", given)
    moved = given["unlearned"]["params"]["w"] - given["trained"]["params"]["w"]
    assert np.isfinite(moved).all() and np.abs(moved).max() > 0
    assert set(given["problem"].forget.tolist()) == {3, 14, 15}


def test_the_three_lines_that_load_an_exported_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("PATH.py").write_text(
        "from unlearn.models import create\n\n\n"
        "def function(num_classes):\n"
        '    return create("mlp", num_classes, widths=(4,))\n'
    )
    inputs = np.ones((3, 4, 4, 1), np.float32)
    net = models.create("mlp", 10, widths=(4,))
    saved = net.init(jax.random.key(5), inputs)
    file = Path("runs/NAME/export/ssd/0.safetensors")
    file.parent.mkdir(parents=True)
    unlearn.save_weights(file, saved)
    given = {"unlearn": unlearn, "jax": jax, "inputs": inputs}
    exec(code(RESULTS, "load_weights"), given)
    np.testing.assert_array_equal(
        given["model"].apply(given["variables"], inputs)[0],
        net.apply(saved, inputs)[0],
    )
