"""What ledger and report say of an answer."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

import unlearn
from unlearn import methods, store, training_time
from unlearn.problem import Problem
from unlearn.requests import states, wording
from unlearn.requests.calls import Call
from unlearn.requests.deployment import Deployment, version_of
from unlearn.requests.matching import Loaded
from unlearn.requests.resolve import SPLITS, TRAIN, places, salted_hash, spelled
from unlearn.requests.strategies import (
    Strategy,
    early,
    early_epochs,
    guarantee_of,
    model_of,
)


class Job(NamedTuple):
    """A request that is being answered, or several at once."""

    deployment: Deployment
    lines: list[dict]  # of the ledger, before
    requests: list[dict]
    taken: list[np.ndarray]  # by each request, indices into the examples
    version: int  # that the answer makes; the one before if no training example goes
    strategy: Strategy
    loaded: Loaded
    problem: Problem
    rows: np.ndarray  # of the problem that are to be forgotten

    @property
    def before(self) -> int:
        return version_of(self.lines)

    @property
    def all_taken(self) -> np.ndarray:
        return np.unique(np.concatenate(self.taken))


def hashes_of(job: Job) -> dict:
    """Returns the hashes of state and weights before and after."""
    last, deployment = job.lines[-1], job.deployment
    state = states.hash_of(deployment.state(job.version))
    file = store.file_hash(deployment.weights(job.version))
    return {
        "state": {"before": last["state"]["after"], "after": state},
        "weights": {"before": last["weights"]["after"], "after": file},
    }


def entry_of(
    job: Job, number: int, request: dict, told: dict, code: dict, completed: str
) -> dict:
    """Returns the ledger's entry of a request, less the hash of its files."""
    deployment, info = job.deployment, told["info"]
    ids = sorted(one for ids in request["erased"].values() for one in ids)
    return {
        "kind": "request",
        "number": number,
        "version": job.version,
        "version_before": job.before,
        "received": request["received"],
        "completed": completed,
        "reason": request["reason"],
        "reference": request["reference"],
        "erased": request["erased"],
        "ids_hash": salted_hash(deployment.salt, ids),
        "method": deployment.method,
        "constants": deployment.settings["methods"],
        "seed": {"secret": deployment.seed, "counter": job.version},
        "retrained": retrained_of(job, info),
        **early_of(job, job.taken[_place(job, number)]),
        "budget": info.get("spent"),
        "package": unlearn.__version__,
        "revision": code["revision"],
        **hashes_of(job),
    }


def retrained_of(job: Job, info: dict) -> dict:
    """Returns what was trained again: for SISA from which slice of which shard on.

    For a method that rewinds, from the weights of which epochs.
    """
    names = "shards", "slices", "retrained_examples", "full_examples", "retrained"
    names = *names, "subtracted", "stored"
    found = {name: info[name] for name in names if name in info}
    constants = job.deployment.settings["methods"]
    if len(job.rows) and (parts := early(job.deployment.method)):
        found["rewound_to_epochs"] = [constants[part]["epoch"] for part in parts]
    if job.deployment.method == "sisa" and len(job.rows):
        settings = constants["sisa"]
        found["from_slice"] = touched(job.deployment, job.rows, settings)
    return found


def early_of(job: Job, taken: np.ndarray) -> dict[str, list[int]]:
    """Says which kept weights were trained on what a request erases; {} if none were.

    Of a method that rewinds: the epochs of the first training, from which the next
    request starts again. They stay, whatever is erased; lines from before have no such
    field.
    """
    examples, method = job.deployment.examples, job.deployment.method
    if not early(method) or TRAIN not in examples.split[taken]:
        return {}
    epochs = early_epochs(method, job.deployment.settings["methods"])
    kept = [epoch for epoch in epochs if epoch]  # 0: where it started, of no example
    return {"early_weights_trained_on_the_erased": kept}


