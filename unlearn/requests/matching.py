"""The user's data, matched to a deployment by id and content.

The data set is loaded anew for each request. Labels and splits are those of the
deployment: a loader that draws a test split may draw another one once files are gone.
Rows of examples that are erased are zeros, whether the user has deleted them or not.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn import data, methods, models
from unlearn import problem as problems
from unlearn.data import augment
from unlearn.data.order import plain
from unlearn.data.relations import joined
from unlearn.data.splits import hold_out
from unlearn.errors import InputError
from unlearn.problem import Model, Problem
from unlearn.requests.calls import Call
from unlearn.requests.deployment import Deployment
from unlearn.requests.resolve import TEST, TRAIN, VALIDATION, Examples, places

if TYPE_CHECKING:
    from unlearn.data import Dataset


class Loaded(NamedTuple):
    """The data of a deployment as they are now."""

    rows: np.ndarray  # uint8[M, H, W, C], like `Examples`; zeros where not present
    labels: np.ndarray  # int32[M]; 0 where erased
    held_out: np.ndarray  # int64[V]: for validation, present and not asked for now
    present: np.ndarray  # bool[M]: not erased, and there
    still_there: tuple[
        str, ...
    ]  # ids of erased content that the user's data still have
    model: Model
    mean: np.ndarray
    std: np.ndarray
    notes: tuple[str, ...]

    def problem(
        self, settings: dict, rows: np.ndarray, forget: ArrayLike = ()
    ) -> Problem:
        """Returns the problem of some rows; `forget` are positions among them."""
        held_out = self.held_out
        return problems.make_problem(
            self.rows[rows],
            self.labels[rows],
            forget,
            self.model,
            num_classes=len(settings["class_names"]),
            mean=self.mean,
            std=self.std,
            augment=augment.of_config(settings["data"]),
            validation=(self.rows[held_out], self.labels[held_out])
            if len(held_out)
            else None,
        )


def describe_examples(dataset: "Dataset", validation: float) -> Examples:
    """Describes every example of a data set as it is deployed.

    Args:
      validation: the share of the training split that is held out, in whole groups and
        with all copies.
    """
    count, tests = len(dataset.train_labels), len(dataset.test_labels)
    split = np.full(count + tests, TRAIN, np.int8)
    split[count:] = TEST
    hashes = np.concatenate([data.content_hashes(x) for x in images_of(dataset)])
    group = np.full(count + tests, -1, np.int32)
    if dataset.train_groups is not None:
        group[:count] = dataset.train_groups
    if validation:
        units = joined(count, dataset.train_groups, hashes[:count])
        none = np.zeros(0, np.int64)
        split[hold_out(count, none, validation, units, 0)] = VALIDATION
    ids = ids_of(dataset)
    if len(places(ids)) < len(ids):
        raise InputError(
            f"{dataset.name}: several examples have the same id, so a request could "
            "not say which is meant: give each example an id of its own"
        )
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    return Examples(ids, labels.astype(np.int32), split, group, hashes)


def ids_of(dataset: "Dataset") -> np.ndarray:
    """Returns the ids of both splits; text if any of them is."""
    return np.array([*dataset.train_ids.tolist(), *dataset.test_ids.tolist()])


def named(ids: np.ndarray) -> list[str]:
    return [str(one) for one in ids.tolist()]


def images_of(dataset: "Dataset") -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(dataset.train_images), np.asarray(dataset.test_images)


def group_notes(dataset: "Dataset") -> list[str]:
    """Says that groups are of training examples alone, where that matters."""
    if dataset.train_groups is None or not len(dataset.test_labels):
        return []
    return [
        "groups of test examples are not used: a request for a person must name the "
        "test examples of that person"
    ]


def absolute(name: str) -> str:
    """Returns the name of a data set with its paths absolute."""
    kind, _, rest = name.partition(":")
    if kind not in ("folder", "npz", "table") or not rest.strip():
        return name
    parts = [one.strip() for one in rest.split(",")] if kind == "table" else [rest]
    return f"{kind}:" + ",".join(str(Path(x).expanduser().absolute()) for x in parts)


def load_dataset(
    settings: dict,
    data_dir: str | None,
    name: str = "",
    *,
    known: data.Known | None = None,
) -> "Dataset":
    """Loads the data set that settings name.

    Args:
      name: where it lies now, if elsewhere.
      known: what is deployed of it; see `data.load`.
    """
    section = settings["data"]
    return data.load(
        name or section["name"],
        data_dir=data_dir or settings["data_dir"],
        image_size=section["image_size"] or None,
        mean=section.get("mean", ()),
        std=section.get("std", ()),
        known=known,
    )


def make_model(settings: dict) -> Model:
    """Makes the model that settings name.

    Raises:
      InputError: it cannot be made, or the file that defines it was changed.
    """
    section = settings["model"]
    recorded, name = section["sha256"].get("source"), section["name"]
    if recorded and models.source_hash(name) != recorded:
        raise InputError(
            f"{name.rpartition(':')[0]} is not as it was when the model was deployed: "
            "restore it"
        )
    options = section.get(name, {})
    if not models.is_path(name):
        options = options | {"dtype": section.get("dtype", "float32")}
    model = models.create(name, len(settings["class_names"]), **options)
    return models.mirrored(model) if section.get("test_flip") else model


def load(
    deployment: Deployment,
    erased: Collection[int],
    call: Call | None = None,
    *,
    asked: Collection[int] = (),
    dataset: "Dataset | None" = None,
) -> Loaded:
    """Loads the data and matches them to the deployment.

    Args:
      erased: indices of examples that are gone.
      call: where the data lie.
      asked: indices that are to be erased now: they may be missing or changed.
      dataset: the data, in the place of `call`, if they are loaded already.

    Raises:
      InputError: an example that is not erased is missing, or is not the one that was
        deployed.
    """
    examples, settings = deployment.examples, deployment.settings
    if dataset is None:
        assert call
        known = data.make_known(
            examples.ids, examples.sha256, examples.labels, settings["class_names"]
        )
        dataset = load_dataset(settings, call.data_dir, call.data, known=known)
    parts = images_of(dataset)
    ids = ids_of(dataset)
    hashes = np.concatenate([data.content_hashes(part) for part in parts])
    label_names = _plain(dataset.class_names)[
        np.concatenate([dataset.train_labels, dataset.test_labels])
    ]
    place, deployed = places(ids), places(examples.ids)
    found = np.array([place.get(one, -1) for one in deployed])
    gone = np.zeros(len(found), bool)
    gone[list(erased)] = True
    there = found >= 0
    as_named = _plain(settings["class_names"])[examples.labels]
    same = there & (hashes[found] == examples.sha256) & (label_names[found] == as_named)
    wanted = ~gone
    wanted[list(asked)] &= same[list(asked)]
    most = 2 * (wanted & same).sum() > wanted.sum()  # else the fault is another
    lost = _way_out(deployment.method) if most else ""
    missing = np.flatnonzero(wanted & ~there)
    _refuse(
        examples.ids[missing],
        "missing from the data, or no longer readable as it was deployed",
        f"put back what is not erased{lost}",
    )
    changed = np.flatnonzero(wanted & there & ~same)
    _refuse(
        examples.ids[changed],
        "not as deployed (its content or class is another)",
        f"put back what was there{lost}; rows that ids count by number must stay in "
        "place, blank where erased",
    )
    rows = np.zeros((len(found), *parts[0].shape[1:]), parts[0].dtype)
    present = wanted & there
    held_out = present & (examples.split == VALIDATION)
    held_out[list(asked)] = False
    in_train = present & (found < len(parts[0]))
    rows[in_train] = parts[0][found[in_train]]
    in_test = present & ~in_train
    rows[in_test] = parts[1][found[in_test] - len(parts[0])]
    notes = list(dataset.notes)
    new = np.array([one not in deployed for one in place], bool)
    if new.any():
        notes.append(
            f"{new.sum()} examples that came after the deployment are not used"
        )
    copies = new & np.isin(hashes, examples.sha256[gone])
    return Loaded(
        rows,
        np.where(gone, 0, examples.labels).astype(np.int32),
        np.flatnonzero(held_out),
        present,
        (
            *named(examples.ids[gone & there & (hashes[found] == examples.sha256)]),
            *(f"{one} (a copy)" for one in named(ids[copies])),
        ),
        make_model(settings),
        dataset.mean,
        dataset.std,
        tuple(notes),
    )


def _plain(names: Iterable[str]) -> np.ndarray:
    return np.array([plain(name) for name in names])


def _way_out(method: str) -> str:
    """Says what is left to do where an example is lost."""
    parts = [methods.METHODS.get(part) for part in method.split("+")]
    if any(part and "forget" in part.needs for part in parts):
        return (
            f", for {method} must see what it forgets; if it is lost, train and deploy "
            "a model without it"
        )
    return ", or erase it by a request"


def _refuse(ids: np.ndarray, what: str, remedy: str) -> None:
    if len(ids):
        shown = ", ".join(str(one) for one in ids[:3].tolist())
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        raise InputError(f"{shown}{more}: {what}: {remedy}")
