"""The section `audit` of a config, with its limits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unlearn import methods, training_time
from unlearn.audit.studies import FEW
from unlearn.data.splits import ForgetConfig
from unlearn.errors import InputError
from unlearn.methods.matching import Matching
from unlearn.pipeline.checks import check_known, parts_of
from unlearn.privacy import dp_sgd
from unlearn.training import check_rates

if TYPE_CHECKING:
    from ml_collections import ConfigDict

SMOKE = {
    "models": 12,
    "request_models": 12,
    "stress_models": 12,
    "trained_models": 12,
    "chunk": 12,
    "kept": 20,
    "canaries": 15,
}
"""For smoke presets: seconds, and nothing is decided."""


class HarderConfig(NamedTuple):
    """Harder forget sets, and requests one after another."""

    models: int = 12  # each; 0: leave this out
    count: int = 60  # examples of a set; 0: requests one after another alone
    requests: int = 10
    fraction: float = 0.01  # of the training set, a request
    membership: bool = False  # the shadow study's too, as requests one after another


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


class PrivateConfig(NamedTuple):
    """DP-SGD, which is never asked to forget: a row that says what that is worth.

    The constants suit the digits (94 % at epsilon 8; retraining 98 %).
    """

    epsilon: float = 0.0  # of one example; 0: leave the row out
    delta: float = 1e-5
    steps: int = 100
    batch_size: int = 256  # expected
    learning_rate: float = 0.5
    momentum: float = 0.9
    clip: float = 0.5
    microbatch: int = 64

    def recipe(self) -> dp_sgd.Recipe:
        values = self._asdict()
        return dp_sgd.Recipe(**{name: values[name] for name in dp_sgd.Recipe._fields})


class DocumentConfig(NamedTuple):
    """Who answers for the page; what is empty is filled in by hand."""

    reference: str = ""  # the requester's
    received: str = ""
    due: str = ""
    run_by: str = ""
    reviewed_by: str = ""
    residual_risk_accepted_by: str = ""
    next_review: str = ""


class AuditConfig(NamedTuple):
    """The section `audit` of a config."""

    models: int = 144  # of each kind in the shadow study
    request_models: int = 66  # of each kind in the request study
    stress_models: int = 66  # of each kind in the stress study
    trained_models: int = 24  # of methods that train their own: the first of a study
    chunk: int = 32  # how many of them one program makes
    targets: int = 300  # shadow study: at most so many of the requested examples
    kept: int = 60  # shadow study: others that are kept or never seen
    canaries: int = 75  # stress study: mislabelled examples; 0: leave it out
    background: float = 1.0  # the share of the other examples trained with
    seed: int = 0
    examples: int = 1000  # at most so many examples of a set are measured
    harder: dict = HarderConfig()._asdict()
    tolerance: float = 0.25  # the share of the original's leak that counts as none
    utility_tolerance: float = 0.01  # so much test accuracy may be lost
    class_tolerance: float = 0.05  # and so much on the class that loses most
    layers: dict = LayersConfig()._asdict()
    private: dict = PrivateConfig()._asdict()
    matching: dict = Matching(epochs=0)._asdict()  # epochs 0: leave the row out
    reason: str = "not stated"  # for the page: why the examples must go
    release: str = ""  # for the page: METHOD/SEED of the checkpoint that is released
    document: dict = DocumentConfig()._asdict()
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
    for name in parts_of(names):
        check_known(config, name)
    for name in names:
        if name not in methods.METHODS and name not in training_time.METHODS:
            raise InputError(
                f"{name} cannot be audited: the models of a study are answered by one "
                "method each; leave it out"
            )
    named_release(config.audit.release, names, config.seeds)
    if config.audit.private.epsilon:
        check_private(config)
    check_rates(config.audit.matching.to_dict(), "audit.matching.")
    settings = flat(config.audit.to_dict())
    for name, least in SMALLEST.items():
        if settings.get(name, least) < least:
            raise InputError(
                f"audit.{name} must be at least {least}; it is {settings[name]}"
            )
    models, part = settings["harder.models"], settings["harder.fraction"]
    most = settings["request_models"]
    canaries, trained = settings["canaries"], settings["trained_models"]
    fewest = min(settings["models"], most, settings["stress_models"])
    fits = {
        "kept": (
            settings["kept"] >= 2 and not settings["kept"] % 2,
            "an even number, 2 or more",
        ),
        "canaries": (
            canaries >= 0 and not canaries % 3,
            "0, to leave the stress study out, or a multiple of 3",
        ),
        "trained_models": (
            12 <= trained <= fewest and not trained % 6,
            f"a multiple of 6, from 12 to {fewest}, the models of the smallest study",
        ),
        "background": (0 < settings["background"] <= 1, "above 0, to 1"),
        "seed": (settings["seed"] >= 0, "0 or more"),
        "tolerance": (0 < settings["tolerance"] < 1, "above 0 and below 1"),
        "utility_tolerance": (settings["utility_tolerance"] >= 0, "0 or more"),
        "class_tolerance": (settings["class_tolerance"] >= 0, "0 or more"),
        "matching.decay_rate": (
            0 < settings["matching.decay_rate"] <= 1,
            "above 0, to 1",
        ),
        "harder.models": (
            not models or 12 <= models <= most,
            f"0, to leave harder forget sets out, or from 12 to request_models, {most}",
        ),
        "harder.count": (settings["harder.count"] != 1, "0 or at least 2"),
        "harder.membership": (
            bool(models) or not settings["harder.membership"],
            "False where harder.models is 0",
        ),
        "harder.fraction": (
            0 < part * settings["harder.requests"] < 1,
            "above 0, and below 1 when all requests are added",
        ),
    }
    for name, (good, limits) in fits.items():
        if not good:
            raise InputError(f"audit.{name} must be {limits}; it is {settings[name]}")


def check_private(config: "ConfigDict") -> None:
    """Refuses DP-SGD where it is not installed, or promises nothing of the request."""
    dp_sgd.require()
    if ForgetConfig(**config.forget).whole_classes:
        raise InputError(
            "a private training promises nothing of a whole class: leave out "
            "audit.private.epsilon"
        )
    private = PrivateConfig(**config.audit.private)
    budget = dp_sgd.Budget(private.epsilon, private.delta)
    try:
        dp_sgd.check(budget, max(1, private.batch_size), private.recipe())
    except InputError as error:
        raise InputError(f"audit.private: {error}") from None
    if not private.learning_rate > 0:
        raise InputError(
            f"audit.private.learning_rate must be above 0; it is "
            f"{private.learning_rate}"
        )


def named_release(
    text: str, names: Sequence[str], seeds: int
) -> tuple[str, int] | None:
    """Reads `audit.release`, METHOD/SEED; None if it is empty.

    Raises:
      InputError: it is no unlearned or retrained model of the run.
    """
    if not text:
        return None
    name, _, seed = text.rpartition("/")
    if name in training_time.METHODS:
        raise InputError(
            f"audit.release={text}: a run keeps no checkpoint of {name}; answer the "
            "request in a deployment with this method and release that one"
        )
    if name not in (*names, "retrain") or seed not in map(str, range(seeds)):
        example = f"{names[0] if names else 'retrain'}/0"
        raise InputError(
            f"audit.release={text} names no model of this run: give METHOD/SEED, such "
            f"as {example}; the methods are {', '.join((*names, 'retrain'))}, the "
            f"seeds 0 to {seeds - 1}"
        )
    return name, int(seed)


SMALLEST = {
    "models": 12,
    "request_models": 12,
    "stress_models": 12,
    "chunk": 1,
    "targets": FEW,  # of fewer nothing is judged
    "examples": FEW,
    "layers.seeds": 1,
    "layers.examples": 1,
    "layers.relearning.steps": 1,
    "layers.relearning.batch_size": 1,
    "matching.epochs": 0,
    "matching.ratio": 0,
    "matching.batch_size": 1,
    "harder.count": 0,
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
