"""The answer to a request, or to a batch of them: from what was begun to the ledger.

`begun.json` is written first and has all that was asked and resolved. From then on any
command finishes it, to the same bits: randomness depends on the deployment's secret and
the request's number alone, and each file appears whole or not at all. The lines in the
ledger come last.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from unlearn import store
from unlearn.errors import InputError
from unlearn.report import request_page
from unlearn.requests import (
    ledger,
    matching,
    measuring,
    states,
    strategies,
    weights,
)
from unlearn.requests.calls import Call
from unlearn.requests.deployment import (
    BEGUN,
    Deployment,
    describe_code,
    now,
    read_record,
    version_of,
)
from unlearn.requests.facts import Job, entry_of, facts_of
from unlearn.requests.resolve import TRAIN, Resolved, places, spelled

MINIMUM = 2  # training examples that must stay


def record(deployment: Deployment, resolved: Resolved, asked: dict) -> dict:
    """Returns what `begun.json` has of a request."""
    ids = deployment.examples.ids
    erased = {
        name: [str(one) for one in ids[getattr(resolved, name)].tolist()]
        for name in ("named", "groups", "copies")
    }
    return asked | {
        "erased": erased,
        "unknown": list(resolved.unknown),
        "gone": resolved.gone,
    }


def check_left(deployment: Deployment, erased: set[int], taken: np.ndarray) -> None:
    """Refuses a request that leaves too few examples to train on."""
    gone = np.array(sorted(erased | set(taken.tolist())), np.int64)
    train = deployment.examples.of(TRAIN)
    left = len(np.setdiff1d(train, gone))
    if left < MINIMUM:
        raise InputError(
            f"the request would leave {left} training examples, fewer than {MINIMUM}: "
            "take the model out of use instead"
        )


def begin(deployment: Deployment, requests: list[dict], queued: list[str]) -> dict:
    """Writes down what is to be answered; from here on it will be.

    `queued` names the files of the queue that it answers.
    """
    number = deployment.lines()[-1]["number"] + 1
    begun = {"kind": "request", "number": number, "requests": requests}
    begun["queued"] = queued
    deployment.discard(number, len(requests))
    store.write_json(deployment.folder / BEGUN, begun)
    return begun


def finish(
    deployment: Deployment,
    begun: dict,
    call: Call,
) -> list[dict]:
    """Answers what was begun; returns its lines of the ledger."""
    lines = deployment.lines()
    if lines[-1]["number"] < begun["number"]:
        job = prepare(deployment, lines, begun, call)
        for note in job.loaded.notes:
            call.say(note)
        state, told = make_state(job, begun)
        entries = report(job, begun, state, told, call)
        ledger.append(deployment.folder, entries)
    for file in begun["queued"]:
        (deployment.folder / "queue" / file).unlink(missing_ok=True)
    store.delete(deployment.folder / "training")
    (deployment.folder / BEGUN).unlink()
    answered = {begun["number"] + i for i in range(len(begun["requests"]))}
    return [line for line in deployment.lines() if line["number"] in answered]


def prepare(
    deployment: Deployment,
    lines: list[dict],
    begun: dict,
    call: Call,
) -> Job:
    """Loads the data and makes the problem of a request.

    Raises:
      InputError: the data are not those that were deployed, or the method must see
        examples of the request that are gone.
    """
    examples, settings = deployment.examples, deployment.settings
    place = places(examples.ids)
    taken = [
        np.array(
            sorted(place[spelled(one)] for ids in r["erased"].values() for one in ids)
        )
        for r in begun["requests"]
    ]
    erased = deployment.erased(lines)
    both = np.unique(np.concatenate(taken))
    loaded = matching.load(deployment, erased, call, asked=both)
    last = begun["number"] + len(begun["requests"]) - 1
    trained = np.intersect1d(both, examples.of(TRAIN))
    strategy = strategies.make(
        settings, deployment.training(last), deployment.slices, call.progress
    )
    rows = examples.of(TRAIN)
    if not strategy.keeps_rows:
        rows = np.setdiff1d(rows, np.array(list(erased), np.int64))
    forget = np.searchsorted(rows, trained)
    absent = trained[~loaded.present[trained]]
    if len(absent) and "forget" in strategy.needs:
        raise InputError(
            f"{examples.ids[absent[0]]} is missing from the data or not as deployed, "
            f"and {deployment.method} must see it once more to forget it: put it back "
            "until the request is answered; if it is lost, train and deploy a model "
            "without it"
        )
    problem = loaded.problem(settings, rows, () if strategy.keeps_rows else forget)
    version = last if len(trained) else version_of(lines)
    sets = deployment, lines, begun["requests"], taken
    return Job(*sets, version, strategy, loaded, problem, forget)


def make_state(job: Job, begun: dict) -> tuple[Any, dict]:
    """Runs the method, or reads what it made before the process was killed.

    Returns the state and what is told of the work: `info`, `seconds`.
    """
    deployment, place = job.deployment, job.deployment.request(job.version)
    if job.version == job.before:
        return states.load(deployment.state(job.version), job.problem), {
            "info": {},
            "seconds": 0.0,
        }
    folder = deployment.state(job.version)
    if folder.exists() and (place / "answer.json").exists():
        told = store.load_record(place / "answer.json")
        return states.load(folder, job.problem), told
    state = states.load(deployment.state(job.before), job.problem, checked=True)
    started = time.perf_counter()
    state, info = job.strategy.forget(
        deployment.key(job.version), state, job.problem, job.rows
    )
    told = {"info": info, "seconds": time.perf_counter() - started}
    store.save_record(place / "answer.json", told)
    states.save(folder, state)
    return state, told


def report(job: Job, begun: dict, state: Any, told: dict, call: Call) -> list[dict]:
    """Writes weights, and a report for each request; returns the ledger's entries."""
    deployment = job.deployment
    before = states.load(deployment.state(job.before), job.problem, checked=True)
    weights.save(deployment.weights(job.version), job.strategy.weights(state))

    def predict(state):
        return lambda rows: job.strategy.predict(state, job.problem, rows)

    entries, code, completed = [], describe_code(), now()
    for place, request in enumerate(job.requests):
        number, taken = begun["number"] + place, job.taken[place]
        folder = deployment.request(number)
        store.write_json(folder / "request.json", request)
        path = folder / "report.json"
        if not path.exists():
            sets = measuring.sets_of(
                deployment.examples, job.loaded, taken, job.all_taken
            )
            answers = measuring.ask(predict(before), predict(state), job.loaded, sets)
            measured = measuring.measure(deployment.examples, sets, answers)
            entry = entry_of(job, number, request, told, code, completed)
            store.write_json(
                path, facts_of(job, entry, taken, told, measured, code, call)
            )
        facts = read_record(path)
        store.write_text(folder / "report.html", request_page.render(facts))
        entries.append(facts["entry"] | {"files": files_of(job, number, folder)})
    return entries


def files_of(job: Job, number: int, folder: Path) -> str:
    """Writes `files.json`, the SHA-256 of all that an answer made; returns its own."""
    deployment = job.deployment
    found = [path for path in sorted(folder.iterdir()) if path.name != "files.json"]
    if number == job.version:
        found += [deployment.weights(number), *states.files(deployment.state(number))]
    hashes = {deployment.path(path): store.file_hash(path) for path in found}
    store.write_json(folder / "files.json", hashes)
    return store.file_hash(folder / "files.json")


def withdraw(deployment: Deployment, begun: dict) -> None:
    """Takes back what was begun and cannot be answered; nothing of it counts."""
    if deployment.lines()[-1]["number"] >= begun["number"]:
        return  # it counts; only what follows failed
    deployment.discard(begun["number"], len(begun.get("requests", [begun])))
    (deployment.folder / BEGUN).unlink(missing_ok=True)
