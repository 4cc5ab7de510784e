"""Made-up facts of an audit's page."""

import copy
import io
import math

from page_models import cell, make_models

from unlearn.audit import facts as audit_facts
from unlearn.audit import left_behind as left

REASON = "Erasure request 17 <script>alert('&')</script> of \"A. Person\""
FORGET = "image/forget <&>"
RATES = "one in 4", "none", "one in 31", "one in 12"
LONG = "unbroken" * 12  # wider than a phone


def png(width, height):
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(data, "png")
    return data.getvalue()


FIGURES = {
    "figures/leak_against_accuracy.png": png(546, 559),
    "figures/roc.png": png(1300, 650),
    "figures/margins.png": png(800, 400),
}


def make_table():
    units = ("%", "points", "", "s", "nats", "%", "%", "%", "%")
    columns = [
        {
            "key": f"metric_{i}",
            "label": f"Label {i}",
            "unit": unit,
            "help": f"How to read {i}.",
        }
        for i, unit in enumerate(units)
    ]
    columns[2]["digits"] = 4
    rows = [
        {
            "model": "floor",
            "kind": "floor",
            "cells": {"metric_0": cell(0.25), "metric_1": cell(math.nan)},
        },
        {
            "model": "original",
            "kind": "control",
            "cells": {"metric_0": cell(99.123, 0.456), "metric_3": cell(math.inf)},
        },
    ]
    rows += [
        {
            "model": f"method_number_{i}+finetune",
            "kind": "method",
            "cells": {
                column["key"]: cell(float(i) - 5.0625, 1.5) for column in columns[:-1]
            }
            | {"metric_8": cell("inconclusive")},
        }
        for i in range(12)
    ]
    return {
        "id": "summary",
        "title": "All measures",
        "note": f"Unrounded in summary.csv. {LONG}",
        "columns": columns,
        "rows": rows,
    }


def make_facts(methods=4):
    """An audit of the digits that came out well: every control as it must."""
    return concluded(unconcluded(methods))


def concluded(facts):
    return facts | {"conclusion": audit_facts.conclude(facts)}


def unconcluded(methods):
    models = make_models(methods)
    audited = [one["name"] for one in models if one["kind"] == "method"]
    seen = {"0 % left": 0.501, "10 % left": 0.512, "30 % left": 0.534}
    seen |= {"100 % left": 0.598, "12 most memorised left": 0.527}
    return {
        "schema": 4,
        "title": "Unlearning audit: digits_audit",
        "created": "2026-11-21T16:19:00+00:00",
        "conclusive": True,
        "why": "the original model fails the audit and retraining passes it",
        "conclusion": "",
        "models": models,
        "doses": [
            {
                "name": name,
                "leak": cell(leak, 0.011),
                "found": cell(0.01 + 2 * (leak - 0.5), 0.006),
                "whole": cell(min(1.0, 0.5 + 9 * (leak - 0.5)), 0.03),
                "verdict": "within" if leak < 0.51 else "outside",
                "expected": {"0 % left": "within", "10 % left": None}.get(
                    name, "outside"
                ),
            }
            for name, leak in seen.items()
        ],
        "judged": {
            "where": "shadow",
            "examples": 129,
            "requested": 129,
            "tolerance": 0.1,
            "tolerances": {
                "leak": 0.0098,
                "found": 0.0257,
                "whole": 0.05,
                "utility": 0.01,
                "worst_class": 0.05,
            },
            "models": 126,
            "stress_models": 128,
            "enough": True,
            "note": "Up to 10 % of what the original leaks counts as none.",
        },
        "exposed": [
            {
                "id": str(1700 - 31 * i),
                "model": audited[i % len(audited)],
                "advantage": cell(0.62 - 0.03 * i, 0.11),
            }
            for i in range(10)
        ],
        "rates": [
            {"model": name, "at_most": RATES[i % 4], "at": 0.01}
            for i, name in enumerate(audited)
        ]
        + [{"model": "original", "at_most": "67 in 100", "at": 0.01}],
        "request": {
            "reason": REASON,
            "kind": "random",
            "examples": 129,
            "classes": [],
            "subclasses": [],
            "copies": ["5 forgotten examples have an exact copy in the test set"],
            "salted_sha256": "1a" * 32,
            "salt_file": "salt.json",
        },
        "released": None,
        "document": dict.fromkeys(DOCUMENT, ""),
        "left_behind": left_behind(audited),
        "data": {
            "name": "digits",
            "sha256": "2b" * 32,
            "train": 1294,
            "validation": 144,
            "test": 359,
        },
        "run": {
            "experiment": "digits_audit",
            "preset": "cpu",
            "command": "python launch.py --experiment=digits_audit "
            "--methods=ssd,scrub --config.methods.ssd.alpha=3 --workdir=runs",
            "settings": {
                "train.epochs": 30,
                "model.cnn.widths": [16, 32],
                "data.name": "digits",
                "forget.file": None,
            },
            "seeds": 5,
            "study_models": {"shadow": 126, "request": 66, "stress": 128},
            "versions": {"jax": "0.10.2", "numpy": "2.4.6"},
            "device": "1 x NVIDIA H100",
            "backend": "gpu",
            "revision": "3c" * 20 + "+",
            "seconds": 4211.0,
        },
        "checkpoints": [
            {"model": model, "seed": seed, "sha256": f"{i % 10}{seed}" * 32}
            for i, model in enumerate(("original", "retrain", *audited))
            for seed in range(3)
        ],
        "tables": [
            make_table(),
            {
                "id": "small",
                "title": "A small one",
                "note": "",
                "columns": make_table()["columns"][:1],
                "rows": [
                    {"model": "x", "kind": "floor", "cells": {"metric_0": cell(1)}}
                ],
            },
        ],
        "figures": [
            {
                "file": file,
                "title": f"Figure {i}",
                "caption": f"What is to be seen {i}.",
            }
            for i, file in enumerate(FIGURES)
        ],
        "threat": audit_facts.threat("shadow"),
        "not_guaranteed": list(audit_facts.NOT_GUARANTEED),
        "terms": audit_facts.TERMS,
    }


