"""Exporting: the weights in use, in a file for others."""

import contextlib
import json
from pathlib import Path

from unlearn import store
from unlearn.errors import InputError
from unlearn.models.weights import check_format
from unlearn.requests import ledger, matching, states, strategies, weights
from unlearn.requests.calls import Call
from unlearn.requests.deployment import BEGUN, Deployment, now, unchanged, version_of
from unlearn.requests.resolve import TRAIN


def check_place(to: Path, folder: Path) -> None:
    """Refuses a place in the deployment's folder, a file that is there, odd suffixes.

    Raises:
      InputError: see above.
    """
    check_format(to)
    inside = folder.resolve()
    if to.resolve().is_relative_to(inside):
        raise InputError(f"{to} is in the deployment: choose a place outside {inside}")
    for path in (to, card_of(to)):
        if path.exists():
            raise InputError(f"{path} is there already: choose another name")


def card_of(to: Path) -> Path:
    """Names the file beside an export that says what it is of."""
    return to.with_suffix(".json")


def begin(found: Deployment, to: Path) -> dict:
    """Writes down what is given away, before it is."""
    number = found.lines()[-1]["number"] + 1
    found.discard(number)
    begun = {"kind": "export", "number": number, "to": str(to)}
    store.write_json(found.folder / BEGUN, begun)
    return begun


def finish(found: Deployment, begun: dict, call: Call) -> dict:
    """Writes what was begun to be exported; returns the line of the ledger."""
    lines, to = found.lines(), Path(begun["to"])
    if lines[-1]["number"] < begun["number"]:
        made = [path for path in (to, card_of(to)) if not path.exists()]
        try:
            card = card_for(found, lines)
            store.write_text(card_of(to), json.dumps(card, indent=1) + "\n")
            if to in made:
                write(found, lines, to, call)
            entry = {
                "kind": "export",
                "number": begun["number"],
                "completed": now(),
                "to": begun["to"],
                **unchanged(lines),
            }
            ledger.append(found.folder, [entry])
        except Exception:
            if found.lines()[-1]["number"] < begun["number"]:
                take_back(made)
            raise
    (found.folder / BEGUN).unlink()
    line = found.lines()[-1]
    call.say(f"version {line['version']} is in {to}")
    return line


def take_back(files: list[Path]) -> None:
    """Deletes what an export wrote that no line of the ledger records."""
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write(found: Deployment, lines: list[dict], to: Path, call: Call) -> None:
    """Writes the weights in use to a file."""
    loaded = matching.load(found, found.erased(lines), call)
    strategy = strategies.make(
        found.settings, found.training(0), found.slices, call.progress
    )
    problem = loaded.problem(found.settings, found.examples.of(TRAIN))
    state = states.load(found.state(version_of(lines)), problem)
    weights.save(to, strategy.weights(state))


def card_for(found: Deployment, lines: list[dict]) -> dict:
    """Says what exported weights are of."""
    settings, last = found.settings, lines[-1]
    card = {
        "method": found.method,
        "version": version_of(lines),
        "model": strategies.model_of(settings),
        "class_names": settings["class_names"],
        "weights": last["weights"]["after"],
        "ledger": last["hash"],
    }
    if found.method == "sisa":
        card["vote"] = settings["methods"]["sisa"]["vote"]
    return card
