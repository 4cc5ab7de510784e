"""Every experiment's presets are valid, and the smoke presets need no download."""

import importlib
from pathlib import Path

import pytest

from unlearn import pipeline

NAMES = sorted(
    p.stem for p in Path(__file__).parent.parent.glob("experiments/[a-z]*.py")
)


@pytest.mark.parametrize("preset", ["smoke", "cpu", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_presets(name, preset):
    experiment = importlib.import_module(f"experiments.{name}")
    config = experiment.get_config(preset)
    assert f"--experiment={name}" in experiment.__doc__ or name == "digits_forget"
    if "methods" not in config:  # the benchmark
        return
    pipeline.check(config, config.run)
    assert set(config) - {"audit"} == set(pipeline.default_config())
    made_up = config.data.name.startswith("synthetic:")
    assert made_up == (preset == "smoke")


@pytest.mark.parametrize("name", ["digits_methods", "mnist_methods"])
def test_every_method_runs_with_the_constants_that_were_chosen(name):
    experiment = importlib.import_module(f"experiments.{name}")
    config = experiment.get_config("cpu")
    assert set(experiment.TUNED) == set(pipeline.APPROXIMATE)
    for method, constants in (*experiment.FIXED.items(), *experiment.TUNED.items()):
        for key, value in constants.items():
            chosen = experiment.TUNED.get(method, {}).get(key, value)
            assert config.methods[method][key] == chosen
