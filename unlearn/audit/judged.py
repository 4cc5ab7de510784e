"""What the studies say of every model, put together: the facts of the page.

    judgement = judge_all(studies)
    facts |= facts_of(judgement, ...)

`games.py` attacks, `utility.py` compares accuracies, `verdict.py` judges.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unlearn import methods, training_time
from unlearn.audit import exposure, games, verdict
from unlearn.audit.controls import ASKED, CONTROLS, MATCHING, PRIVATE, TAUGHT
from unlearn.audit.games import Game, Leak
from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import FEW, Study, models_needed, too_few
from unlearn.audit.utility import Utility, utility
from unlearn.audit.verdict import NOT_CONCLUDED, Finding, Tolerances
from unlearn.metrics.verdict import INCONCLUSIVE, Judged

if TYPE_CHECKING:
    from ml_collections import ConfigDict

KNOWN = {
    "original": ("fail", "the model before unlearning"),
    "retrain": ("pass", "trained anew without the forget set, with fresh seeds"),
    "no_op": ("fail", "a request to which nothing was done"),
    "head_distill": (None, "only the head was trained, to answer like retraining"),
    "constant_margin": (None, "the original's answers, all equally confident"),
    "collapsed": ("fail", "one answer to everything"),
    MATCHING: (None, "the original, trained to answer like retraining"),
    PRIVATE: (None, "trained by DP-SGD with every example; nothing was done to it"),
}
"""Outcomes that are known for certain; the others depend on what there is to see."""


class Measurements(NamedTuple):
    """A study and what was measured of its models, by name."""

    study: Study
    models: dict[str, Measured]


class Judgement(NamedTuple):
    """What was found of every model, and whether that can be relied on."""

    where: Measurements  # where forgetting was judged: shadow or request
    played: dict[str, Game]
    leaks: dict[str, Leak]
    kept: dict[str, Utility]
    allowed: Tolerances
    findings: dict[str, Finding]
    doses: dict[str, tuple[Leak, Judged]]
    conclusive: bool
    why: str
    refused: str  # why forgetting cannot be judged; empty if it can


class Stress(NamedTuple):
    """What attacks find of mislabelled examples."""

    played: dict[str, Game]
    leaks: dict[str, Leak]
    verdicts: dict[str, tuple[Judged, list[str]]]


def reference(name: str) -> str:
    """Names the retrained models that a model is compared with.

    Others than itself, and than those it was taught by.
    """
    return "oracle" if name in ("retrain", *TAUGHT) else "retrain"


def judge_all(
    shadow: Measurements | None,
    request: Measurements,
    class_names: Sequence[str],
    config: "ConfigDict",
) -> Judgement:
    """Judges every model of the request study; `config` is the section `audit`.

    Args:
      shadow: None where whole classes are requested: then their examples are attacked
        in the request study.
      request: with `original`, `retrain` and `oracle` among its models.
    """
    names = [name for name in request.models if name != "oracle"]
    where = shadow or request
    asked, refused = few(where.study)
    played = {
        name: play_one(where, name, asked) for name in names if name in where.models
    }
    leaks = {name: games.play(game) for name, game in played.items()}
    allowed = verdict.tolerances(leaks["original"], config)
    kept = {
        name: utility(
            request.study,
            request.models[name],
            request.models[reference(name)],
            class_names,
        )
        for name in names
    }
    findings = {
        name: verdict.decide(
            leaks.get(name),
            kept[name],
            allowed,
            models=(
                len(where.models.get(name, request.models[name]).margins),
                len(request.models[name].margins),
            ),
            refused=refused,
        )
        for name in names
    }
    doses = {}
    for name, leak in games.doses(
        played["retrain"], played["original"], config.seed
    ).items():
        judged, _ = verdict.judge_leak(leak, allowed, where.study.models)
        doses[name] = leak, judged
    conclusive, why = verdict.can_judge(
        findings,
        {name: judged for name, (_, judged) in doses.items()},
        leaks["original"].leak.value,
    )
    parts = where, played, leaks, kept, allowed, findings, doses, conclusive, why
    return Judgement(*parts, refused)


def few(study: Study) -> tuple[np.ndarray | None, str]:
    """Returns bool[T], the examples that are attacked, and why they cannot be judged.

    Of too few requested examples nothing can be said: others are attacked in their
    place, and the second is not empty. None: all of a class request.
    """
    limit = "examples" if study.of_classes else "targets"
    if study.of_classes:
        count = len(study.targets)
        chosen = None
    else:
        states, requested = study.roles()
        count = int(requested.sum())
        forgotten = (states == games.FORGET).any(axis=0)
        chosen = forgotten & requested if count >= FEW else forgotten
    if count >= FEW:
        return chosen, ""
    every = len(study.run.problem.forget)
    if count < every:
        return chosen, (
            f"only {count} of the {every} requested examples could be attacked, and of "
            f"fewer than {FEW} an attack cannot be told from chance: nothing is "
            f"concluded about them; raise audit.{limit}"
        )
    if count == 1:
        return chosen, (
            "one example was requested, and an attack on one example cannot be told "
            "from chance: nothing is concluded about it"
        )
    return chosen, (
        f"{count} examples were requested, and of fewer than {FEW} an attack cannot be "
        "told from chance: nothing is concluded about them"
    )


def play_one(where: Measurements, name: str, asked: np.ndarray | None) -> Game:
    """Returns the game of one model in the study where forgetting is judged."""
    study, models = where
    if study.of_classes:
        return games.efficacy(study, models[name], models[reference(name)])
    return games.membership(study, models[name], asked)


def judge_stress(stress: Measurements, config: "ConfigDict") -> Stress:
    """Judges what attacks find of the mislabelled examples."""
    played = {
        name: games.membership(stress.study, m) for name, m in stress.models.items()
    }
    leaks = {name: games.play(game, whole=False) for name, game in played.items()}
    allowed = verdict.tolerances(leaks["original"], config)
    verdicts = {
        name: verdict.judge_leak(leak, allowed, len(played[name].margins))
        for name, leak in leaks.items()
    }
    return Stress(played, leaks, verdicts)


# Facts of the page


def facts_of(
    judgement: Judgement,
    stress: Stress | None,
    config: "ConfigDict",
    by_model: Mapping[str, Mapping],
    ids: np.ndarray,
) -> dict:
    """Returns the facts of the models, doses, tolerances and exposed examples.

    Args:
      config: of the run.
      by_model: rows of the summary, for seconds and speedups.
      ids: of the run's training examples, as the user names them.
    """
    where, allowed = judgement.where.study, judgement.allowed
    asked, _ = few(where)
    targets = where.targets if asked is None else where.targets[asked]
    names = [n for n in judgement.findings if n not in KNOWN]
    return {
        "models": [
            model_facts(name, judgement, stress, config, by_model.get(name, {}))
            for name in ("original", "retrain", *CONTROLS, *ASKED, *names)
            if name in judgement.findings
        ],
        "doses": [
            {
                "name": name,
                "leak": leak.leak._asdict(),
                "found": leak.found._asdict(),
                "whole": leak.whole._asdict(),
                "verdict": judged.verdict,
                "expected": games.expected(name),
            }
            for name, (leak, judged) in judgement.doses.items()
        ],
        "judged": {
            "where": "request" if where.of_classes else "shadow",
            "examples": 0 if judgement.refused else len(targets),
            "requested": len(where.run.problem.forget),
            "tolerance": config.audit.tolerance,
            "tolerances": {key: getattr(allowed, key) for key in Tolerances._fields},
            "models": where.models,
            "stress_models": config.audit.stress_models if stress else 0,
            "enough": not judgement.refused,
            "note": note(judgement, config),
        },
        "exposed": []
        if judgement.refused
        else exposed_facts(judgement, targets, ids, config.audit.release),
        "rates": [
            {"model": name, "at_most": rate(leak.found.high), "at": games.RATE}
            for name, leak in judgement.leaks.items()
        ],
        "conclusive": judgement.conclusive,
        "why": judgement.why,
    }


def model_facts(
    name: str,
    judgement: Judgement,
    stress: Stress | None,
    config: "ConfigDict",
    row: Mapping,
) -> dict:
    """Returns the facts of one model."""
    leak, kept = judgement.leaks.get(name), judgement.kept[name]
    finding, known = judgement.findings[name], KNOWN.get(name)
    info = methods.METHODS.get(name) or training_time.METHODS.get(name)
    is_control = name in (*CONTROLS, *ASKED)
    kind = "method" if not known else "control" if is_control else "reference"
    forgetting, together = finding.forgetting, finding.judged
    if kind == "method" and not (judgement.conclusive or judgement.refused):
        forgetting = together = Judged(NOT_CONCLUDED, None)
    worst = kept.worst_class
    blank = games.NOWHERE
    return {
        "name": name,
        "kind": kind,
        "what": known[1] if known else "",
        "expected": None if judgement.refused or not known else known[0],
        "paper": info.paper if info and kind == "method" else None,
        "differs": (info.differs or "yes") if info and kind == "method" else None,
        "constants": dict(config.methods[name]) if kind == "method" else {},
        "seconds": row.get("seconds", math.nan),
        "speedup": None if kind == "control" else row.get("speedup", math.nan),
        "leak": (leak.leak if leak else blank)._asdict(),
        "attack": leak.attack if leak else "",
        "found": (leak.found if leak else blank)._asdict(),
        "whole": (leak.whole if leak else blank)._asdict(),
        "accuracy": kept.accuracy._asdict(),
        "lost": kept.lost._asdict(),
        "worst_class": {"name": worst[0]} | worst[1]._asdict() if worst else None,
        "forgetting": forgetting.verdict,
        "utility": finding.utility.verdict,
        "verdict": together.verdict,
        "models_needed": finding.judged.models_needed,
        "capped": finding.judged.capped,
        "because": finding.because,
        "stress": stress_facts(name, stress),
    }


def stress_facts(name: str, stress: Stress | None) -> dict | None:
    """Returns what attacks find of a model's mislabelled examples."""
    if stress is None or name not in stress.leaks:
        return None
    leak, (judged, because) = stress.leaks[name], stress.verdicts[name]
    return {
        "leak": leak.leak._asdict(),
        "found": leak.found._asdict(),
        "verdict": judged.verdict,
        "because": because,
    }


