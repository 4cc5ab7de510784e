"""Every experiment's presets are valid, and the smoke presets need no download."""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from small_runs import Silent, blank

import unlearn
from unlearn import pipeline, training, training_time
from unlearn.methods import METHODS
from unlearn.pipeline import method_programs
from unlearn.pipeline.other_requests import check_apart
from unlearn.report import plotting

FOLDER = Path(__file__).parents[2] / "experiments"
NAMES = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
METHOD_TABLES = ["digits_methods", "mnist_methods"]


def load(name):
    return importlib.import_module(f"experiments.{name}")


@pytest.mark.parametrize("preset", ["smoke", "cpu", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_presets(name, preset):
    experiment = load(name)
    config = experiment.get_config(preset)
    assert f"--experiment={name}" in experiment.__doc__ or name == "digits_forget"
    if "forget" not in config:  # the benchmark, the federations
        return
    pipeline.check(config, config.run)
    assert set(config) - {"audit"} == set(pipeline.default_config())
    made_up = config.data.name.startswith("synthetic:")
    assert made_up == (preset == "smoke")


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_fits_into_the_list(name):
    first, blank, *_ = load(name).__doc__.splitlines()
    assert first.endswith(".") and len(f"      {name}: {first}") <= 110 and not blank


def test_the_protocol_and_its_helpers():
    """Helpers are imported relatively, so that the folder has any name."""
    package = importlib.import_module("experiments")
    for word in ("get_config(preset)", "run(config, folder, *, data_dir=None)"):
        assert word in package.__doc__
    for path in FOLDER.glob("*.py"):
        text = path.read_text()
        assert "from experiments" not in text and "import experiments" not in text


def test_experiments_work_as_part_of_the_package(monkeypatch):
    """As they are in the wheel, where `experiments` does not exist."""
    monkeypatch.setattr(unlearn, "__path__", [*unlearn.__path__, str(FOLDER.parent)])
    try:
        for name in NAMES:
            experiment = importlib.import_module(f"unlearn.experiments.{name}")
            assert experiment.get_config("smoke")
            assert getattr(experiment, "run", pipeline.run).__module__.startswith(
                "unlearn."
            )
    finally:
        for name in [n for n in sys.modules if n.startswith("unlearn.experiments")]:
            del sys.modules[name]


@pytest.mark.parametrize("name", METHOD_TABLES)
def test_every_method_runs_with_the_constants_that_were_chosen(name):
    experiment = load(name)
    config = experiment.get_config("cpu")
    everything = {*pipeline.approximate(), *training_time.METHODS}
    assert set(config.run) == everything
    assert set(experiment.TUNED) <= set(METHODS) and set(experiment.FIXED) <= everything
    for method, constants in (*experiment.FIXED.items(), *experiment.TUNED.items()):
        for key, value in constants.items():
            chosen = experiment.TUNED.get(method, {}).get(key, value)
            assert config.methods[method][key] == chosen


@pytest.mark.parametrize("preset", ["smoke", "cpu", "full"])
@pytest.mark.parametrize("name", METHOD_TABLES)
def test_constants_are_tuned_on_what_no_table_shows(name, preset):
    config = load(name).get_config(preset)
    check_apart(config)
    shown = {*config.forget.classes, *config.class_sweep.classes}
    assert not shown & set(config.tune.classes) and len(config.tune.classes) == 2
    assert preset == "smoke" or shown | set(config.tune.classes) == set(range(10))


@pytest.mark.parametrize("name", METHOD_TABLES)
def test_a_method_without_constants_runs_with_its_defaults(name, monkeypatch):
    """No experiment is edited when a method is added."""

    def newcomer(key, variables, problem, *, rate=0.25):
        return variables, {}

    info = METHODS["finetune"]._replace(name="newcomer", fn=newcomer)
    monkeypatch.setitem(METHODS, "newcomer", info)
    config = load(name).get_config("cpu")
    assert "newcomer" in config.run
    assert config.methods.newcomer.to_dict() == {"rate": 0.25, "retain_examples": 0}


@pytest.mark.parametrize("first, second", [("digits", "mnist"), ("cifar", "mnist")])
def test_experiments_that_differ_by_data_share_their_helper(first, second):
    kind = "methods" if first == "digits" else "audit"
    one, other = load(f"{first}_{kind}"), load(f"{second}_{kind}")
    assert one.shared is other.shared


def test_the_smoke_preset_runs_a_method_for_each_need():
    run = load("digits_methods").get_config("smoke").run
    chosen = [METHODS[name].needs for name in run if name in METHODS]
    assert len(chosen) == len(set(chosen))
    assert set(chosen) == {METHODS[name].needs for name in pipeline.approximate()}
    assert set(training_time.METHODS) <= set(run)


MADE_UP = {"cifar10": "32x32x3", "mnist": "28x28x1", "ham10000": "32x32x3"}
FULL = ["mnist_methods", "mnist_swap"]
"""These run; the others, whose nets and types are theirs, are traced."""


def cut(config):
    """Leaves of a preset two steps of a training and of a method, and little data."""
    if shape := MADE_UP.get(config.data.name):
        config.data.name = f"synthetic:{shape},classes=10,train=80,test=20"
    config.data.update(examples=0, image_size=0)
    config.train.update(epochs=1, warmup_epochs=0, batch_size=32)
    config.model.resnet18.width = 2
    config.run, config.seeds, config.reference = config.run[:1], 1, "none"
    for constants in config.methods.values():
        for option in constants:
            if option.endswith("epochs"):
                constants[option] = 1
            if option.endswith("batch_size"):
                constants[option] = 32
            if option.endswith(("examples", "images")) and constants[option]:
                constants[option] = 16


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_takes_its_steps(name, tmp_path, monkeypatch):
    """Nets, number types, augmentation and methods are those of the preset."""
    monkeypatch.setattr(plotting, "save", blank)
    config = load(name).get_config("full")
    cut(config)
    result = pipeline.run(config, tmp_path / name)
    assert [row["model"] for row in result.rows] == ["original", *config.run]
    assert not result.diverged


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in FULL])
def test_full_fits_together(name, tmp_path):
    """An epoch, and two methods after it, are programs; nothing is compiled."""
    config = load(name).get_config("full")
    if "forget" not in config:
        pytest.skip("no preset of the pipeline: it has a run of its own")
    names = config.run[:2]
    cut(config)
    run = pipeline.prepare(config, tmp_path, names, progress=Silent())
    recipe, key = training.Recipe(**config.train), jax.random.key(0)
    indices = run.problem.retain

    def train(key):
        return training.train(key, run.problem, indices, recipe)

    variables, losses = jax.eval_shape(train, key)
    assert losses.shape == (1, -(-len(indices) // config.train.batch_size))
    for method in names:
        if method not in METHODS:
            continue
        seen = method_programs.seen_as(run, method, variables)
        constants = tuple(config.methods[method].items())
        fn = method_programs.method_function(METHODS[method].fn, constants)
        after, _ = jax.eval_shape(fn, key, variables, seen)
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, variables)


ELSEWHERE = {
    "digits_forget": "test_processes.py, from the command line",
    "speed": "test_benchmark.py",
    "ham10000_zero_shot": "test_ham_report.py",
    "cifar_forget": "test_colab.py",
    "mnist_methods": "the same code as digits_methods",
    "frontier": "the same code as frontier_budgets",
    "digits_audit": "the same code as frontier",
    "cifar_audit": "the same code as frontier",
    "cifar_frontier": "the same code as frontier",
    "mnist_frontier": "the same code as frontier; classes as mnist_audit",
    "mnist_federated": "test_federated.py",
    "mnist_private": "test_private.py",
    "certified_deletions": "test_certified_deletions.py",
    "certificates": "test_certificates.py",
    "cifar_class_audit": "as mnist_audit",
    "mnist_audit": "the same code as digits_audit; classes in tests/audit/test_run.py",
}


def smaller(config, name):
    """Leaves some of a smoke preset out, and adds what may diverge."""
    if name == "digits_methods":  # few of its methods, and two that climb a loss
        few = "boundary_shrink", "curriculum_distill", "emmn", "lotus"
        climbing = "gradient_ascent", "neggrad_plus"
        assert {*few, *training_time.METHODS} < {*config.run}
        config.run = *few, *climbing, *training_time.METHODS
    if name == "frontier_budgets":
        config.audit.canaries = 0  # a third study of the same kinds of models
    if name == "mnist_swap":
        config.model.cnn.widths = (4, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ELSEWHERE])
def test_smoke_runs(name, tmp_path):
    """A smoke preset, some made `smaller`, ends well; others are run `ELSEWHERE`."""
    experiment = load(name)
    run = getattr(experiment, "run", pipeline.run)
    config = experiment.get_config("smoke")
    smaller(config, name)
    result = run(config, tmp_path / name)
    assert not getattr(result, "diverged", ())
