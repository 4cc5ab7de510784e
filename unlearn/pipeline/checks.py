"""Names of methods and chains, and what is checked before anything expensive runs."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn import methods, models, training, training_time
from unlearn.data.splits import DataConfig, ForgetConfig
from unlearn.errors import InputError
from unlearn.problem import Problem

if TYPE_CHECKING:
    from ml_collections import ConfigDict

SMALLEST = {"epochs": 1, "batch_size": 1, "forget_batch_size": 1, "group": 1}
SMALLEST |= {"max_epochs": 0, "warmup_epochs": 0, "retain_examples": 0}
CHOICES = {"schedule": training.SCHEDULES, "decay": training.SCHEDULES}
CHOICES |= {"optimizer": tuple(training.OPTIMIZERS)}


def approximate() -> tuple[str, ...]:
    """Names the methods that start from the original: all but retraining."""
    return tuple(name for name in methods.METHODS if name != "retrain")


def any_scope() -> tuple[str, ...]:
    """Names those of `approximate` that forget random examples as well as classes."""
    return tuple(n for n in approximate() if methods.METHODS[n].scope != "class")


def methods_of(config: "ConfigDict") -> tuple[str, ...]:
    """Names the methods of a run, each once; retraining is done in any case."""
    return tuple(name for name in dict.fromkeys(config.run) if name != "retrain")


def split_chain(name: str) -> list[str]:
    """Names the methods of a chain such as `influence+finetune`."""
    return name.split("+")


def parts_of(names: Sequence[str]) -> list[str]:
    """Names every method in some chains, once."""
    return list(dict.fromkeys(part for name in names for part in split_chain(name)))


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
    for name in names:
        if "+" in name and set(split_chain(name)) & training_time.METHODS.keys():
            raise InputError(
                f"{name} cannot be a chain: {', '.join(training_time.METHODS)} train a "
                "model of their own, so run them alone"
            )
    parts = parts_of(names)
    for name in parts:
        if name not in config.methods:
            close = difflib.get_close_matches(name.lower(), config.methods, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InputError(
                f"unknown method {name!r}: {hint}choose from "
                f"{', '.join(config.methods)}, or a chain such as influence+finetune"
            )
        info = methods.METHODS.get(name)
        if info and info.scope == "class" and not forget.whole_classes:
            raise InputError(
                f"{name} forgets whole classes only: leave it out, or set "
                "forget.kind=class and forget.classes"
            )
    if config.model.name not in models.NETS:
        raise InputError(
            f"there is no model {config.model.name!r}: "
            f"choose from {', '.join(models.NETS)}"
        )
    if config.attack_examples < 0:
        raise InputError("attack_examples must be 0 (no limit) or more")
    sections = {f"methods.{name}": config.methods[name] for name in parts}
    for section, constants in (sections | {"train": config.train}).items():
        check_constants(section, constants)


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


def check_sizes(problem: Problem, config: "ConfigDict", names: Sequence[str]) -> None:
    """Checks what can be known once the sets are there."""
    available = len(problem.retain)
    if config.train.batch_size > available:
        raise InputError(
            f"train.batch_size is {config.train.batch_size}, but only {available} "
            "examples are retained: lower train.batch_size"
        )
    for part in sorted(parts_of(names)):
        for option in ("rewind", "early_stopping"):
            if config.methods[part].get(option) and problem.validation is None:
                raise InputError(
                    f"{part} needs a validation set for {option}: "
                    f"give data.validation, or set methods.{part}.{option}=False"
                )
