"""What the page of an audit says of the request, the run, the attacker; its verdict."""

import hashlib
import hmac
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from unlearn import provenance, store, training_time
from unlearn.audit.config import DocumentConfig, flat, named_release
from unlearn.audit.left_behind import left_behind
from unlearn.data.lookup import class_numbers
from unlearn.errors import InputError
from unlearn.pipeline import Result, Run
from unlearn.report import schema
from unlearn.report.model_order import VERDICTS, marked

SALT = "salt.json"
MOST_NAMED = 6  # methods in a sentence

THREAT = (
    "A black box: the attacker sends one query, the example itself, unchanged, and "
    "sees how confident the model is of every class. They know the true label, and "
    "have neither weights nor gradients.",
    "The attacker knows everything else: all other training data, the training, the "
    "method and its constants, and trains models of their own with that. Few outsiders "
    "know so much: a leak found here may be out of their reach.",
)
QUESTIONS = {  # by the study in which the requested examples are judged
    "shadow": "They want to know of each requested example whether the model has "
    "forgotten it or never saw it. Several attacks are run; the strongest one counts.",
    "request": "They want to know from the answer to each requested example whether "
    "its class was unlearned or the model was trained without it. Several attacks are "
    "run; the strongest one counts.",
}
STRONGER = (
    "Attackers who also have the model from before the request, or send many queries "
    "near an example, know more. They are not judged."
)
NOT_GUARANTEED = (
    "It is not a certificate: other attacks may succeed where these fail.",
    "Only what the models answer is judged. Weights may still hold traces.",
    "The verdict is about a method with these constants on this data, over many "
    "models. One checkpoint may be luckier or unluckier, the released one too.",
    "Forgetting can make the examples that stay easier to attack. The annex measures "
    "it; the verdict does not weigh it.",
    "Copies of the data, backups, and models derived from the original are untouched.",
    "Whether this answers a legal duty of erasure is for a lawyer to say.",
)
TERMS = {
    "forget set": "the training examples that are to go",
    "retain set": "the training examples that stay",
    "retrain": "a model trained anew without the forget set: the reference",
    "shadow model": "a model trained like the audited one, to calibrate an attack",
    "AUC": "how often an attack ranks a forgotten example above one never seen (of "
    "whole classes, an answer after unlearning above one of a retrained model); 0.5 "
    "is guessing, 1 is certainty",
    "false alarms": "the share of never-seen examples that an attack calls forgotten",
    "TPR at 1 % FPR": "the share of forgotten examples found when at most 1 % of "
    "never-seen examples are called forgotten",
    "population attack": "an attack with one threshold for all examples. It is weaker "
    "than those with one for each, not blind",
    "U-LiRA, LiRA offline, RMIA": "attacks with a threshold of its own for each "
    "example, learnt from shadow models",
    "margin": "how much the score of the true class exceeds all others, in logits",
    "planted examples": "training examples given a wrong label on purpose: only a "
    "model that saw them answers with it, so they show what is remembered",
    "KLoM": "how far the distribution of margins over many models is from that of "
    "retrained models",
    "floor": "what two groups of retrained models differ by: nothing below it is seen",
    "tolerance": "how much worse than perfect counts as equal; stated beforehand",
}


# The conclusion


def conclude(facts: Mapping, diverged: Sequence[str] = (), wanted: str = "") -> str:
    """Returns the conclusion about the request in plain sentences.

    Args:
      facts: `models`, `judged`, `conclusive`, `why` and `released` of the page.
      diverged: methods left out of them.
      wanted: METHOD/SEED of the checkpoint that was to be released.
    """
    models, judged = facts["models"], facts["judged"]
    count, release = judged["requested"], facts["released"]
    request = "the one requested example"
    if count != 1:
        request = f"the {count} requested examples"
    if judged["examples"] < count:
        request += f" (judged on {judged['examples']} of them)"
    lost = (
        f" Not judged, because they diverged: {listed(diverged)}." if diverged else ""
    )
    if wanted.rpartition("/")[0] in diverged:
        lost += f" {wanted}, which was to be released, is one of them: none is."
    if not judged["enough"]:
        return f"Not concluded. {judged['note']}{lost}"
    if not facts["conclusive"]:
        return f"Nothing can be concluded about {request}: {facts['why']}.{lost}"
    said = _of_methods(models, request)
    if release:
        verdict = {model["name"]: model["verdict"] for model in models}
        found = verdict.get(release["model"], "not concluded")
        said = f"Released: {release['model']}/{release['seed']}, {found}. {said}"
    wrong = [model["name"] for model in models if not as_expected(model)]
    if wrong:
        said += f" Not every control came out as it must: {listed(wrong)}."
    return said + lost


