"""A run whose methods are audited: the pipeline, two studies, and the page.

`run(config, folder)` is what the audit experiments give to `launch.py`. Everything the
studies make is kept a chunk at a time; the same command goes on where it stopped.
"""

import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from unlearn import evidence, methods, pipeline, store, studies
from unlearn.errors import InputError
from unlearn.report import audit, figures, page, tables
from unlearn.report.progress import Progress

NOT_GUARANTEED = (
    "This is not a certificate: no method here is a randomised mechanism with a proof, "
    "and passing an audit shows that these attacks fail, not that every attack does.",
    "The verdict is about the training algorithm with these constants on this data, as "
    "the shadow models see it; one particular checkpoint may be luckier or unluckier.",
    "Judged is whether forgotten examples can be told from examples never seen, and "
    "the accuracy. That a model can be told from a retrained one in another way (RULI "
    "efficacy, the distributions of margins) is in the tables and is not weighed.",
    "The audit covers the model's weights and outputs. Copies of the data, caches, "
    "logs, backups, and models derived from the original before the request are not "
    "touched by it: delete or retrain them as well.",
    "The examples that stay were audited, too: where forgetting makes them easier to "
    "attack, the table shows it, but the verdict does not weigh it.",
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


def run(config, folder, *, data_dir=None) -> dict:
    """The pipeline, the studies, `report.html` and `report.json`; returns the facts.

    Raises:
      InputError: bad input, in one line; `pipeline.Diverged` at the end if a method
        diverged (the others are judged and reported).
    """
    started = time.perf_counter()
    folder = Path(folder)
    names = tuple(n for n in dict.fromkeys(config.run) if n != "retrain")
    check(config, names)
    summary, diverged = run_pipeline(config, folder, data_dir)
    this, context = pipeline.prepare(config, folder, names, data_dir, Progress())
    names = [name for name in names if name not in diverged]
    shadow = studies.shadow_study(this, context.test_labels)
    every = *studies.REFERENCES, *studies.CONTROLS, *names
    models, more = finite(evidence.answered(shadow, every))
    diverged += more
    this.progress.tick("shadow study  attacks")
    attacks, rates, kept, curves = evidence.per_example(shadow, models)
    findings = evidence.decide(shadow, models, attacks, config.audit)
    controls = evidence.controls_of(findings)
    request = studies.request_study(this, context.test_labels)
    answers, more = finite(evidence.answered(request, every))
    diverged = sorted({*diverged, *more})
    findings = {n: found for n, found in findings.items() if n not in diverged}
    this.progress.tick("request study  distances of distributions")
    distances = evidence.distributional(request, answers)
    names = [name for name in names if name not in diverged]
    save_figures(folder, names, curves, request, answers, context.title)
    shown_models = "original", "retrain", *studies.CONTROLS, *names
    rows = tables.read_csv(folder / "results.csv")
    rows += evidence.control_rows(this, context)
    rows = [row for row in rows if row["model"] in shown_models]
    usual = summary_table(tables.summarize(rows), shown_models)
    outputs = evidence.outputs(this, context, names, rows)
    layers = evidence.layers(this, names, **config.audit.layers)
    shown = [usual, attacks, rates, kept, distances, outputs, layers]
    if config.audit.harder.models:
        labels = context.test_labels
        shown.append(evidence.harder(this, labels, shadow, request, names))
        shown.append(evidence.in_turn(this, labels, request, names))
    for one in shown:
        write_csv(folder, one)
    conclusive, why = evidence.can_judge(findings)
    facts = {
        "schema": page.SCHEMA,
        "title": f"Unlearning audit: {context.title}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **asked_and_done(this, context, config, summary, findings, conclusive),
        "conclusive": conclusive,
        "controls": controls,
        "tables": shown,
        "figures": figure_list(folder),
        "not_guaranteed": list(NOT_GUARANTEED),
        "terms": TERMS,
    }
    facts["conclusion"] = conclude(facts, why, judged_on(shadow), diverged)
    facts["run"]["seconds"] = time.perf_counter() - started
    page.write(folder, facts)
    print_findings(findings, facts)
    this.progress.say(f"The report is {folder / 'report.html'}")
    if diverged:
        raise pipeline.methods_diverged(diverged, summary)
    return facts


def run_pipeline(config, folder, data_dir) -> tuple[list[dict], list[str]]:
    """The summary of the run, and the names of the methods that diverged in it."""
    try:
        summary = pipeline.run(config, folder, data_dir=data_dir)
    except pipeline.Diverged as error:
        if error.summary is None:
            raise
        summary = error.summary
    return summary, [row["model"] for row in summary if row["diverged"]]


def finite(models: dict) -> tuple[dict, list[str]]:
    """The models without methods some of which diverged, and the names of these."""
    diverged = [n for n, m in models.items() if not np.isfinite(m.margins).all()]
    for name in set(diverged) & {*studies.REFERENCES, *studies.CONTROLS}:
        raise InputError(
            f"{name} diverged in the studies: lower --config.train.learning_rate (and "
            "use another --workdir)"
        )
    return {n: m for n, m in models.items() if n not in diverged}, diverged


def check(config, names) -> None:
    for name in names:
        info = methods.METHODS.get(name)
        if info is None or info.scope == "class":
            raise InputError(
                f"{name} cannot be audited: the shadow models forget random examples, "
                f"with one approximate method each; leave it out of --methods"
            )
    settings = flat(config.audit.to_dict())
    for name, least in LEAST.items():
        if settings.get(name, least) < least:
            raise InputError(
                f"audit.{name} must be at least {least}; it is {settings[name]}"
            )
    most, targets = settings["models"], settings["targets"]
    models, part = settings["harder.models"], settings["harder.fraction"]
    fits = {
        "targets": (targets > 0 and not targets % 3, "a positive multiple of 3"),
        "canaries": (0 <= 2 * settings["canaries"] <= targets, "0 to targets / 2"),
        "background": (0 < settings["background"] <= 1, "above 0, to 1"),
        "seed": (settings["seed"] >= 0, "0 or more"),
        "harder.models": (
            not models or 12 <= models <= most,
            f"0, to leave harder forget sets out, or from 12 to models, {most}",
        ),
        "harder.fraction": (
            0 < part * settings["harder.requests"] < 1,
            "above 0, and below 1 when all requests are added",
        ),
    }
    for name, (good, words) in fits.items():
        if not good:
            raise InputError(f"audit.{name} must be {words}; it is {settings[name]}")


LEAST = {
    "models": 12,
    "chunk": 1,
    "examples": 1,
    "layers.seeds": 1,
    "layers.examples": 1,
    "layers.relearning.steps": 1,
    "layers.relearning.batch_size": 1,
    "harder.count": 2,
    "harder.requests": 1,
}


def conclude(facts, why: str, judged_on: str, diverged) -> str:
    lost = f"{', '.join(diverged)}: diverged, not judged" if diverged else ""
    if not facts["conclusive"]:
        return f"Nothing can be concluded: {why}." + (f" {lost}." if lost else "")
    wrong = [c["name"] for c in facts["controls"] if c["outcome"] != c["expected"]]
    if wrong:
        why += f", but not every control came out as it must: {', '.join(wrong)}"
    by_verdict = {}
    for method in facts["methods"]:
        by_verdict.setdefault(method["verdict"], []).append(method["name"])
    words = {
        "within": "an attacker cannot tell forgotten from never-seen examples and "
        "accuracy is kept, within the stated tolerances",
        "outside": "forgotten examples can be told from never-seen ones, or accuracy "
        "is lost",
        "inconclusive": "more models and examples are needed",
    }
    parts = [
        f"{', '.join(by_verdict[key])}: {text}"
        for key, text in words.items()
        if key in by_verdict
    ]
    if lost:
        parts.append(lost)
    if not parts:
        parts = ["no method was asked for"]
    return f"{'; '.join(parts)}. Judged on {judged_on}; controls: {why}."


def judged_on(shadow) -> str:
    """Which examples the verdict is about."""
    asked, mislabelled = int(shadow.requested.sum()), int(shadow.canary.sum())
    asked = asked or "none"
    return (
        f"{len(shadow.targets)} training examples, {asked} of them among those asked "
        f"for and {mislabelled} mislabelled on purpose"
    )


def asked_and_done(this, context, config, summary, findings, conclusive) -> dict:
    """What was asked, what was done and with what, for the page."""
    manifest = store.read_json(this.folder / "manifest.json")
    by_model = {row["model"]: row for row in summary}
    forget = config.forget
    audited = []
    for name in findings:
        if name in evidence.EXPECTED:
            continue
        info, judged = methods.METHODS[name], findings[name].judged
        audited.append(
            {
                "name": name,
                "paper": info.paper,
                "faithful": "yes" if info.faithful is True else info.faithful,
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
            "kind": forget.kind,
            "examples": manifest["forget"]["examples"],
            "classes": [context.class_names[c] for c in forget.classes]
            if forget.kind == "class"
            else [],
            "sha256": manifest["forget"]["sha256"],
        },
        "data": manifest["data"],
        "run": {
            "experiment": this.folder.name,
            "preset": config.audit.preset,
            "command": command(config.audit.preset),
            "settings": settings(this.folder),
            "seeds": config.seeds,
            "shadow_models": config.audit.models,
            "versions": manifest["versions"],
            "device": f"{manifest['devices']} x {manifest['device']}",
            "backend": manifest["backend"],
            "git_revision": manifest["git_revision"],
        },
        "checkpoints": [
            {"model": name, "seed": seed, "sha256": checkpoint_hash(this, name, seed)}
            for name in ("original", "retrain", *(m["name"] for m in audited))
            for seed in range(config.seeds)
        ],
        "methods": audited,
    }


def command(preset: str) -> str:
    """What repeats the run, on another kind of device as well."""
    given = any(arg.lstrip("-").startswith("preset") for arg in sys.argv[1:])
    preset = [] if given else [f"--preset={preset}"]
    return shlex.join(["python", "launch.py", *sys.argv[1:], *preset])


def settings(folder: Path) -> dict:
    """Of the run, but for those of methods, which the page lists by itself."""
    saved = store.read_json(folder / "config.json")
    return flat({key: value for key, value in saved.items() if key != "methods"})


def flat(nested: dict, prefix: str = "") -> dict:
    """Nested settings by the names that flags give them: `train.epochs`."""
    found = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and len(value) > 20:
            found[f"{prefix}{key}"] = f"{len(value)} values"
        else:
            found[f"{prefix}{key}"] = value
    return found


def checkpoint_hash(this, name: str, seed: int) -> str:
    path = this.checkpoints(name, seed) / "final" / "checksum.json"
    return store.read_json(path)["sha256"]


# Tables and figures

SUMMARY = (
    (
        "forget_accuracy",
        "Forget",
        "%",
        1,
        "of the forget set; close to retrain is good",
    ),
    ("retain_accuracy", "Retain", "%", 1, "of the retain set"),
    ("test_accuracy", "Test", "%", 1, "of test data"),
    ("mia_confidence", "MIA", "%", 1, "share of the forget set called non-members"),
    ("avg_gap", "Avg. Gap", "", 2, "mean difference to retrain of the four, in points"),
)


def summary_table(summary, names) -> dict:
    """The pipeline's table with the controls: what the literature reports."""
    columns = (*SUMMARY, ("seconds", "Seconds", "s", 2, "the method alone"))
    rows = {}
    for row in sorted(summary, key=lambda row: names.index(row["model"])):
        if row["model"] == "retrain":
            floor = {"avg_gap": row["avg_gap_floor"], "avg_gap_interval": float("nan")}
            row = row | floor
        cells = {"seconds": evidence.cell(row["seconds"])}
        for key, *_ in SUMMARY:
            value = 100 * row.get(key, float("nan"))
            half = 100 * row.get(f"{key}_interval", float("nan"))
            cells[key] = evidence.cell(value, value - half, value + half)
        rows[row["model"]] = cells
    title = "The usual table: accuracy, a population attack, time"
    note = (
        f"Mean over {summary[0]['seeds']} training seeds with 95 % t intervals; "
        "the Avg. Gap of `retrain` is that of two retrained models, the floor. The "
        "attack looks at one model and one number: it is blind to what the next table "
        "shows."
    )
    return evidence.table("usual", title, note, columns, rows)


def write_csv(folder: Path, table) -> None:
    rows = []
    for row in table["rows"]:
        flat = {"model": row["model"]}
        for key, cell in row["cells"].items():
            flat[key] = cell["value"]
            flat |= {f"{key}_{end}": cell[end] for end in ("low", "high")}
        rows.append(flat)
    tables.write_csv(folder / f"{table['id']}.csv", rows)


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


def save_figures(folder, names, curves, request, answers, title) -> None:
    shown = {name: curves[name] for name in ("original", "retrain", *names)}
    figures.save(audit.roc(shown, title), folder / "figures" / "roc.png")
    models = {
        name: {
            key: answers[name].margins[:, part] for key, part in request.sets.items()
        }
        for name in ("original", "retrain", *names)
    }
    figures.save(audit.margins(models, title), folder / "figures" / "margins.png")


def figure_list(folder) -> list[dict]:
    return [
        {"file": f"figures/{name}.png", "title": TITLES[name], "caption": caption}
        for name, caption in CAPTIONS.items()
        if (folder / "figures" / f"{name}.png").exists()
    ]


def print_findings(findings, facts) -> None:
    """A line a model, with the sentence that decided."""
    verdicts = {method["name"]: method["verdict"] for method in facts["methods"]}
    for name, finding in findings.items():
        own = finding.judged.verdict
        first = [text for text in finding.because if text.endswith(f"{own}.")]
        print(f"{name:<16} {verdicts.get(name, own):<13} {first[0]}")
    print(facts["conclusion"])
