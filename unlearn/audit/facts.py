"""What the page of an audit says: request, run, methods, conclusion and terms."""

from pathlib import Path

from unlearn import methods, provenance, store
from unlearn.audit.config import flat
from unlearn.audit.studies import Study
from unlearn.audit.verdict import EXPECTED, Finding
from unlearn.data.lookup import class_numbers
from unlearn.pipeline import Result, Run

NOT_GUARANTEED = (
    "This is not a certificate: no method here is a randomised mechanism with a proof, "
    "and passing an audit shows that these attacks fail, not that every attack does.",
    "The verdict is about the training algorithm with these constants on this data, as "
    "the shadow models see it; one particular checkpoint may be luckier or unluckier.",
    "The verdict judges two things: whether an attack can distinguish forgotten "
    "examples from examples never seen, and the accuracy. Whether the model can be "
    "distinguished from a retrained one in another way (RULI efficacy, the "
    "distributions of margins) is in the tables and is not weighed.",
    "The audit covers the model's weights and outputs. Copies of the data, caches, "
    "logs, backups, and models derived from the original before the request are not "
    "touched by it: delete or retrain them as well.",
    "The examples that stay were audited as well: where forgetting makes them easier "
    "to attack, the table shows it, but the verdict does not weigh it.",
    "Whether this answers a legal duty of erasure is for a lawyer to say.",
)
TERMS = {
    "forget set": "the training examples that are to go",
    "retain set": "the training examples that stay",
    "retrain": "a model trained anew without the forget set: the reference",
    "shadow model": "a model trained like the audited one, to calibrate an attack",
    "AUC": "how often an attack ranks a forgotten example above one never seen; "
    "0.5 is guessing, 1 is certainty",
    "TPR at 1 % FPR": "the share of forgotten examples found when at most 1 % of "
    "never-seen examples are called forgotten",
    "margin": "how much the score of the true class exceeds all others, in logits",
    "mislabelled examples": "training examples given a wrong label on purpose: only "
    "a model that saw them answers with it, so they show what is remembered",
    "KLoM": "how far the distribution of margins over many models is from that of "
    "retrained models",
    "floor": "what two groups of retrained models differ by: nothing below it is seen",
    "tolerance": "how much worse than perfect counts as equal; stated beforehand",
}


def conclude(facts: dict, why: str, judged_on: str, diverged: list[str]) -> str:
    """Returns the conclusion in a plain sentence."""
    lost = f"{', '.join(diverged)}: diverged, not judged" if diverged else ""
    if not facts["conclusive"]:
        return f"Nothing can be concluded: {why}." + (f" {lost}." if lost else "")
    wrong = [c["name"] for c in facts["controls"] if c["outcome"] != c["expected"]]
    if wrong:
        why += f", but not every control came out as it must: {', '.join(wrong)}"
    by_verdict = {}
    for method in facts["methods"]:
        by_verdict.setdefault(method["verdict"], []).append(method["name"])
    meaning = {
        "within": "an attacker cannot distinguish forgotten from never-seen examples "
        "and accuracy is kept, within the stated tolerances",
        "outside": "forgotten examples can be distinguished from never-seen ones, or "
        "accuracy is lost",
        "inconclusive": "more models and examples are needed",
    }
    parts = [
        f"{', '.join(by_verdict[key])}: {text}"
        for key, text in meaning.items()
        if key in by_verdict
    ]
    if lost:
        parts.append(lost)
    if not parts:
        parts = ["no method was requested"]
    return f"{'; '.join(parts)}. Judged on {judged_on}; controls: {why}."


def judged_on(shadow: Study) -> str:
    """Says which examples the verdict is about."""
    _, canary, requested = (int(role.sum()) for role in shadow.roles())
    return (
        f"{len(shadow.targets)} training examples, {requested or 'none'} of them among "
        f"the requested ones and {canary} mislabelled on purpose"
    )


def report_facts(
    result: Result, findings: dict[str, Finding], conclusive: bool
) -> dict:
    """Returns the request, what was done and with what, as the page has them."""
    run, config = result.run, result.run.config
    manifest = store.read_json(run.folder / "manifest.json")
    start = manifest["starts"][-1]
    by_model = {row["model"]: row for row in result.summary}
    forget, names, audited = config.forget, run.sets.class_names, []
    for name in findings:
        if name in EXPECTED:
            continue
        info, judged = methods.METHODS[name], findings[name].judged
        audited.append(
            {
                "name": name,
                "paper": info.paper,
                "faithful": info.differs or "yes",
                "constants": dict(config.methods[name]),
                "seconds": by_model[name]["seconds"],
                "speedup": by_model[name]["speedup"],
                "verdict": judged.verdict if conclusive else "inconclusive",
                "because": findings[name].because,
                "models_needed": judged.models_needed,
            }
        )
    return {
        "request": {
            "reason": config.audit.reason,
            "kind": "ids" if forget.kind == "indices" else forget.kind,
            "examples": manifest["forget"]["examples"],
            "classes": [names[c] for c in class_numbers(forget.classes, names)],
            "copies": list(run.sets.copies),
            "sha256": manifest["forget"]["sha256"],
        },
        "data": manifest["data"],
        "run": {
            "experiment": run.folder.name,
            "preset": config.audit.preset,
            "command": provenance.command(config.audit.preset) or "",
            "settings": settings(run.folder),
            "seeds": config.seeds,
            "shadow_models": config.audit.models,
            "versions": start["versions"],
            "device": f"{start['devices']} x {start['device']}",
            "backend": start["backend"],
            "revision": start["revision"],
        },
        "checkpoints": [
            {"model": name, "seed": seed, "sha256": weights_hash(run, name, seed)}
            for name in ("original", "retrain", *(m["name"] for m in audited))
            for seed in range(config.seeds)
        ],
        "methods": audited,
    }


def settings(folder: Path) -> dict:
    """Returns the settings of a run; those of methods the page has apart."""
    saved = store.read_json(folder / "config.json")
    apart = "methods", "format"
    return flat({key: value for key, value in saved.items() if key not in apart})


def weights_hash(run: Run, name: str, seed: int) -> str:
    return store.checkpoint_hash(run.checkpoints(name, seed) / "final")


CAPTIONS = {
    "roc": "ROC of U-LiRA on logarithmic axes: the further a line lies above the "
    "diagonal at the left, the more forgotten examples are found with few false alarms",
    "margins": "Margins of forgotten, kept and unseen examples over all models that "
    "answered the request: after unlearning they should look like those of retrain",
    "gap_against_time": "Avg. Gap to retraining against seconds; good is low and left",
    "per_class": "Test accuracy of each class before and after",
}
TITLES = {
    "roc": "Per-example attack",
    "margins": "Margin distributions",
    "gap_against_time": "Gap against time",
    "per_class": "Accuracy by class",
}


def figure_list(folder: Path) -> list[dict]:
    """Lists the figures of the page that were made."""
    return [
        {"file": f"figures/{name}.png", "title": TITLES[name], "caption": caption}
        for name, caption in CAPTIONS.items()
        if (folder / "figures" / f"{name}.png").exists()
    ]
