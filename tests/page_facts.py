"""Made-up facts of a page, and a page as a tree of elements."""

import io
import math
from html.parser import HTMLParser

REASON = "Erasure request 17 <script>alert('&')</script> of \"A. Person\""


FORGET = "image/forget <&>"


LONG = "unbroken" * 12  # wider than a phone


def cell(value, half=None):
    ends = (None, None) if half is None else (value - half, value + half)
    return {"value": value, "low": ends[0], "high": ends[1]}


def png(width, height):
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(data, "png")
    return data.getvalue()


FIGURES = {"figures/roc.png": png(1300, 650), "figures/margins.png": png(800, 400)}


def make_facts():
    columns = [
        {
            "key": f"metric_{i}",
            "label": f"Label {i}",
            "unit": unit,
            "help": f"How to read {i}.",
        }
        for i, unit in enumerate(("%", "points", "", "s", "nats", "%", "%", "%", "%"))
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
    methods = [
        {
            "name": f"method_number_{i}+finetune",
            "paper": "NeurIPS 2023 challenge, arXiv:2406.09073",
            "faithful": f"not quite: simplification {i} {LONG}",
            "constants": {"learning_rate": 0.01 * i, "layers": [1, 2], "head": True},
            "seconds": 0.05 * 10**i,
            "speedup": (8.61, math.inf, math.nan)[i],
            "verdict": verdict,
            "because": [f"Avg. Gap 0.9{i} [0.6, 1.1].", f"Attack {LONG} 0.7{i}."],
            "models_needed": 23 if verdict == "inconclusive" else None,
        }
        for i, verdict in enumerate(("outside", "inconclusive", "within"))
    ]
    controls = [
        {
            "name": f"control {i}",
            "what": f"The known model {i}.",
            "expected": expected,
            "outcome": outcome,
            "because": f"Attack {LONG} 0.8{i}.",
        }
        for i, (expected, outcome) in enumerate(
            [("fail", "fail"), ("pass", "fail"), ("fail", "inconclusive")]
        )
    ]
    return {
        "schema": 2,
        "title": f"Unlearning 129 digits {LONG}",
        "created": "2026-11-21T16:19:00+00:00",
        "request": {
            "reason": REASON,
            "kind": "class",
            "examples": 129,
            "classes": ["three", LONG],
            "copies": ["5 forgotten examples have an exact copy in the test set"],
            "sha256": "1a" * 32,
        },
        "data": {
            "name": "digits",
            "sha256": "2b" * 32,
            "train": 1294,
            "validation": 144,
            "test": 359,
        },
        "run": {
            "experiment": "digits_evidence",
            "preset": "cpu",
            "command": "python launch.py --methods=ssd,scrub "
            + "--config.methods.ssd.alpha=3 " * 5
            + "--workdir=runs/"
            + "long" * 30,
            "settings": {
                "train.epochs": 30,
                "model.cnn.widths": [16, 32],
                "data.name": LONG,
                "forget.file": None,
            },
            "seeds": 5,
            "shadow_models": 64,
            "versions": {"jax": "0.10.2", "numpy": "2.4.6"},
            "device": f"NVIDIA H100 {LONG}",
            "backend": "gpu",
            "revision": "3c" * 20 + "+",
            "seconds": 4211.0,
        },
        "checkpoints": [
            {"model": model, "seed": seed, "sha256": f"{i}{seed}" * 32}
            for i, model in enumerate(("original", "retrain", "ssd"))
            for seed in range(3)
        ],
        "conclusive": True,
        "conclusion": f"One method forgets. {LONG}",
        "methods": methods,
        "controls": controls,
        "tables": [
            {
                "id": "summary",
                "title": "All measures",
                "note": f"Unrounded in summary.csv. {LONG}",
                "columns": columns,
                "rows": rows,
            },
            {
                "id": "small",
                "title": "A small one",
                "note": "",
                "columns": columns[:1],
                "rows": [
                    {"model": "x", "kind": "floor", "cells": {"metric_0": cell(1)}}
                ],
            },
        ],
        "figures": [
            {
                "file": file,
                "title": f"Figure {i}",
                "caption": f"What {FORGET} {i}. {LONG}",
            }
            for i, file in enumerate(FIGURES)
        ],
        "not_guaranteed": ["That no other attack finds a trace.", LONG],
        "terms": {"floor": f"Two retrained models. {LONG}", LONG: "Log-odds."},
    }


EMPTY = make_facts() | dict.fromkeys(
    ("checkpoints", "methods", "controls", "tables", "figures", "not_guaranteed"), ()
)
EMPTY |= {"terms": {}, "conclusive": False}


class Tree(HTMLParser):
    """Elements of a page with their text; every tag must be closed, in order."""

    VOID = {"meta", "img", "wbr", "br"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [one for one in self.elements if one["tag"] in tags]

    def text(self):
        return " ".join(self.all("body")[0]["text"].split())


def leaves(value, path=()):
    """`(path, value)` of everything in nested dicts and lists, the keys as well."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        yield (*path, key), one
        if isinstance(one, (dict, list)):
            yield from leaves(one, (*path, key))