DOCUMENT = ["reference", "received", "due", "run_by", "reviewed_by"]
DOCUMENT += ["residual_risk_accepted_by", "next_review"]


def left_behind(audited):
    """As `audit.left_behind` counts it, a released model unknown."""
    parts = (
        (left.ORIGINALS, ["checkpoints/original"]),
        (left.SHADOWS, ["studies"]),
        (left.ANSWERS, ["evaluations"]),
        (left.UNLEARNED, [f"checkpoints/{name}" for name in audited]),
        (left.NAMES, ["config.json", "manifest.json", "salt.json", "split.npz"]),
        (left.RESULTS, ["figures", *(f"{i}.csv" for i in range(16))]),
    )
    return [
        group._asdict()
        | {"paths": paths, "files": 14 + 3 * i, "bytes": 2 * 10 ** (8 - i)}
        for i, (group, paths) in enumerate(parts)
    ]


def one_class(facts):
    """The same of a request for a class, and no examples were planted."""
    request = facts["request"] | {"kind": "class", "classes": ["three"]}
    models = [one | {"stress": None} for one in facts["models"]]
    judged = facts["judged"] | {"where": "request", "stress_models": 0}
    more = {"request": request, "models": models, "judged": judged}
    return concluded(facts | more | {"threat": audit_facts.threat("request")})


def one_example(facts):
    """The same of a request for one example: others are attacked in its place."""
    models = [
        one
        | {
            "forgetting": "not concluded",
            "verdict": "outside" if one["utility"] == "outside" else "not concluded",
            "expected": None,
            "models_needed": None,
        }
        for one in facts["models"]
    ]
    note = "One example was requested: nothing is concluded about it."
    judged = facts["judged"] | {"examples": 0, "requested": 1, "enough": False}
    return concluded(
        facts
        | {
            "models": models,
            "judged": judged | {"note": note},
            "request": facts["request"] | {"kind": "ids", "examples": 1, "copies": []},
            "exposed": [],
        }
    )


def unknown(facts):
    """The same where nothing was attacked."""
    none = {"leak": cell(None), "found": cell(None), "whole": cell(None)}
    models = [one | none for one in facts["models"]]
    return facts | {"models": models, "doses": [], "rates": []}


def released(facts, model="finetune"):
    """The same where a checkpoint is named and the document is filled in."""
    named = {
        "model": model,
        "seed": 0,
        "path": f"checkpoints/{model}/0/final",
        "sha256": "4d" * 32,
        "file": f"export/{model}/0.safetensors",
        "file_sha256": "5e" * 32,
    }
    document = {key: f"value of {key}" for key in DOCUMENT}
    behind = [
        one | left.OTHERS._asdict() if one["what"] == left.UNLEARNED.what else one
        for one in facts["left_behind"]
    ]
    more = {"released": named, "document": document, "left_behind": behind}
    return concluded(facts | more)


def stretched(facts):
    """The same with words that are wider than a phone and with markup, wherever."""
    facts = copy.deepcopy(facts)
    facts["title"] += f" {LONG}"
    facts["conclusion"] += f" {LONG}"
    facts["request"] |= {"kind": "class", "classes": ["three", LONG]}
    facts["run"]["device"] += f" {LONG}"
    facts["run"]["settings"]["data.name"] = LONG
    facts["run"]["command"] += "/long" * 30
    facts["exposed"][0]["id"] = f"{LONG}.png"
    facts["models"][-1]["because"].append(LONG)
    facts["models"][-1] |= {"differs": f"not quite: {LONG}", "what": LONG}
    facts["left_behind"][0]["paths"].append(f"checkpoints/{LONG}")
    facts["doses"][0]["name"] = LONG
    facts["document"]["reference"] = LONG
    facts["threat"].append(LONG)
    facts["not_guaranteed"].append(LONG)
    facts["terms"] |= {LONG: "Log-odds.", "floor": LONG}
    for figure in facts["figures"]:
        figure["caption"] += f" {FORGET} {LONG}"
    return facts


NONE = ["checkpoints", "models", "doses", "exposed", "rates", "left_behind", "tables"]
EMPTY = make_facts() | dict.fromkeys([*NONE, "figures", "threat", "not_guaranteed"], ())
EMPTY |= {"terms": {}, "conclusive": False}
