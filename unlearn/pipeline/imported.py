"""Models of a run that come from files: the original, and the reference.

`model.weights` names a file with the original of every seed. `reference` says what
models are compared to: `"retrain"`, which is done here; the files of models retrained
elsewhere, one a seed, separated by commas; or `"none"`.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from unlearn import data, models, store
from unlearn.errors import InputError
from unlearn.models.weight_files import SUFFIXES
from unlearn.problem import Model, Variables

if TYPE_CHECKING:
    from ml_collections import ConfigDict

EXPORTS = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)


def has_reference(config: "ConfigDict") -> bool:
    """Says whether there is a model that never saw what is forgotten."""
    return config.reference.strip() != "none"


def reference_files(config: "ConfigDict") -> tuple[str, ...]:
    """Names the files of the reference models; none if they are trained here."""
    names = [name.strip() for name in config.reference.split(",")]
    return () if names in (["retrain"], ["none"]) else tuple(filter(None, names))


def rows_of(config: "ConfigDict", methods: Sequence[str]) -> list[str]:
    """Names the models of a seed: the original, the reference if any, the methods."""
    return ["original", *(["retrain"] if has_reference(config) else []), *methods]


def file_of(config: "ConfigDict", name: str, seed: int) -> str:
    """Returns the file that a model comes from; `""`: it is made here.

    Raises:
      InputError: there are files of references, but none for this seed.
    """
    files = reference_files(config)
    if name == "retrain" and files:
        if seed >= len(files):
            raise InputError(f"reference names no file for seed {seed + 1}: add one")
        return files[seed]
    return config.model.weights if name == "original" else ""


def check_settings(config: "ConfigDict") -> None:
    """Checks the names of files and formats, before the data is there.

    Raises:
      InputError: a file is not there, there is not one a seed, no such format.
    """
    files = reference_files(config)
    if has_reference(config) and not files and config.reference.strip() != "retrain":
        raise InputError("reference is empty: give reference=retrain, none or files")
    hints = {"model.weights": "", "reference": "; it is retrain, none or files"}
    for setting, file in _files(config):
        if not Path(os.path.expanduser(file)).exists():
            raise InputError(f"{setting}: there is no file {file}{hints[setting]}")
    if files and len(files) != config.seeds:
        raise InputError(
            f"reference names {len(files)} file{'s' * (len(files) > 1)} and seeds is "
            f"{config.seeds}: give one file a seed, or seeds={len(files)}"
        )
    if config.export not in ("", *EXPORTS):
        raise InputError(
            f"unknown export {config.export!r}: choose from {', '.join(EXPORTS)}"
        )


def _files(config) -> list[tuple[str, str]]:
    """The setting that names it, and each file."""
    weights = [("model.weights", config.model.weights)] * bool(config.model.weights)
    return [*weights, *(("reference", file) for file in reference_files(config))]


def check_weights(config: "ConfigDict", like: Variables) -> None:
    """Reads every file, so that what does not fit is named before training.

    Raises:
      InputError: see `models.load_weights`; a reference that is the original, or
        another reference: nothing would differ from it.
    """
    seen: dict[str, str] = {}
    for _, file in _files(config):
        leaves = jax.tree.leaves(models.load_weights(file, like))
        content = store.array_hash(*map(np.asarray, leaves))
        if content in seen:
            raise InputError(
                f"reference: {file} holds the same weights as {seen[content]}: each "
                "reference must be a model of its own, retrained without what is "
                "forgotten; give another, or reference=none"
            )
        seen[content] = file


def sources(config: "ConfigDict") -> dict[str, str]:
    """Returns the SHA-256 of a user's file of the net and of all files of weights."""
    found = {file: models.weights_hash(file) for _, file in _files(config)}
    if models.is_path(config.model.name):
        found[config.model.name] = models.source_hash(config.model.name)
    return found


def net_options(config: "ConfigDict") -> dict:
    """Returns what `models.create` is given of the section `model`.

    Raises:
      InputError: a `dtype` for a net from a file, which has its own.
    """
    name, dtype = config.model.name, config.model.dtype
    if not models.is_path(name):
        return {**config.model.get(name, {}), "dtype": dtype}
    if dtype != "float32":
        raise InputError(
            f"model.dtype is for the nets that have names; {name} is a function of "
            "yours: choose the type there"
        )
    return {}


def make_net(config: "ConfigDict", classes: int) -> Model:
    """Makes the model of a run, which answers for mirror images if it is to."""
    net = models.create(config.model.name, classes, **net_options(config))
    return models.mirrored(net) if config.model.test_flip else net


def model_section(config: "ConfigDict") -> dict:
    """Returns what the section `model` says of the net: what originals depend on.

    With the SHA-256 of the files that it names.
    """
    section = config.model.to_dict()
    own = "name", "dtype", config.model.name
    kept = {key: section[key] for key in own if key in section}
    if config.model.test_flip:  # else as in folders from before it was there
        kept["test_flip"] = True
    if not (config.model.weights or models.is_path(config.model.name)):
        return kept
    hashes = sources(config)
    named = [name for name in (config.model.weights, config.model.name) if name]
    hashes = {name: hashes[name] for name in named if name in hashes}
    return kept | {"weights": config.model.weights, "sha256": hashes}


def load(config: "ConfigDict", name: str, seed: int, like: Variables) -> Variables:
    """Reads a model of a run from its file."""
    return models.load_weights(file_of(config, name, seed), like)


INFO = {"seconds": math.nan, "compile_seconds": math.nan, "imported": True}
"""What is known of how an imported model was made."""


def notes(config: "ConfigDict") -> list[str]:
    """Says in lines what is imported, and what follows from it."""
    lines = []
    if config.model.weights:
        seeds = f" of all {config.seeds} seeds" if config.seeds > 1 else ""
        lines.append(
            f"The original{seeds} is {config.model.weights}, not trained here: its "
            "seconds are not known"
            + (", and its interval is that of one model" if seeds else "")
        )
    if reference_files(config):
        lines.append(
            "The reference is imported: that these models never saw what is forgotten "
            "was not checked"
        )
    return lines


def input_notes(config: "ConfigDict", dataset: data.Dataset) -> list[str]:
    """Says in a line what images an imported model is given, which it cannot say."""
    if not config.model.weights or not len(dataset.mean):
        return []
    mean, std = (
        ", ".join(f"{value:.3g}" for value in dict.fromkeys(values.tolist()))
        for values in (dataset.mean, dataset.std)
    )
    return [
        f"The imported model is given images standardised by mean {mean}, std {std}: "
        "if it was trained on others, set data.mean and data.std"
    ]


def require_reference(
    config: "ConfigDict", what: str, *, trained: bool = False
) -> None:
    """Refuses what cannot be done without a reference.

    Args:
      what: that needs it, such as `tuning`.
      trained: whether it must be trained here.

    Raises:
      InputError: there is none, or it is imported.
    """
    if not has_reference(config):
        raise InputError(
            f"{what} compares with retrained models: set reference=retrain"
        )
    if trained and reference_files(config):
        raise InputError(
            f"{what} retrains for more than one request: set reference=retrain"
        )


def require_trained(config: "ConfigDict", what: str) -> None:
    """Refuses imported models where originals and references are trained anew.

    Raises:
      InputError: a model is imported, or there is no reference.
    """
    require_reference(config, what, trained=True)
    if config.model.weights:
        raise InputError(
            f"{what} trains originals of its own: leave model.weights empty"
        )
