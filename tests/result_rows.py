"""Made-up rows of results, and sets and logits for the figures of them."""

import math

import numpy as np

from unlearn.data.splits import Sets
from unlearn.report.summary import summarize

ACCURACIES = ("forget_accuracy", "retain_accuracy", "test_accuracy")


MIA = ("mia_confidence", "mia_regression", "mia_auc", "mia_tpr_at_1fpr")


def make_row(model, seed, forget, retain, test, mia, seconds=1.0, compiling=0.0):
    return {
        "model": model,
        "seed": seed,
        "forget_accuracy": forget,
        "retain_accuracy": retain,
        "test_accuracy": test,
        "mia_confidence": mia,
        "mia_regression": 0.5,
        "mia_auc": 0.5,
        "mia_tpr_at_1fpr": 0.01,
        "seconds": seconds,
        "compile_seconds": compiling,
        "status": "ok",
    }


def diverged(model, seed):
    nan = math.nan
    row = make_row(model, seed, nan, nan, nan, nan)
    return row | dict.fromkeys(MIA, nan) | {"status": "diverged"}


def random_results(methods=("finetune", "scrub", "ssd"), seeds=5):
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for place, model in enumerate(("original", "retrain", *methods)):
            values = 0.9 - 0.02 * place + 0.05 * rng.random(4)
            seconds, compiling = rng.uniform(0.1, 3), 2.0 * (seed == 0)
            rows.append(make_row(model, seed, *values.tolist(), seconds, compiling))
    return rows


TWO_SEEDS = [
    make_row("original", 0, 1.0, 1.0, 0.90, 0.0, 10.0, 3.0),
    make_row("retrain", 0, 0.8, 1.0, 0.90, 0.2, 9.0, 4.0),
    make_row("far", 0, 0.4, 0.8, 0.60, 0.6, 1.0),
    make_row("near", 0, 0.8, 1.0, 0.86, 0.2, 3.0, 1.5),
    make_row("original", 1, 1.0, 1.0, 0.90, 0.0, 10.0),
    make_row("retrain", 1, 0.9, 1.0, 0.94, 0.1, 11.0),
    make_row("far", 1, 0.5, 0.8, 0.64, 0.5, 3.0),
    make_row("near", 1, 0.8, 0.9, 0.94, 0.1, 5.0, 0.5),
]


def by_model(results):
    return {row["model"]: row for row in summarize(results)}


def make_context(classes=4, forgotten=(), train=120, test=80):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, train)
    forget = np.arange(12)
    if forgotten:
        forget = np.flatnonzero(np.isin(labels, forgotten))
    return Sets(
        train_labels=labels,
        test_labels=rng.integers(0, classes, test),
        forget=forget,
        retain=np.setdiff1d(np.arange(train), forget),
        class_names=tuple(f"class {i}" for i in range(classes)),
        forget_classes=forgotten,
        title="made-up data",
    )


def make_evaluation(context, asked=None):
    def evaluation(model, seed):
        if asked is not None:
            asked.append((model, seed))
        rng = np.random.default_rng(seed)
        classes = len(context.class_names)
        logits = {}
        for part in ("train", "test"):
            labels = getattr(context, f"{part}_labels")
            z = rng.normal(size=(len(labels), classes)) + 4 * np.eye(classes)[labels]
            logits[f"{part}_logits"] = z.astype(np.float32)
        return logits

    return evaluation


def pixels(path):
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
