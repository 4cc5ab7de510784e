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
    assert config.keys() == pipeline.default_config().keys()
    made_up = config.data.name.startswith("synthetic:")
    assert made_up == (preset == "smoke")
