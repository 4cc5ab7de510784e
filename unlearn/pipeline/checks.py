"""Names of methods and chains, and what is checked before anything expensive runs."""

import difflib
import numbers
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unlearn import hosts, memory, methods, models, optimizers, training, training_time
from unlearn.data.augment import OPTIONS
from unlearn.data.splits import DataConfig, ForgetConfig
from unlearn.errors import InputError
from unlearn.inputs import in_words, input_spec
from unlearn.methods.statistics import STATISTICS
from unlearn.pipeline import imported
from unlearn.problem import Problem
from unlearn.stored import Stored

if TYPE_CHECKING:
    from ml_collections import ConfigDict

SMALLEST = {"epochs": 1, "batch_size": 1, "forget_batch_size": 1, "group": 1}
SMALLEST |= {"max_epochs": 0, "warmup_epochs": 0, "retain_examples": 0, "balance": 0}
SMALLEST |= {"parts": 1, "noisy_steps": 1}
MOST_LOGITS = 2**26
"""So many of a model's logits on all examples are held in memory, 256 MB in float32. Of
more, those of an audit stay in their file; of another run only the loss and the
prediction of each example are kept (`metrics.Outputs`)."""
CHOICES = {"schedule": optimizers.SCHEDULES, "decay": optimizers.SCHEDULES}
CHOICES |= {"descent": tuple(optimizers.TRAINERS)}
CHOICES |= {"optimizer": tuple(optimizers.OPTIMIZERS), "statistics": STATISTICS}
SHARES = "share", "first_share", "fraction", "sparsity", "labels"
"""Constants of the package's methods that are from 0 to 1."""
SUMS = ("methods.lipschitz",)
"""Those that may have a momentum of 1: they sum the gradients of all steps."""


def approximate() -> tuple[str, ...]:
    """Names the methods that start from the original: all but retraining."""
    return tuple(name for name in methods.METHODS if name != "retrain")


def any_scope() -> tuple[str, ...]:
    """Names those of `approximate` that forget random examples as well as classes."""
    return tuple(n for n in approximate() if methods.METHODS[n].scope != "class")


def fitting(config: "ConfigDict") -> tuple[str, ...]:
    """Names every method that answers such a request as a config's."""
    classes = ForgetConfig(**config.forget).whole_classes
    return approximate() if classes else any_scope()


def methods_of(config: "ConfigDict") -> tuple[str, ...]:
    """Names the methods of a run, each once; retraining is done in any case."""
    return tuple(name for name in dict.fromkeys(config.run) if name != "retrain")


def split_chain(name: str) -> list[str]:
    """Names the methods of a chain such as `influence+finetune`."""
    return name.split("+")


def parts_of(names: Sequence[str]) -> list[str]:
    """Names every method in some chains, once."""
    return list(dict.fromkeys(part for name in names for part in split_chain(name)))


