"""A run's folder, data and problem: claimed, checked and written down."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from unlearn import data, devices, methods, provenance, spread, store
from unlearn import problem as problems
from unlearn.data import augment
from unlearn.data.split_notes import copy_lines
from unlearn.data.splits import (
    RESIDENT,
    DataConfig,
    ForgetConfig,
    Sets,
    Split,
    copies,
    split,
)
from unlearn.errors import InputError, counted
from unlearn.inputs import on_device
from unlearn.pipeline import imported
from unlearn.pipeline.checks import (
    as_kept,
    check,
    check_images,
    check_sizes,
    parts_of,
)
from unlearn.problem import Model, Problem, Variables
from unlearn.report.progress import Progress
from unlearn.report.text import printable
from unlearn.stored import Stored, numbered, together

if TYPE_CHECKING:
    from ml_collections import ConfigDict

T = TypeVar("T")
MAPPED = 2**28  # bytes of an array of logits from which on it stays in its file
FORMAT = 4  # of a run folder; runs of another one are refused
SETTINGS_APART = "tune", "class_sweep", "export"  # no result depends on them
ON_THE_PAGE = "reason", "release", "document"  # of the section audit, nor on these


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What the stages of one run share; its arrays live as long as it does."""

    folder: Path
    config: "ConfigDict"
    problem: Problem
    test_examples: Any  # a tree of arrays [T, ...]
    sets: Sets
    fingerprint: str  # of config but methods, data, forget set: of what a result is
    origin: str  # of what the original models depend on: data and training
    log: store.Log
    progress: Progress
    lock: store.Lock  # held until the run is dropped
    cache: dict = dataclasses.field(default_factory=dict)

    @property
    def alone(self) -> Problem:
        """The problem on one device: for programs of many models, a device each."""
        if self.problem.mesh is None:
            return self.problem
        make = functools.partial(problems.on_devices, self.problem, None)
        return self.remember("alone", None, make)

    def checkpoints(self, model: str, seed: int) -> Path:
        return self.folder / "checkpoints" / model / str(seed)

    def evaluation_path(self, model: str, seed: int) -> Path:
        return self.folder / "evaluations" / model / f"{seed}.npz"

    def evaluation(self, model: str, seed: int) -> dict[str, np.ndarray]:
        """Reads the logits of a model: `train_logits`, ...; large ones where used."""
        return store.load_arrays(self.evaluation_path(model, seed), mapped=MAPPED)

    def identity(self, model: str, seed: int) -> dict:
        """Returns what a kept model is of, so that no other is taken for it."""
        run = self.origin if model == "original" else self.fingerprint
        return {"run": run, "model": model, "seed": seed}

    def remember(self, name: str, key: Any, make: Callable[[], T]) -> T:
        """Returns `make()`, kept until `name` is wanted with another key."""
        kept = self.cache.get(name)
        if kept is None or kept[0] != key:
            self.cache.pop(name, None)
            kept = self.cache[name] = key, make()
        return kept[1]


class Source(NamedTuple):
    """A data set as it was loaded, and its content: for runs that share them."""

    dataset: data.Dataset
    sha256: str
    copies: tuple[np.ndarray, np.ndarray]  # see `relations.copies`


def load(config: "ConfigDict", data_dir: str | None = None) -> Source:
    """Loads and hashes the data set of a config."""
    dataset = data.load(
        config.data.name,
        data_dir=data_dir,
        image_size=config.data.image_size or None,
        mean=config.data.mean,
        std=config.data.std,
        resident=RESIDENT[config.data.resident],
    )
    same = copies(dataset.train_images, dataset.test_images)
    return Source(dataset, data.fingerprint(dataset), same)


def split_of(source: Source, config: "ConfigDict") -> Split:
    """Draws the sets of a run.

    Raises:
      InputError: see `splits.split`.
    """
    dataset = source.dataset
    return split(
        dataset.train_labels,
        len(dataset.class_names),
        DataConfig(**config.data),
        ForgetConfig(**config.forget),
        dataset.train_groups,
        ids=dataset.train_ids,
        test_ids=dataset.test_ids,
        class_names=dataset.class_names,
        same=source.copies,
        subclasses=dataset.train_subclasses,
        subclass_names=dataset.subclass_names,
    )