def _of_methods(models, request) -> str:
    """Says which methods forget the request, and how many do not."""
    methods = [model for _, model in marked(models) if model["kind"] == "method"]
    if not methods:
        return f"No method was asked to forget {request}."
    names = {
        verdict: [one["name"] for one in methods if one["verdict"] == verdict]
        for verdict in VERDICTS
    }
    done, count = names.pop("within"), len(methods)
    which = "" if len(done) > MOST_NAMED else f": {listed(done)}"
    first = f"{len(done)} of {count} methods forget {request}{which}"
    if len(done) == 1:
        first = f"{done[0]} forgets {request}"
    if done:
        first += (
            f". With {'it' if len(done) == 1 else 'them'} the attacks do no better "
            "than guessing and accuracy is that of retraining, within the tolerances"
        )
        within = [one for one in methods if one["verdict"] == "within"]
        if known := [one["name"] for one in within if _knows_planted(one)]:
            first += f". Planted examples are still known after {named(known)}"
    else:
        which = methods[0]["name"] if count == 1 else f"None of {count} methods"
        no = " not" if count == 1 else ""
        first = (
            f"{which} is{no} shown to forget {request} and to be as accurate as "
            "retraining"
        )
    words = {
        "outside": ("fails", "fail"),
        "inconclusive": ("is undecided", "are undecided"),
        "not concluded": ("cannot be judged", "cannot be judged"),
    }
    rest = [
        f"{named(few, 3)} {words[verdict][len(few) > 1]}"
        for verdict, few in names.items()
        if few
    ]
    return f"{'. '.join(filter(None, (first, '; '.join(rest))))}."


def _knows_planted(model: Mapping) -> bool:
    """Says whether the stress test finds that planted examples are remembered."""
    return (model.get("stress") or {}).get("verdict") == "outside"