def check_known(config: "ConfigDict", name: str) -> None:
    """Refuses a method that there is not, or that has no constants, in a line."""
    if name not in config.methods:
        known = name in methods.METHODS or name in training_time.METHODS
        if known and name.partition("__")[0] not in config.methods:
            raise InputError(
                f"config.methods has no table for {name}: get_config replaced it; add "
                "to it with c.methods.NAME = {...}"
            )
        close = difflib.get_close_matches(name.lower(), config.methods, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(
            f"unknown method {name!r}: {hint}choose from "
            f"{', '.join(config.methods)}, or a chain such as influence+finetune"
        )


def check(config: "ConfigDict", names: Sequence[str]) -> None:
    """Checks what can be known before the data is there.

    Raises:
      InputError: the first setting or method that does not fit, in one line.
    """
    if config.seeds < 1:
        raise InputError(f"seeds must be at least 1; it is {config.seeds}")
    DataConfig(**config.data).check()
    forget = ForgetConfig(**config.forget)
    forget.check()
    if forget.by_id:
        forget.wanted()  # a file that cannot be read is known now
    for name in names:
        if "+" in name and set(split_chain(name)) & training_time.METHODS.keys():
            raise InputError(
                f"{name} cannot be a chain: {', '.join(training_time.METHODS)} train a "
                "model of their own, so run them alone"
            )
        for part in split_chain(name)[1:]:
            if part in methods.METHODS and "early" in methods.METHODS[part].needs:
                raise InputError(
                    f"{name}: {part} starts from early weights, so what is before it "
                    "has no effect; put it first, or run it alone"
                )
    parts = parts_of(names)
    for name in parts:
        check_known(config, name)
        info = methods.METHODS.get(name)
        if info and info.scope == "class" and not forget.whole_classes:
            raise InputError(
                f"{name} forgets whole classes only: leave it out, or set "
                "forget.kind=class and forget.classes"
            )
        if info and "early" in info.needs:
            check_rewinding(config, name)
    models.check_name(config.model.name)
    imported.check_settings(config)
    if config.attack_examples < 0:
        raise InputError("attack_examples must be 0 (no limit) or more")
    sections = {f"methods.{name}": config.methods[name] for name in parts}
    for section, constants in (sections | {"train": config.train}).items():
        check_constants(section, constants)


def check_rewinding(config: "ConfigDict", name: str) -> None:
    """Refuses to rewind an original that was trained elsewhere, or not for so long."""
    epoch, trained = config.methods[name].epoch, config.train.epochs
    if config.model.weights:
        raise InputError(
            f"{name} needs weights from early in the original's training, and this one "
            "was trained elsewhere: leave it out"
        )
    if not 0 < epoch <= trained:
        raise InputError(
            f"methods.{name}.epoch must be from 1 to {trained}, the epochs that the "
            f"original is trained for; it is {epoch}"
        )


def check_constants(section: str, constants: Mapping) -> None:
    """Checks the constants whose limits are the same wherever they occur."""
    for key, value in constants.items():
        if key in SMALLEST and value < SMALLEST[key]:
            raise InputError(
                f"{section}.{key} must be at least {SMALLEST[key]}; it is {value}"
            )
        if key in CHOICES and value not in CHOICES[key]:
            raise InputError(
                f"unknown {section}.{key} {value!r}: "
                f"choose from {', '.join(CHOICES[key])}"
            )
    info = methods.METHODS.get(section.removeprefix("methods.").partition("__")[0])
    for key in SHARES if info and not info.source_hash() else ():
        value = constants.get(key, 0)
        if not (isinstance(value, numbers.Real) and 0 <= value <= 1):
            raise InputError(f"{section}.{key} is a share, from 0 to 1; it is {value}")
    planned, epochs = constants.get("planned_epochs"), constants.get("epochs", 0)
    if info and planned and planned < epochs:
        raise InputError(
            f"{section}.epochs is {epochs}, more than the {planned} that are planned: "
            "lower it, or raise planned_epochs"
        )
    if section == "train":
        training.Recipe(**constants).check("train.")
    elif section.partition("__")[0] in SUMS and constants.get("momentum") == 1:
        training.check_rates({**constants, "momentum": 0.0}, f"{section}.")
    else:
        training.check_rates(constants, f"{section}.")


def check_images(examples: np.ndarray | Stored, config: "ConfigDict") -> None:
    """Refuses what is for images where the examples [N, ...] are none, [N, H, W, C]."""
    if examples.ndim == 4:
        return
    what = in_words(input_spec(examples))
    for option in OPTIONS:
        if config.data[option]:
            raise InputError(
                f"data.{option} is for images; these examples are {what}: leave it out"
            )
    net = config.model.name
    if net in models.NETS and net != "mlp":
        raise InputError(
            f"model {net} is for images [H, W, C]; these examples are {what}: set "
            "model.name=mlp, or model.name=PATH.py:function for a net of your own"
        )


def count_logits(problem: Problem, tests: int) -> int:
    """Counts a model's logits on training, validation and `tests` test examples."""
    held_out = problem.validation
    examples = len(problem.labels) + tests
    examples += 0 if held_out is None else len(held_out.labels)
    return examples * problem.num_classes


def check_space(
    folder: Path,
    problem: Problem,
    config: "ConfigDict",
    names: Sequence[str],
    tests: int,
) -> None:
    """Checks that the logits that an audit keeps have room in the run's folder.

    Args:
      tests: the test examples.

    Raises:
      InputError: they are many, and more than there is space for.
    """
    logits = count_logits(problem, tests)
    if "audit" not in config or logits <= MOST_LOGITS or not hosts.is_first():
        return  # other processes write into a folder that is theirs for the run
    missing = [
        (name, seed)
        for name in ("original", "retrain", "head_distill", *names)
        for seed in range(config.seeds)
        if not (folder / "evaluations" / name / f"{seed}.json").exists()
    ]
    needed = 4 * logits * (len(missing) + 1)  # one is twice there while it is written
    free = shutil.disk_usage(folder).free
    if missing and free < needed:
        raise InputError(
            f"an audit keeps the logits of every example: {memory.in_gib(needed)} of "
            f"{len(missing)} models, and {memory.in_gib(free)} are free in {folder}: "
            "free some, choose another --workdir, or lower data.examples or seeds"
        )


def check_sizes(
    problem: Problem,
    config: "ConfigDict",
    names: Sequence[str],
    test_labels: np.ndarray,
) -> None:
    """Checks what can be known once the sets are there.

    Args:
      test_labels: int[T].

    Raises:
      InputError: in one line: too few examples for a batch; a test or validation set
        that does not serve; a method that does not take such inputs.
    """
    for part in parts_of(names):
        if part in methods.METHODS:
            methods.METHODS[part].check(problem)
    available = len(problem.retain)
    if config.train.batch_size > available:
        raise InputError(
            f"train.batch_size is {config.train.batch_size}, but only {available} "
            "examples are retained: lower train.batch_size"
        )
    gone = np.asarray(problem.forget_classes)
    if np.isin(test_labels, gone).all():
        raise InputError(
            "the test set has forgotten classes only, so nothing can be measured on "
            "what stays: add test examples of the other classes"
        )
    for part in sorted(parts_of(names)):
        target = config.methods[part].get("target", -1)
        if target in gone:
            raise InputError(
                f"methods.{part}.target is {target}, a class to be forgotten: choose "
                "one that stays, or -1 for the likeliest"
            )
    held_out = problem.validation
    lacks = "no validation set" if held_out is None else ""
    if held_out is not None and np.isin(np.asarray(held_out.labels), gone).all():
        lacks = "a validation set of forgotten classes only"
    for part in sorted(parts_of(names)):
        for option in ("rewind", "early_stopping"):
            if config.methods[part].get(option) and lacks:
                raise InputError(
                    f"{part} needs a validation set for {option}, with classes that "
                    f"stay, and there is {lacks}: raise data.validation, or set "
                    f"methods.{part}.{option}=False"
                )


LATER = {"rum": {"low": "none", "medium": "finetune", "high": "salun"}}
"""Constants that a method was given later, with their defaults."""


def as_kept(name: str, constants: Mapping) -> dict:
    """Returns a method's constants as folders keep them.

    Without those that came later and are off, so that folders from before go on.
    """
    later = LATER.get(name.partition("__")[0], {})
    return {k: v for k, v in constants.items() if k not in later or v != later[k]}