def prepare(
    config: "ConfigDict",
    folder: Path | str,
    names: Sequence[str],
    *,
    data_dir: str | None = None,
    progress: Progress | None = None,
    source: Source | None = None,
    join: bool = False,
) -> Run:
    """Loads the data, claims the folder and returns the run; nothing is trained yet.

    Args:
      names: the methods that will be run.
      source: the data if it is loaded already, see `load`.
      join: others may be at work in the folder, see `store.join`.

    Raises:
      InputError: bad input; a folder of another run, or one that another process
        works in.
    """
    check(config, names)
    folder, saved = Path(folder), saved_config(config, names)
    if not join:
        store.check_claim(folder, saved)
    source = source or load(config, data_dir)
    dataset, classes = source.dataset, len(source.dataset.class_names)
    parts = split_of(source, config)
    check_images(dataset.train_images, config)
    model = imported.make_net(config, classes)
    train, test = dataset.train_images, dataset.test_images
    if isinstance(train, Stored) and isinstance(test, Stored):
        train, test = together(train, test)
        dataset = dataset._replace(train_images=train, test_images=test)
    problem = make_problem(dataset, parts, model, config)
    problem = problems.on_devices(problem, mesh_of(config))
    check_sizes(problem, config, names, dataset.test_labels)
    imported.check_weights(config, template(problem))
    lock = store.join(folder, saved) if join else store.claim(folder, saved)
    progress = progress or Progress()
    for line in (*dataset.notes, *parts.notes, *imported.input_notes(config, dataset)):
        progress.say(printable(line))
    manifest = write_manifest(folder, source, parts, problem, progress, join)
    sets = Sets(
        train_labels=np.asarray(problem.labels),
        test_labels=dataset.test_labels,
        forget=parts.forget,
        retain=np.asarray(problem.retain),
        class_names=dataset.class_names,
        forget_classes=parts.classes,
        title=folder.name,
        copies=tuple(copy_lines(parts.copies)),
    )
    return Run(
        folder=folder,
        config=config,
        problem=problem,
        test_examples=on_device(numbered(dataset.test_images)[0]),
        sets=sets,
        fingerprint=hash_of(
            without_methods(saved), manifest["data"], manifest["forget"]
        ),
        origin=hash_of(
            {part: saved[part] for part in ("data", "model", "train")},
            manifest["data"]["sha256"],
            store.array_hash(parts.train),
        ),
        log=store.Log(folder / "log.jsonl"),
        progress=progress,
        lock=lock,
    )


def mesh_of(config: "ConfigDict") -> Mesh | None:
    """Returns the devices that batches are spread over; None: one alone.

    Raises:
      InputError: `batch_devices` are more than there are.
    """
    there, wanted = len(jax.devices()), config.batch_devices
    if not wanted:
        alone = jax.default_backend() == "cpu" and jax.process_count() == 1
        wanted = 1 if alone else there
    if not 0 < wanted <= there:
        raise InputError(
            f"batch_devices is {wanted}, and {counted(there, 'device')} are there: set "
            f"it to 1..{there}, or to 0"
        )
    return spread.make_mesh(wanted) if wanted > 1 else None


def saved_config(config: "ConfigDict", names: Sequence[str]) -> dict:
    """Returns what `config.json` holds: the settings that results depend on.

    `sources` has a hash of the file of each method that is not the package's, and of
    those of the net and of weights.
    """
    saved = config.to_dict() | {"run": names, "format": FORMAT}
    for section in SETTINGS_APART:
        saved.pop(section, None)
    for name in ON_THE_PAGE:
        saved.get("audit", {}).pop(name, None)
    for section, asked in store.ROWS.items():
        if not saved.get("audit", {}).get(section, {}).get(asked):
            saved.get("audit", {}).pop(section, None)
    if not saved.get("audit", {}).get("harder", {}).get("membership"):
        saved.get("audit", {}).get("harder", {}).pop("membership", None)
    del saved["data"]["resident"]
    if not saved["data"]["alternate_flip"]:  # as in folders from before it was there
        del saved["data"]["alternate_flip"]
    saved["model"] = imported.model_section(config)
    parts = sorted(parts_of(names))
    constants = saved["methods"]
    saved["methods"] = {name: as_kept(name, constants[name]) for name in parts}
    saved["sources"] = {
        name: methods.METHODS[name].source_hash()
        for name in parts
        if name in methods.METHODS and methods.METHODS[name].source_hash()
    } | imported.sources(config)
    return saved


def without_methods(saved: dict) -> dict:
    """Returns what a run keeps when it goes on with more methods, see `store.claim`."""
    kept = {k: v for k, v in saved.items() if k not in ("run", "methods")}
    if "audit" in kept:
        kept["audit"] = {k: v for k, v in kept["audit"].items() if k not in store.ROWS}
    sources = saved["sources"].items()
    return kept | {"sources": {k: v for k, v in sources if k not in saved["methods"]}}


