"""Figures of a run: accuracies, losses, confusions, and how close each method comes.

Each function returns a matplotlib `Figure`; `plotting.save` writes it. Accuracies come
in as fractions and are drawn in percent.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unlearn.data.splits import Sets
from unlearn.metrics.accuracy import (
    Outputs,
    class_accuracies,
    confusions,
    outputs_of,
)
from unlearn.report import plotting
from unlearn.report.gap_figure import gap_against_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST_LOSS, LARGEST_LOSS = 1e-12, 1e2
REACH = 2  # ranges of the seeds; of three seeds no half-width is above 1.5
MOST_CLASSES = 25  # that are named, or drawn as bars
MOST_CONFUSED = 1000  # of more classes there is no confusion matrix: it is [K, K]


def write_all(
    folder: Path | str,
    results: Sequence[Mapping],
    summary: Sequence[Mapping],
    sets: Sets,
    evaluation: Callable[[str, int], Mapping],
) -> list[Path]:
    """Writes every figure as PNG into `folder` and returns the paths.

    `evaluation(model, seed)` returns what `metrics.outputs_of` takes. It is called once
    for each seed of `original`, `retrain` and the two best methods. With no method or
    no reference, the figure of gap against time is left out; with more than
    `MOST_CONFUSED` classes, that of confusions.
    """
    methods = [
        row["model"]
        for row in summary
        if row["model"] not in plotting.MODELS and row["seeds"]
    ]
    finished = {row["model"] for row in summary if row["seeds"]}
    shown = [name for name in (*plotting.MODELS, *methods[:2]) if name in finished]
    losses, tests = {model: [] for model in shown}, {model: [] for model in shown}
    for row in results:
        model = row["model"]
        if model in shown and row.get("status", "ok") != "diverged":
            found = evaluation(model, row["seed"])
            train = outputs_of(found, "train", sets.train_labels)
            test = outputs_of(found, "test", sets.test_labels)
            losses[model].append(losses_by_set(train, test, sets))
            tests[model].append(test.predictions)
    losses = {
        model: {
            name: np.concatenate([one[name] for one in seeds]) for name in plotting.SETS
        }
        for model, seeds in losses.items()
    }
    labels, classes = sets.test_labels, len(sets.class_names)
    per_seed = {
        model: np.stack(
            [class_accuracies(one, labels, classes) for one in tests[model]]
        )
        for model in shown[:3]
    }
    figures = {"accuracy": accuracy_before_after(results, summary, sets.title)}
    if shown:
        figures["per_class"] = per_class(per_seed, sets)
        figures["loss_histograms"] = loss_histograms(losses, sets.title)
    if shown and classes <= MOST_CONFUSED:
        total = {
            model: confusions(
                np.concatenate(tests[model]),
                np.tile(labels, len(tests[model])),
                classes,
            )
            for model in shown[:3]
        }
        figures["confusion"] = confusion(total, sets)
    if methods and any(row["model"] == "retrain" for row in summary):
        figures["gap_against_time"] = gap_against_time(summary, sets.title)
    paths = []
    for name, figure in figures.items():
        paths.append(Path(folder) / f"{name}.png")
        plotting.save(figure, paths[-1])
    return paths


# From what is kept of a model


def split_losses(evaluation: Mapping, sets: Sets) -> dict[str, np.ndarray]:
    """Computes the losses of the forget, retain and test examples, float64[n] each.

    `evaluation` is what `metrics.outputs_of` takes.
    """
    train = outputs_of(evaluation, "train", sets.train_labels)
    test = outputs_of(evaluation, "test", sets.test_labels)
    return losses_by_set(train, test, sets)


def losses_by_set(train: Outputs, test: Outputs, sets: Sets) -> dict[str, np.ndarray]:
    """Returns the losses of the forget, retain and test examples, float64[n] each."""
    return {
        "forget": train.losses[sets.forget],
        "retain": train.losses[sets.retain],
        "test": test.losses,
    }


# Figures


def accuracy_before_after(
    results: Sequence[Mapping], summary: Sequence[Mapping], title: str = ""
) -> "Figure":
    """Draws forget, retain and test accuracy of every model, a panel each.

    Large dots are means with 95 % intervals, small ones single seeds; the line and the
    band are the retrained model, which a method should neither miss nor pass.
    """
    rows = list(summary)
    heights = {row["model"]: height for height, row in enumerate(rows)}
    figure = plotting.new_figure(10, 1.75 + 0.3 * len(rows))
    panels = figure.subplots(1, 3, sharey=True)
    retrain = next((row for row in rows if row["model"] == "retrain"), None)
    for panel, (name, colour) in zip(panels, plotting.SETS.items(), strict=True):
        metric = f"{name}_accuracy"
        mean = half = math.nan
        if retrain:
            mean, half = 100 * retrain[metric], 100 * retrain[f"{metric}_interval"]
        if math.isfinite(mean):
            panel.axvline(mean, color=plotting.MODELS["retrain"], linewidth=1, zorder=1)
        if math.isfinite(half):
            low, high = max(mean - half, 0), min(mean + half, 100)
            panel.axvspan(low, high, color="0.9", linewidth=0, zorder=0)
        seeds = [(100 * row[metric], heights[row["model"]] + 0.27) for row in results]
        panel.scatter(*zip(*seeds, strict=True), s=9, color=colour, alpha=0.5, lw=0)
        for row in rows:
            height, mean = heights[row["model"]], 100 * row[metric]
            half = 100 * row[f"{metric}_interval"]
            panel.errorbar(
                mean,
                height,
                xerr=half if math.isfinite(half) else None,
                fmt="o",
                color=plotting.MODELS.get(row["model"], colour),
                markersize=6,
                capsize=3,
                elinewidth=1.3,
            )
            if not math.isfinite(mean):
                panel.text(
                    0.5,
                    height,
                    "diverged",
                    transform=panel.get_yaxis_transform(),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="0.5",
                    style="italic",
                )
        low, high = _axis_ends([value for value, _ in seeds], rows, metric)
        margin = max(0.06 * (high - low), 1 - (high - low) / 2, 0.1)
        panel.set_xlim(low - margin, high + margin)
        panel.locator_params(axis="x", nbins=5)
        plotting.name_ticks(panel.yaxis, [row["model"] for row in rows])
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.axhline(
            1.5 if retrain else 0.5, color="0.7", linewidth=0.8, linestyle=":"
        )
        plotting.style(panel, f"{name} set", "accuracy (%)", grid="x")
    count = (retrain or rows[0])["seeds"] + (retrain or rows[0])["diverged"]
    what = f"mean and 95 % interval, {count} seeds" if count > 1 else "1 seed"
    plotting.add_title(figure, f"Accuracy before and after unlearning ({what})", title)
    return figure


def _axis_ends(
    values: Sequence[float], rows: Sequence[Mapping], metric: str
) -> tuple[float, float]:
    """Returns the ends of single seeds and intervals, those of retrain always.

    Other intervals count up to `REACH` times the range of the seeds: those of two
    seeds can be so wide that nothing else could be told apart.
    """
    values = [value for value in values if math.isfinite(value)] or [0, 100]
    low, high = min(values), max(values)
    reach, ends = REACH * (high - low), [low, high]
    for row in rows:
        mean, half = 100 * row[metric], 100 * row[f"{metric}_interval"]
        near = half <= reach or row["model"] == "retrain"
        if near and math.isfinite(mean) and math.isfinite(half):
            ends += [max(mean - half, 0), min(mean + half, 100)]
    return min(ends), max(ends)


def per_class(accuracies: Mapping[str, np.ndarray], sets: Sets) -> "Figure":
    """Draws the test accuracy of each class, a bar a model.

    `accuracies` maps a model to [seeds, K]; bars are means, whiskers the lowest and
    the highest seed. With many classes only those are drawn that change most.
    """
    means = {model: 100 * np.mean(a, axis=0) for model, a in accuracies.items()}
    every = np.stack(list(means.values()))
    classes = np.arange(every.shape[1])
    what = "Test accuracy of each class"
    if len(classes) > MOST_CLASSES:
        change = np.nan_to_num(every.max(axis=0) - every.min(axis=0), nan=-1)
        change[list(sets.forget_classes)] = np.inf
        classes = np.sort(np.argsort(-change, kind="stable")[:MOST_CLASSES])
        what += f" (the {MOST_CLASSES} of {every.shape[1]} that change most)"
    bars = len(means) * len(classes)
    width = max(6.5, 1.5 + 0.9 * len(classes)) if bars < 60 else 13
    figure = plotting.new_figure(width, 4)
    panel = figure.subplots()
    width = 0.84 / len(means)
    colours = plotting.colours(means)
    for i, (model, mean) in enumerate(means.items()):
        at = np.arange(len(classes)) + (i - (len(means) - 1) / 2) * width
        top = 100 * np.max(accuracies[model], axis=0)[classes]
        bottom = 100 * np.min(accuracies[model], axis=0)[classes]
        middle = mean[classes]
        # A mean can round to just above the largest value.
        whiskers = np.maximum([middle - bottom, top - middle], 0)
        panel.bar(
            at,
            middle,
            width * 0.94,
            yerr=whiskers if (top > bottom).any() else None,
            label=model,
            color=colours[model],
            error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": "0.55"},
        )
        if bars <= 36:
            for x, y, value in zip(at, top, middle, strict=True):
                if math.isfinite(value):
                    text = f"{value:.0f}" if value in (0, 100) else f"{value:.1f}"
                    panel.text(x, y + 1, text, ha="center", va="bottom", fontsize=6.5)
    names = [sets.class_names[i] for i in classes]
    notes = ["(forgotten)" * (i in sets.forget_classes) for i in classes]
    plotting.name_ticks(panel.xaxis, names, notes)
    plotting.mark_forgotten(panel.get_xticklabels(), classes, sets)
    if sum(map(plotting.drawn_length, names)) > 9 * figure.get_figwidth():
        plotting.slant(panel.get_xticklabels(), 35)
    panel.set_xlim(-0.6, len(classes) - 0.4)
    panel.set_ylim(0, 108)
    panel.set_yticks(range(0, 101, 20))
    plotting.style(panel, "", "class", "test accuracy (%)", grid="y")
    plotting.add_legend(figure, len(means))
    seeds = max(len(a) for a in accuracies.values())
    if seeds > 1:
        what += f", mean and range of {seeds} seeds"
    plotting.add_title(figure, what, sets.title)
    return figure


def loss_histograms(
    losses: Mapping[str, Mapping[str, np.ndarray]], title: str = ""
) -> "Figure":
    """Draws histograms of the forget, retain and test losses, a panel a model.

    `losses` maps a model to `split_losses`. All panels share their bins; losses out of
    range are counted in the first and the last bin.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    columns = min(len(losses), 2)
    lines = math.ceil(len(losses) / columns)
    figure = plotting.new_figure(5 * columns, 0.9 + 2.4 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    every = np.concatenate(
        [one[name] for one in losses.values() for name in plotting.SETS]
    )
    lowest = np.clip(np.quantile(every, 0.01), SMALLEST_LOSS, 1e-2)
    bins = np.geomspace(lowest, np.clip(every.max(), 1, LARGEST_LOSS), 61)
    clipped = {
        model: {name: np.clip(one[name], bins[0], bins[-1]) for name in plotting.SETS}
        for model, one in losses.items()
    }
    for panel, (model, one) in zip(panels.flat, clipped.items(), strict=False):
        for name in ("retain", "test", "forget"):
            counts, _ = np.histogram(one[name], bins)
            share = 100 * counts / max(len(one[name]), 1)
            panel.stairs(share, bins, fill=True, color=plotting.SETS[name], alpha=0.18)
            panel.stairs(
                share, bins, color=plotting.SETS[name], linewidth=1.4, label=name
            )
        for name, colour in plotting.SETS.items():
            if len(one[name]):
                median = np.median(one[name])
                panel.axvline(median, color=colour, linestyle="--", linewidth=1)
        panel.set_xscale("log")
        panel.set_xlim(bins[0], bins[-1])
        panel.xaxis.set_major_locator(LogLocator(numticks=12))
        panel.xaxis.set_minor_locator(NullLocator())
        plotting.style(panel, model, "", "", grid="y")
    for panel in panels[-1]:
        panel.set_xlabel("cross-entropy loss (nats)", fontsize=9)
    for panel in panels[:, 0]:
        panel.set_ylabel("examples (% of the set)", fontsize=9)
    for panel in panels.flat[len(losses) :]:
        panel.set_visible(False)
    panels.flat[0].set_ylim(bottom=0)
    plotting.add_legend(figure, len(plotting.SETS), panels.flat[0])
    what = "Loss of each example before and after (dashed: median)"
    plotting.add_title(figure, what, title)
    return figure


def confusion(counts: Mapping[str, np.ndarray], sets: Sets) -> "Figure":
    """Draws confusion matrices on test data, a panel a model, each row in percent.

    `counts` maps a model to its `metrics.confusion_matrix`.
    """
    from matplotlib.colors import PowerNorm

    classes = len(sets.class_names)
    numbers = classes <= 12
    named = classes <= MOST_CLASSES
    side = max(3.4, 0.42 * classes) if numbers else 4.4
    longest = max(map(plotting.drawn_length, sets.class_names))
    room = 0.07 * longest if named else 0
    figure = plotting.new_figure(
        side * len(counts) + 1.0 + 1.7 * room, side + 1.25 + 1.05 * room
    )
    panels = figure.subplots(1, len(counts), squeeze=False, sharey=True)[0]
    norm = PowerNorm(0.5, 0, 100)
    for panel, (model, count) in zip(panels, counts.items(), strict=True):
        total = count.sum(axis=1, keepdims=True)
        share = np.where(total > 0, 100 * count / np.maximum(total, 1), np.nan)
        panel.imshow(share, cmap="Blues", norm=norm)
        if numbers:
            for (i, j), value in np.ndenumerate(share):
                if value > 0:
                    panel.text(
                        j,
                        i,
                        f"{value:.1f}" if value < 9.95 else f"{value:.0f}",
                        ha="center",
                        va="center",
                        fontsize=6.5,
                        color="white" if value > 35 else "black",
                    )
        plotting.style(panel, model, "predicted class", "", grid=None)
        if named:
            plotting.name_ticks(panel.xaxis, sets.class_names)
            plotting.name_ticks(panel.yaxis, sets.class_names)
            plotting.mark_forgotten(panel.get_xticklabels(), range(classes), sets)
            if longest > 2:
                plotting.slant(panel.get_xticklabels(), 45)
    if named:
        plotting.mark_forgotten(panels[0].get_yticklabels(), range(classes), sets)
    panels[0].set_ylabel("true class", fontsize=9)
    image = panels[-1].images[0]
    bar = figure.colorbar(image, ax=list(panels), fraction=0.03, pad=0.02)
    bar.set_ticks([0, 1, 5, 20, 50, 100])
    bar.set_label("% of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    plotting.add_title(figure, "Confusion on test data before and after", sets.title)
    return figure
