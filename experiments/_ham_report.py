"""Table of attack, losses and relearning; table of what a request costs SISA."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.data.splits import Sets
from unlearn.metrics.relearning import anamnesis_index, relearn_time
from unlearn.report.figures import split_losses
from unlearn.report.text import markdown_cell
from unlearn.training_time import costs

PUBLISHED = (
    {
        "model": "published, retrained",
        "mia_regression": 0.50,
        "initial_loss": 0.935,
        "final_loss": 0.706,
        "test_loss": 0.735,
        "test_loss_std": 0.230,
        "forget_loss": 0.712,
        "forget_loss_std": 0.150,
    },
    {
        "model": "published, fine-tuned",
        "mia_regression": 0.50,
        "initial_loss": 0.779,
        "final_loss": 0.693,
        "test_loss": 0.738,
        "test_loss_std": 0.275,
        "forget_loss": 0.719,
        "forget_loss_std": 0.180,
    },
)
"""The table that this system is compared with; nothing else of it is known."""

COLUMNS = (
    "mia_regression",
    "initial_loss",
    "final_loss",
    "test_loss",
    "test_loss_std",
    "forget_loss",
    "forget_loss_std",
    "forget_accuracy",
    "test_accuracy",
    "balanced_accuracy",
    "relearn_steps",
    "anamnesis_index",
    "seconds",
)

LEGEND = """\
**Attack**: accuracy of a logistic regression that tells the losses of the forget set \
from those of test data of its class; 0.5 is guessing. **First → last loss**: mean \
training loss of the first epoch and of the epoch whose model is kept, in the \
objective of the method. **Test loss**, **Forget loss**: mean ± standard deviation \
over examples; test data without the forgotten class. **Balanced**: mean over the \
classes of the accuracy on their test data; always answering with the commonest of \
six is 16.7. **Relearn**: steps of training \
on the forget set until its accuracy is within 5 % of the original's; ∞: not within \
the steps tried. **Anamnesis Index**: these steps over those of `retrain`; 1 is ideal, \
near 0 remembers. `untrained` is a model from scratch. All published losses but \
the two first ones are near 0.693 = ln 2, the loss of guessing between two classes; \
here there are seven."""

SISA = """\
What a request for so many random examples at once makes SISA train again: the mean \
over requests of examples × epochs, as a share of training one model anew."""


def losses_row(evaluation: Mapping, sets: Sets) -> dict[str, float]:
    """Returns mean and standard deviation of the losses on test and forget set."""
    losses = split_losses(evaluation, sets)
    gone = np.isin(sets.test_labels, sets.forget_classes)
    row = {}
    for name, values in (("test", losses["test"][~gone]), ("forget", losses["forget"])):
        row[f"{name}_loss"] = float(np.mean(values))
        row[f"{name}_loss_std"] = float(np.std(values))
    return row


def trained_losses(
    lines: Sequence[Mapping], model: str, seed: int, last: int | None = None
) -> dict[str, float]:
    """Returns the losses of the first epoch and of epoch `last`, or the last of all."""
    curve = [e["loss"] for e in lines if (e["stage"], e["seed"]) == (model, seed)]
    if not curve:
        return {"initial_loss": math.nan, "final_loss": math.nan}
    return {"initial_loss": curve[0], "final_loss": curve[(last or len(curve)) - 1]}


def relearn_row(curve, retrained, original: float) -> dict[str, float]:
    """Returns steps to relearn and Anamnesis Index of a curve of forget accuracies."""
    return {
        "relearn_steps": relearn_time(curve, 0.95 * original),
        "anamnesis_index": anamnesis_index(curve, retrained, original),
    }


def markdown(rows: Sequence[Mapping]) -> str:
    """Returns a table: a line a model, means over its seeds, and the published ones."""
    models = {}
    for row in rows:
        models.setdefault(row["model"], []).append(row)
    blank = dict.fromkeys(COLUMNS, math.nan)
    means = [
        {"model": model}
        | {n: _mean([(blank | row)[n] for row in own]) for n in COLUMNS}
        for model, own in models.items()
    ]
    titles = ("Model", "Attack", "First → last loss", "Test loss", "Forget loss")
    titles += ("Forget acc. %", "Test acc. %", "Balanced %")
    titles += ("Relearn", "Anamnesis Index", "Seconds")
    lines = [
        "| " + " | ".join(titles) + " |",
        "| :-- |" + " --: |" * (len(titles) - 1),
    ]
    for row in (*means, *(blank | row for row in PUBLISHED)):
        cells = [
            markdown_cell(str(row["model"])),
            _number(row["mia_regression"]),
            _pair(row["initial_loss"], "→", row["final_loss"]),
            _pair(row["test_loss"], "±", row["test_loss_std"]),
            _pair(row["forget_loss"], "±", row["forget_loss_std"]),
            _number(100 * row["forget_accuracy"], 1),
            _number(100 * row["test_accuracy"], 1),
            _number(100 * row["balanced_accuracy"], 1),
            _number(row["relearn_steps"], 0),
            _number(row["anamnesis_index"]),
            _number(row["seconds"], 1),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", LEGEND, ""])


def sisa_costs(size: int, requests: Sequence[int], settings: Mapping) -> list[dict]:
    """Returns what SISA trains again, and what one model would, by request size."""
    parts = {name: settings[name] for name in ("shards", "slices", "epochs")}
    return [
        {
            "requests": count,
            "retrained_examples": costs.expected_cost(size, count, **parts),
            "full_examples": costs.full_cost(size, count, epochs=parts["epochs"]),
        }
        for count in requests
    ]


def sisa_markdown(rows: Sequence[Mapping]) -> str:
    """Returns a table: a line a row of `sisa_costs`."""
    lines = [
        "| Request | Examples × epochs | one model anew | share, % |",
        "| --: | --: | --: | --: |",
    ]
    for row in rows:
        again, anew = row["retrained_examples"], row["full_examples"]
        share = _number(100 * again / anew, 1)
        lines.append(f"| {row['requests']} | {again:.0f} | {anew} | {share} |")
    return "\n".join([*lines, "", SISA, ""])


def _mean(values) -> float:
    return float(np.mean(np.asarray(values, float)))


def _number(value, digits=2) -> str:
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def _pair(first, sign, second) -> str:
    if math.isnan(first) and math.isnan(second):
        return "–"
    return f"{_number(first, 3)} {sign} {_number(second, 3)}"