def hash_of(*values: Any) -> str:
    """Returns the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def make_problem(
    dataset: data.Dataset, parts: Split, model: Model, config: "ConfigDict"
) -> Problem:
    """Returns the problem of a run, with the validation split if there is one."""
    images, labels = dataset.train_images, dataset.train_labels
    held_out = parts.validation
    return problems.make_problem(
        images[parts.train],
        labels[parts.train],
        parts.forget,
        model,
        num_classes=len(dataset.class_names),
        forget_classes=parts.classes,
        mean=dataset.mean,
        std=dataset.std,
        augment=augment.of_config(config.data),
        validation=(images[held_out], labels[held_out]) if len(held_out) else None,
    )


def template(problem: Problem) -> Variables:
    """Returns the shapes and dtypes of the model's variables."""
    inputs = problem.input_spec.struct()
    return jax.eval_shape(problem.model.init, jax.random.key(0), inputs)


# The manifest

SAME = "revision", "versions", "backend", "device", "devices", "xla_flags"


def write_manifest(
    folder: Path,
    source: Source,
    parts: Split,
    problem: Problem,
    progress: Progress,
    join: bool,
) -> dict:
    """Writes hashes of the data, the sets, and an entry for this start of the run.

    Who joins others adds no entry, unless it is the first. Says in a line where
    versions or devices are not those of the first start.

    Raises:
      InputError: the run was made from other data or of another forget set.
    """
    dataset, sets = (
        source.dataset,
        {
            "forget": parts.train[parts.forget],
            "retain": parts.train[np.asarray(problem.retain)],
            "validation": parts.validation,
        },
    )
    ids = {f"{name}_ids": dataset.train_ids[rows] for name, rows in sets.items()}
    ids["test_ids"] = dataset.test_ids
    record: dict[str, Any] = {
        "data": {
            "name": dataset.name,
            "sha256": source.sha256,
            "train": len(parts.train),
            "validation": len(parts.validation),
            "test": len(dataset.test_labels),
        },
        "forget": {
            "examples": len(parts.forget),
            "classes": list(parts.classes),
            "copies": dict(parts.copies),
            "sha256": store.array_hash(sets["forget"].astype(np.int64)),
        },
    }
    path, start = folder / "manifest.json", describe_start()
    saved = read_manifest(path) if path.exists() else record | {"starts": []}
    for part, what in (("data", "data"), ("forget", "forget set")):
        if saved[part].get("sha256") != record[part]["sha256"]:
            raise InputError(
                f"the {what} is not the one that {folder} was made with: "
                "use another folder"
            )
    check_split(folder / "split.npz", sets | ids)
    if saved["starts"]:
        first = saved["starts"][0]
        changed = [
            f"{key}: {old} then, {new} now"
            for part in SAME
            for key, old, new in store.differences(
                first.get(part), start.get(part), part
            )
        ]
        if changed:
            progress.say(
                "Warning: this run was started with other code, versions or devices, "
                f"so its results may not be those of now ({'; '.join(changed[:3])})"
            )
    manifest = record | {"starts": [*saved["starts"], start]}
    if not (join and path.exists()):
        store.write_json(path, manifest)
    return manifest


def describe_start() -> dict:
    """Returns the time, versions, devices and revision of this process."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    revision = provenance.revision()
    return devices.describe() | {"created": created, "revision": revision}


def read_manifest(path: Path) -> dict:
    """Reads a manifest.

    Raises:
      InputError: it is damaged or was written by another version.
    """
    saved = store.read_json(path)
    parts = {"data": dict, "forget": dict, "starts": list}
    for part, kind in parts.items():
        found = saved.get(part) if isinstance(saved, dict) else None
        whole = kind is list or (isinstance(found, dict) and "sha256" in found)
        if not isinstance(found, kind) or not whole:
            raise InputError(
                f"{path} is damaged or of another version: use another folder, "
                "or delete this one to start over"
            )
    if not all(isinstance(start, dict) for start in saved["starts"]):
        raise InputError(f"{path} is damaged: use another folder, or delete this one")
    return saved


def check_split(path: Path, sets: dict[str, np.ndarray]) -> None:
    """Writes the sets of a run, or checks that those there are the same.

    Raises:
      InputError: the file holds other sets.
    """
    if not path.exists():
        store.save_arrays(path, sets)
        return
    there = store.load_arrays(path)
    if there.keys() != sets.keys() or not all(
        np.array_equal(there[name], values) for name, values in sets.items()
    ):
        raise InputError(
            f"{path} holds other sets than this run has: delete it, and the same "
            "command writes it anew"
        )