def exposed_facts(
    judgement: Judgement, targets: np.ndarray, ids: np.ndarray, release: str = ""
) -> list[dict]:
    """Lists the most exposed examples, by the names the user gave.

    Args:
      release: METHOD/SEED: what is exposed after this method; empty, or not among those
        judged: after all methods.
    """
    played = {n: g for n, g in judgement.played.items() if n not in KNOWN}
    name, _, _ = release.rpartition("/")
    if name in judgement.played:
        played = {name: judgement.played[name]}
    return [
        {
            "id": str(ids[targets[one.position]]),
            "model": one.model,
            "advantage": one.advantage._asdict(),
        }
        for one in exposure.most_exposed(played)
    ]


def rate(share: float) -> str:
    """Writes a share as one in so many, above a third as so many in 100; rounds up."""
    if math.isnan(share):
        return "unknown"
    if share <= 0:
        return "none"
    if share > 1 / 3:
        return f"{min(100, math.ceil(round(100 * share, 9)))} in 100"
    return f"one in {math.floor(round(1 / share, 9))}"


def note(judgement: Judgement, config: "ConfigDict") -> str:
    """Says what is judged and what a reader has to know of it."""
    if judgement.refused:
        return judgement.refused[0].upper() + judgement.refused[1:] + "."
    trained = [n for n in judgement.leaks if n in training_time.METHODS]
    text = (
        f"Up to {100 * config.audit.tolerance:g} % of what the original leaks on these "
        f"examples counts as none, and so do an AUC of {0.5 + verdict.LEAST_LEAK:g} of "
        f"single examples and {100 * (games.RATE + verdict.LEAST_FOUND):g} % found; no "
        f"more than an AUC of {0.5 + verdict.MOST_LEAK:g}, "
        f"{100 * (games.RATE + verdict.MOST_FOUND):g} % found and an AUC of "
        f"{0.5 + verdict.MOST_WHOLE:g} of a whole set ever does."
    )
    if trained:
        text += (
            f" Of {', '.join(trained)}, which train a model of their own, there are "
            f"{config.audit.trained_models} models, so their intervals are wider."
        )
        asked = few(judgement.where.study)[0]
        examples = 0 if asked is None else int(asked.sum())
        found = {judgement.findings[name].forgetting.verdict for name in trained}
        short = examples and too_few(config.audit.trained_models, examples)
        if short and INCONCLUSIVE in found:
            needed = models_needed(examples)
            text += (
                " These are too few models to pass, and one that forgot perfectly is "
                f"inconclusive: set audit.trained_models to {needed}, and the numbers "
                "of models of all studies to no less."
            )
    return text