def named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Writes a few names, or how many methods there are."""
    return listed(names) if len(names) <= most else f"{len(names)} methods"


def listed(names: Sequence[str]) -> str:
    """Writes `a`, `a and b` or `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def as_expected(model: Mapping) -> bool:
    """Says whether a model whose outcome is known came out as it must."""
    must = {"pass": "within", "fail": "outside", None: model["verdict"]}
    return must[model["expected"]] == model["verdict"]


# What was done


def assemble(
    result: Result,
    names: Sequence[str],
    found: Mapping,
    tables: Sequence[Mapping],
    diverged: Sequence[str] = (),
) -> dict:
    """Returns the facts of the page, all but `run.seconds`.

    To be called when all other files of the run are written: those are counted.

    Args:
      names: the methods that were audited.
      found: what the studies say: `models`, `doses`, `judged`, `exposed`, `rates`,
        `conclusive` and `why`.
      diverged: methods left out of it.
    """
    facts = {
        "schema": schema.SCHEMA,
        "title": f"Unlearning audit: {result.run.sets.title}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **report_facts(result, names, diverged),
        **found,
        "threat": threat(found["judged"]["where"]),
        "tables": list(tables),
        "figures": figure_list(result.run.folder),
    }
    release = result.run.config.audit.release
    return facts | {"conclusion": conclude(facts, diverged, release)}


def threat(where: str) -> list[str]:
    """Says what the attacker has, knows and does, by the study that judges."""
    return [*THREAT, QUESTIONS[where], STRONGER]


def report_facts(
    result: Result, names: Sequence[str], diverged: Sequence[str] = ()
) -> dict:
    """Returns request, run, release, document and files, as the page has them.

    A checkpoint of a method that diverged is not released.
    """
    run, config = result.run, result.run.config
    manifest = store.read_json(run.folder / "manifest.json")
    start = manifest["starts"][-1]
    forget, classes = config.forget, run.sets.class_names
    release = named_release(config.audit.release, (*names, *diverged), config.seeds)
    if release and release[0] in diverged:
        release = None
    return {
        "request": {
            "reason": config.audit.reason,
            "kind": "ids" if forget.kind == "indices" else forget.kind,
            "examples": manifest["forget"]["examples"],
            "classes": [classes[c] for c in class_numbers(forget.classes, classes)],
            "subclasses": list(map(str, forget.subclasses)),
            "copies": list(run.sets.copies),
            "salted_sha256": salted_hash(run.folder),
            "salt_file": SALT,
        },
        "data": manifest["data"],
        "run": {
            "experiment": run.folder.name,
            "preset": config.audit.preset,
            "command": without_ids(provenance.command(config.audit.preset) or ""),
            "settings": settings(run.folder),
            "seeds": config.seeds,
            "study_models": study_models(run),
            "versions": start["versions"],
            "device": f"{start['devices']} x {start['device']}",
            "backend": start["backend"],
            "revision": start["revision"],
        },
        "checkpoints": [
            {"model": name, "seed": seed, "sha256": weights_hash(run, name, seed)}
            for name in ("original", "retrain", *names)
            if name not in training_time.METHODS  # a run keeps none of these
            for seed in range(config.seeds)
        ],
        "released": released(run, *release) if release else None,
        "document": {key: config.audit.document[key] for key in DocumentConfig._fields},
        "left_behind": left_behind(run.folder, release),
        "not_guaranteed": list(NOT_GUARANTEED),
        "terms": TERMS,
    }


def study_models(run: Run) -> dict[str, int]:
    """Counts the models of each kind by study, of the studies that were made."""
    config = run.config.audit
    single = not len(run.problem.forget_classes)
    counts = {
        "shadow": config.models if single else 0,
        "request": config.request_models,
        "stress": config.stress_models if config.canaries else 0,
        "harder": config.harder.models if single else 0,
    }
    return {study: count for study, count in counts.items() if count}


def salted_hash(folder: Path) -> str:
    """Returns the HMAC-SHA-256 of the indices to be forgotten, with the run's salt.

    Without the salt nobody can try out which examples they are. What is hashed are the
    bytes of int64 indices into the training split of the data set, sorted and little
    endian. The salt, 32 random bytes, is made once and kept in `salt.json`.

    Raises:
      InputError: the salt cannot be read or written.
    """
    path = Path(folder) / SALT
    if not path.exists():
        store.write_secret(path, {"salt": secrets.token_hex(32)})
    try:
        salt = bytes.fromhex(store.read_json(path)["salt"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} holds no salt: delete it, and the same command makes a new one; "
            "hashes published before then belong to the old one"
        ) from error
    forget = store.load_arrays(Path(folder) / "split.npz")["forget"]
    indices = np.sort(forget).astype("<i8").tobytes()
    return hmac.new(salt, indices, hashlib.sha256).hexdigest()


def released(run: Run, name: str, seed: int) -> dict:
    """Returns the checkpoint that is put to use, and the file of its weights."""
    place = run.checkpoints(name, seed) / "final"
    exported = sorted((run.folder / "export" / name).glob(f"{seed}.*"))
    file = exported[0] if exported else None
    return {
        "model": name,
        "seed": seed,
        "path": place.relative_to(run.folder).as_posix(),
        "sha256": weights_hash(run, name, seed),
        "file": file.relative_to(run.folder).as_posix() if file else "",
        "file_sha256": store.file_hash(file) if file else "",
    }


def settings(folder: Path) -> dict:
    """Returns the settings of a run; those of models the page has apart.

    Ids of the examples to be forgotten are counted, not named.
    """
    saved = store.read_json(folder / "config.json")
    apart = "methods", "format"
    found = flat({key: value for key, value in saved.items() if key not in apart})
    for key in ("forget.ids", "forget.indices"):
        ids = saved.get("forget", {}).get(key.partition(".")[2])
        if ids:
            found[key] = f"{len(ids)} not shown"
    return found


def without_ids(command: str) -> str:
    """Leaves the ids out of a command that repeats a run: `IDS` stands for them."""
    words = (
        re.sub(r"(forget\.(ids|indices)=).*", r"\1IDS", word, flags=re.DOTALL)
        for word in shlex.split(command)
    )
    return shlex.join(words)


def weights_hash(run: Run, name: str, seed: int) -> str:
    """Returns the SHA-256 of the weights of a checkpoint."""
    return store.checkpoint_hash(run.checkpoints(name, seed) / "final")


# Figures

CAPTIONS = {
    "leak_against_accuracy": "With 95 % intervals; numbers as in the table. Good is in "
    "the shaded zone, where retraining is.",
    "roc": "ROC of a likelihood ratio on logarithmic axes: the further a line is above "
    "the diagonal at the left, the more examples are told at few false alarms. Each "
    "panel says which examples, and what is to be told of them.",
    "margins": "Margins of forgotten, kept and unseen examples over all models that "
    "answered the request: after unlearning they should look like those of retrain.",
    "gap_against_time": "Avg. Gap to retraining against seconds; good is low and left.",
    "per_class": "Test accuracy of each class before and after.",
}
TITLES = {
    "leak_against_accuracy": "Leak of the strongest attack against test accuracy.",
    "roc": "Per-example attack.",
    "margins": "Margin distributions.",
    "gap_against_time": "Gap against time.",
    "per_class": "Accuracy by class.",
}


def figure_list(folder: Path) -> list[dict]:
    """Lists the figures of the page that were made."""
    return [
        {"file": f"figures/{name}.png", "title": TITLES[name], "caption": caption}
        for name, caption in CAPTIONS.items()
        if (folder / "figures" / f"{name}.png").exists()
    ]