def touched(deployment: Deployment, rows: np.ndarray, constants: dict) -> dict:
    """Returns the first slice that a request touches, by shard: known without a state.

    Args:
      rows: among the training examples as deployed.
      constants: of `sisa`.
    """
    sisa, size = training_time.sisa, len(deployment.examples.of(TRAIN))
    key_bits = training_time.common.key_bits(deployment.key(0))
    parts = sisa.assign(key_bits, size, constants["shards"], constants["slices"])
    found: dict[str, int] = {}
    for shard, part in zip(*(x[rows].tolist() for x in parts), strict=True):
        found[str(shard)] = min(part, found.get(str(shard), part))
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def facts_of(
    job: Job,
    entry: dict,
    taken: np.ndarray,
    told: Mapping,
    measured: Mapping,
    code: Mapping,
    call: Call,
) -> dict:
    """Returns what the report says: all of `report.json`."""
    deployment, settings = job.deployment, job.deployment.settings
    kind, examples = guarantee_of(deployment), deployment.examples
    constants = {
        part: values or settings["train"]
        for part, values in settings["methods"].items()
    }
    stays = job.loaded.present.copy()
    stays[job.all_taken] = False
    left = _by_split(examples.split[stays])
    trained = job.version != job.before and TRAIN in examples.split[taken]
    touched_shards = entry["retrained"].get("from_slice", {})
    shard = {"shard": int(next(iter(touched_shards)))} if touched_shards else {}
    folder = str(deployment.folder)
    return {
        "entry": entry,
        "previous": job.lines[-1]["hash"],
        "answered_together": len(job.requests),
        "deployment": {
            "name": deployment.folder.resolve().name,
            "created": settings["created"],
            "data": settings["data"]["name"],
            "model": model_of(settings)["name"],
            "imported": bool(settings["model"].get("weights")),
        },
        "erased": _by_split(examples.split[taken]),
        "left": left,
        "kept": kept_of_groups(job, entry, stays),
        "unknown": job.requests[_place(job, entry["number"])]["unknown"],
        "gone": job.requests[_place(job, entry["number"])]["gone"],
        "paper": _paper(deployment.method),
        "kind": kind,
        "constants": constants,
        "work": wording.work(
            deployment.method, trained, entry, left["train"], settings
        ),
        "guarantee": wording.guarantee(
            deployment.method,
            kind,
            told["info"],
            deployment.certificate,
            changed_code(job.lines[0], code),
            settings["model"].get("trained_on", ""),
        )
        if trained
        else wording.NOTHING_TRAINED,
        "seconds": told["seconds"],
        "measured": dict(measured),
        "not_shown": wording.not_shown(measured, kind),
        "depends": wording.still_depends(
            kind,
            trained,
            settings["data"]["name"],
            "" if deployment.method == "certified" else settings["model"]["weights"],
            bool(early(deployment.method)),
        ),
        "code": dict(code),
        "commands": {
            "verify": call.spell("verify", folder, **shard),
            "purge": call.spell("purge", folder),
        },
    }


def changed_code(first: Mapping, code: Mapping) -> str:
    """Says which versions are not those of the deployment; "" if all are."""
    changed = store.differences(first["code"], dict(code))
    return "; ".join(f"{key}: {old} then, {new} now" for key, old, new in changed)


def kept_of_groups(job: Job, entry: Mapping, stays: np.ndarray) -> int:
    """Counts examples that stay although they are of the group of one named."""
    examples, place = job.deployment.examples, places(job.deployment.examples.ids)
    named = [place[spelled(one)] for one in entry["erased"]["named"]]
    groups = np.setdiff1d(examples.group[named], [-1])
    return int(np.sum(np.isin(examples.group, groups) & stays))


def _place(job: Job, number: int) -> int:
    return number - job.lines[-1]["number"] - 1


def _by_split(split: np.ndarray) -> dict[str, int]:
    return {name: int(np.sum(split == s)) for s, name in enumerate(SPLITS)}


def _paper(method: str) -> str:
    known = training_time.METHODS | methods.METHODS
    papers = (known[part].paper for part in method.split("+"))
    return ", ".join(dict.fromkeys(papers))
