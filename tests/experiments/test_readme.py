"""The READMEs name what there is, and their code runs."""

import importlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from unlearn import pipeline, training_time
from unlearn.launcher import flags
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
    text = (ROOT / file).read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif "://" not in target:
            assert ((ROOT / file).parent / target).exists(), target


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in documents() if text]
)
def test_every_flag_it_names_exists(text):
    configs = [
        importlib.import_module(f"experiments.{name}").get_config("cpu")
        for name in ("digits_audit", "speed")
    ]
    known = {key for config in configs for key, _ in flags.flat(config)}
    own = set(flags.define()) | {word.strip("-") for word in flags.HELP}
    for name in re.findall(r"(?<![\w-])--([a-z_]+(?:\.\w+)*)", text):
        if name.startswith("config."):
            assert name.removeprefix("config.") in known, name
        else:
            assert name in own, name
    for name in re.findall(r"--experiment=(\w+)(?![\w.])", text):
        assert name in (*NAMES, "NAME"), name
    everything = {*METHODS, *training_time.METHODS}
    for chosen in re.findall(r"--methods=([\w+,]+)", text):
        assert set(re.split(r"[+,]", chosen)) <= everything


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
    given = {"images": images, "labels": labels}
    exec(before, given)
    given["trained"] = given["init"](jax.random.key(1), images)
    exec(f"problem = make_problem{after}", given)
    moved = given["unlearned"]["params"]["w"] - given["trained"]["params"]["w"]
    assert np.isfinite(moved).all() and np.abs(moved).max() > 0
    assert set(given["problem"].forget.tolist()) == {3, 14, 15}


def test_your_own_nnx_model():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(16, 10, rngs=rngs)
            self.norm = nnx.BatchNorm(10, rngs=rngs)

        def __call__(self, images, use_running_average):
            rows = images.reshape(len(images), -1)
            return self.norm(self.dense(rows), use_running_average=use_running_average)

    given = {"Net": Net}
    exec(code(RESULTS, "nnx.merge"), given)
    images = np.random.default_rng(0).normal(size=(8, 4, 4, 1)).astype(np.float32)
    variables = given["init"](jax.random.key(0), images)
    logits, after = given["apply"](variables, images, train=True)
    assert logits.shape == (8, 10)
    means = [jax.tree.leaves(v["batch_stats"])[0] for v in (variables, after)]
    assert np.abs(means[1] - means[0]).max() > 0


def test_add_a_method(tmp_path):
    """The block is a file with a method and an experiment; it runs."""
    path = tmp_path / "keep_training.py"
    path.write_text(code(README, "@method"))
    spec = importlib.util.spec_from_file_location("keep_training", path)
    mine = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(mine)
        config = mine.get_config("cpu")
        config.data.name = "synthetic:4x4x1,classes=3,train=60,test=30"
        config.model.name = "mlp"
        config.model.mlp.widths = (4,)
        config.train.update(epochs=1, batch_size=16)
        config.seeds = 1
        result = pipeline.run(config, tmp_path / "run")
    finally:
        METHODS.pop("keep_training", None)
    models = [row["model"] for row in result.summary]
    assert "keep_training" in models and not result.diverged
    assert f"--experiment={path.name}" in README


def test_attacks_take_your_own_models():
    rng = np.random.default_rng(0)
    states = rng.permuted(np.arange(24)[:, None] % 3 * np.ones(9, int), axis=0)
    given = {"margins": rng.normal(size=(24, 9)), "states": states}
    exec(code(RESULTS, "u_lira"), given)
    assert 0 <= given["found"].auc <= 1
