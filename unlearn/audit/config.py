"""The section `audit` of a config, with its limits."""

from typing import TYPE_CHECKING, NamedTuple

from unlearn import methods
from unlearn.errors import InputError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

SMOKE = {"models": 12, "chunk": 12, "targets": 60, "canaries": 15}
"""For smoke presets: seconds, and nothing is decided."""


class HarderConfig(NamedTuple):
    """Harder forget sets, and requests one after another."""

    models: int = 12  # each; 0: leave this out
    count: int = 60  # examples of a set
    requests: int = 10
    fraction: float = 0.01  # of the training set, a request


class RelearningConfig(NamedTuple):
    """How models learn the forget set again."""

    steps: int = 100
    batch_size: int = 32
    learning_rate: float = 0.05


class LayersConfig(NamedTuple):
    """Probe, IDI and relearning."""

    seeds: int = 2
    examples: int = 500
    relearning: dict = RelearningConfig()._asdict()


class AuditConfig(NamedTuple):
    """The section `audit` of a config."""

    models: int = 128  # of each kind in a study
    chunk: int = 32  # how many of them one program makes
    targets: int = 300  # shadow study: examples that change roles between models
    canaries: int = 75  # those of them that are mislabelled
    background: float = 1.0  # the share of the other examples trained with
    seed: int = 0
    examples: int = 1000  # at most so many examples of a set are measured
    harder: dict = HarderConfig()._asdict()
    auc_tolerance: float = 0.05  # an AUC so near to 0.5 counts as equal to retraining
    utility_tolerance: float = 0.01  # and so does a test accuracy so little lower
    layers: dict = LayersConfig()._asdict()
    reason: str = "not stated"  # for the page: why the examples must go
    preset: str = ""


def default_audit(preset: str) -> "ConfigDict":
    """Returns the section `audit` of an experiment's config."""
    from ml_collections import ConfigDict

    return ConfigDict(AuditConfig(preset=preset)._asdict())


def check(config: "ConfigDict", names: tuple[str, ...]) -> None:
    """Checks the methods and the section `audit`.

    Raises:
      InputError: the first setting that is out of its limits, in one line.
    """
    for name in names:
        info = methods.METHODS.get(name)
        if info is None or info.scope == "class":
            raise InputError(
                f"{name} cannot be audited: the shadow models forget random examples, "
                f"with one approximate method each; leave it out"
            )
    settings = flat(config.audit.to_dict())
    for name, least in SMALLEST.items():
        if settings.get(name, least) < least:
            raise InputError(
                f"audit.{name} must be at least {least}; it is {settings[name]}"
            )
    most, targets = settings["models"], settings["targets"]
    models, part = settings["harder.models"], settings["harder.fraction"]
    fits = {
        "targets": (targets > 0 and not targets % 3, "a positive multiple of 3"),
        "canaries": (0 <= 2 * settings["canaries"] <= targets, "0 to targets / 2"),
        "background": (0 < settings["background"] <= 1, "above 0, to 1"),
        "seed": (settings["seed"] >= 0, "0 or more"),
        "harder.models": (
            not models or 12 <= models <= most,
            f"0, to leave harder forget sets out, or from 12 to models, {most}",
        ),
        "harder.fraction": (
            0 < part * settings["harder.requests"] < 1,
            "above 0, and below 1 when all requests are added",
        ),
    }
    for name, (good, limits) in fits.items():
        if not good:
            raise InputError(f"audit.{name} must be {limits}; it is {settings[name]}")


SMALLEST = {
    "models": 12,
    "chunk": 1,
    "examples": 1,
    "layers.seeds": 1,
    "layers.examples": 1,
    "layers.relearning.steps": 1,
    "layers.relearning.batch_size": 1,
    "harder.count": 2,
    "harder.requests": 1,
}


def flat(nested: dict, prefix: str = "") -> dict:
    """Returns nested settings by their dotted names, such as `train.epochs`."""
    found = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and len(value) > 20:
            found[f"{prefix}{key}"] = f"{len(value)} values"
        else:
            found[f"{prefix}{key}"] = value
    return found
