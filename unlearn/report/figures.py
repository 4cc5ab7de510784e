"""Figures of a run. Each function returns a matplotlib `Figure`; `save` writes it.

Figures are made with matplotlib's objects, never with pyplot, so nothing global is
touched. Accuracies come in as fractions and are drawn in percent.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unlearn.metrics.accuracy import confusion_matrix, losses, per_class_accuracy

DPI = 130
# Okabe and Ito's colours, which colour-blind people can tell apart.
SETS = {"forget": "#D55E00", "retain": "#0072B2", "test": "#009E73"}
MODELS = {"original": "#999999", "retrain": "#404040"}
METHODS = ("#CC79A7", "#56B4E9", "#E69F00", "#009E73", "#0072B2", "#D55E00")
SMALLEST_LOSS, LARGEST_LOSS = 1e-12, 1e2
MOST_CLASSES = 25


class Context(NamedTuple):
    """What the figures need to know of the data, the same for every model."""

    train_labels: np.ndarray  # int[N]
    test_labels: np.ndarray  # int[T]
    forget: np.ndarray  # int[F], indices into the training set
    retain: np.ndarray  # int[R], indices into the training set
    class_names: tuple[str, ...]
    forget_classes: tuple[int, ...]  # those forgotten as a whole
    title: str


def write_all(
    folder: Path | str,
    results: Sequence[Mapping],
    summary: Sequence[Mapping],
    context: Context,
    evaluation: Callable[[str, int], Mapping],
) -> list[Path]:
    """Write every figure as PNG into `folder` and return the paths.

    `evaluation(model, seed)` returns `train_logits` [N, K] and `test_logits` [T, K]. It
    is asked once for each seed of `original`, `retrain` and the two best methods. With
    no method, the figure of gap against time is left out.
    """
    methods = [
        row["model"] for row in summary if row["model"] not in MODELS and row["seeds"]
    ]
    finished = {row["model"] for row in summary if row["seeds"]}
    shown = [name for name in (*MODELS, *methods[:2]) if name in finished]
    losses = {model: [] for model in shown}
    confusions = {model: [] for model in shown}
    for row in results:
        model = row["model"]
        if model in shown and row.get("status", "ok") != "diverged":
            logits = evaluation(model, row["seed"])
            losses[model].append(split_losses(logits, context))
            confusions[model].append(
                confusion_matrix(logits["test_logits"], context.test_labels)
            )
    losses = {
        model: {name: np.concatenate([one[name] for one in seeds]) for name in SETS}
        for model, seeds in losses.items()
    }
    per_seed = {
        model: np.stack([per_class_accuracy(counts) for counts in confusions[model]])
        for model in shown[:3]
    }
    total = {model: sum(confusions[model]) for model in shown[:3]}
    figures = {"accuracy": accuracy_before_after(results, summary, context.title)}
    if shown:
        figures["per_class"] = per_class(per_seed, context)
        figures["loss_histograms"] = loss_histograms(losses, context.title)
        figures["confusion"] = confusion(total, context)
    if methods:
        figures["gap_against_time"] = gap_against_time(summary, context.title)
    paths = []
    for name, figure in figures.items():
        paths.append(Path(folder) / f"{name}.png")
        save(figure, paths[-1])
    return paths


def save(figure, path: Path | str) -> None:
    """Write the figure as PNG, all at once or not at all."""
    from unlearn.store import write_bytes

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, pil_kwargs={"compress_level": 4})
    write_bytes(Path(path), png.getvalue())


# From logits


def split_losses(logits: Mapping, context: Context) -> dict[str, np.ndarray]:
    """Losses of the forget, retain and test examples."""
    train = losses(logits["train_logits"], context.train_labels)
    test = losses(logits["test_logits"], context.test_labels)
    return {
        "forget": train[context.forget],
        "retain": train[context.retain],
        "test": test,
    }


# Figures


def accuracy_before_after(results, summary, title: str = ""):
    """Forget, retain and test accuracy of every model, a panel each.

    Large dots are means with 95 % intervals, small ones single seeds; the line and the
    band are the retrained model, which a method should neither miss nor pass.
    """
    rows = list(summary)
    places = {row["model"]: place for place, row in enumerate(rows)}
    figure = _figure(10, 1.75 + 0.3 * len(rows))
    panels = figure.subplots(1, 3, sharey=True)
    retrain = next(row for row in rows if row["model"] == "retrain")
    for panel, (name, colour) in zip(panels, SETS.items(), strict=True):
        metric = f"{name}_accuracy"
        mean, half = 100 * retrain[metric], 100 * retrain[f"{metric}_interval"]
        if math.isfinite(mean):
            panel.axvline(mean, color=MODELS["retrain"], linewidth=1, zorder=1)
        if math.isfinite(half):
            low, high = max(mean - half, 0), min(mean + half, 100)
            panel.axvspan(low, high, color="0.9", linewidth=0, zorder=0)
        seeds = [(100 * row[metric], places[row["model"]] + 0.27) for row in results]
        panel.scatter(*zip(*seeds, strict=True), s=9, color=colour, alpha=0.5, lw=0)
        for row in rows:
            place, mean = places[row["model"]], 100 * row[metric]
            half = 100 * row[f"{metric}_interval"]
            panel.errorbar(
                mean,
                place,
                xerr=half if math.isfinite(half) else None,
                fmt="o",
                color=MODELS.get(row["model"], colour),
                markersize=6,
                capsize=3,
                elinewidth=1.3,
            )
            if not math.isfinite(mean):
                panel.text(
                    0.5,
                    place,
                    "diverged",
                    transform=panel.get_yaxis_transform(),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="0.5",
                    style="italic",
                )
        values = [value for value, _ in seeds if math.isfinite(value)] or [0, 100]
        low, high = min(values), max(values)
        margin = max(0.06 * (high - low), 1 - (high - low) / 2, 0.1)
        panel.set_xlim(low - margin, high + margin)
        panel.set_yticks(range(len(rows)), [row["model"] for row in rows])
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.axhline(1.5, color="0.7", linewidth=0.8, linestyle=":")
        _style(panel, f"{name} set", "accuracy (%)", grid="x")
    count = retrain["seeds"] + retrain["diverged"]
    what = f"mean and 95 % interval, {count} seeds" if count > 1 else "1 seed"
    _title(figure, f"Accuracy before and after unlearning ({what})", title)
    return figure


def per_class(accuracies: Mapping[str, np.ndarray], context: Context):
    """Test accuracy of each class, a bar a model.

    `accuracies` maps a model to [seeds, K]; bars are means, whiskers the lowest and
    the highest seed. With many classes only those are drawn that change most.
    """
    means = {model: 100 * np.mean(a, axis=0) for model, a in accuracies.items()}
    every = np.stack(list(means.values()))
    classes = np.arange(every.shape[1])
    what = "Test accuracy of each class"
    if len(classes) > MOST_CLASSES:
        change = np.nan_to_num(every.max(axis=0) - every.min(axis=0), nan=-1)
        change[list(context.forget_classes)] = np.inf
        classes = np.sort(np.argsort(-change, kind="stable")[:MOST_CLASSES])
        what += f" (the {MOST_CLASSES} of {every.shape[1]} that change most)"
    bars = len(means) * len(classes)
    figure = _figure(max(6.5, 1.5 + 0.9 * len(classes)) if bars < 60 else 13, 4)
    panel = figure.subplots()
    width = 0.84 / len(means)
    colours = _colours(means)
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
    names = [
        context.class_names[i] + "\n(forgotten)" * (i in context.forget_classes)
        for i in classes
    ]
    drawn = [len(context.class_names[i]) for i in classes]
    slanted = sum(drawn) > 9 * figure.get_figwidth()
    panel.set_xticks(range(len(classes)), names)
    _mark_forgotten(panel.get_xticklabels(), classes, context)
    if slanted:
        for label in panel.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    panel.set_xlim(-0.6, len(classes) - 0.4)
    panel.set_ylim(0, 108)
    panel.set_yticks(range(0, 101, 20))
    _style(panel, "", "class", "test accuracy (%)", grid="y")
    _legend(figure, len(means))
    seeds = max(len(a) for a in accuracies.values())
    if seeds > 1:
        what += f", mean and range of {seeds} seeds"
    _title(figure, what, context.title)
    return figure


def loss_histograms(losses: Mapping[str, Mapping[str, np.ndarray]], title: str = ""):
    """Histograms of the forget, retain and test losses, a panel a model.

    `losses` maps a model to `split_losses`. All panels share their bins; losses out of
    range are counted in the first and the last bin.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    columns = min(len(losses), 2)
    lines = math.ceil(len(losses) / columns)
    figure = _figure(5 * columns, 0.9 + 2.4 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    every = np.concatenate([one[name] for one in losses.values() for name in SETS])
    lowest = np.clip(np.quantile(every, 0.01), SMALLEST_LOSS, 1e-2)
    bins = np.geomspace(lowest, np.clip(every.max(), 1, LARGEST_LOSS), 61)
    clipped = {
        model: {name: np.clip(one[name], bins[0], bins[-1]) for name in SETS}
        for model, one in losses.items()
    }
    for panel, (model, one) in zip(panels.flat, clipped.items(), strict=False):
        for name in ("retain", "test", "forget"):
            counts, _ = np.histogram(one[name], bins)
            share = 100 * counts / max(len(one[name]), 1)
            panel.stairs(share, bins, fill=True, color=SETS[name], alpha=0.18)
            panel.stairs(share, bins, color=SETS[name], linewidth=1.4, label=name)
        for name, colour in SETS.items():
            if len(one[name]):
                median = np.median(one[name])
                panel.axvline(median, color=colour, linestyle="--", linewidth=1)
        panel.set_xscale("log")
        panel.set_xlim(bins[0], bins[-1])
        panel.xaxis.set_major_locator(LogLocator(numticks=12))
        panel.xaxis.set_minor_locator(NullLocator())
        _style(panel, model, "", "", grid="y")
    for panel in panels[-1]:
        panel.set_xlabel("cross-entropy loss (nats)", fontsize=9)
    for panel in panels[:, 0]:
        panel.set_ylabel("examples (% of the set)", fontsize=9)
    for panel in panels.flat[len(losses) :]:
        panel.set_visible(False)
    panels.flat[0].set_ylim(bottom=0)
    _legend(figure, len(SETS), panels.flat[0])
    _title(figure, "Loss of each example before and after (dashed: median)", title)
    return figure


def confusion(counts: Mapping[str, np.ndarray], context: Context):
    """Confusion matrices on test data, a panel a model, each row in percent.

    `counts` maps a model to its `metrics.confusion_matrix`.
    """
    from matplotlib.colors import PowerNorm

    classes = len(context.class_names)
    numbers = classes <= 12
    named = classes <= MOST_CLASSES
    side = max(3.4, 0.42 * classes) if numbers else 4.4
    room = 0.07 * max(map(len, context.class_names)) if named else 0
    figure = _figure(side * len(counts) + 1.0 + 1.7 * room, side + 1.25 + 0.8 * room)
    panels = figure.subplots(1, len(counts), squeeze=False, sharey=True)[0]
    norm = PowerNorm(0.5, 0, 100)
    for panel, (model, count) in zip(panels, counts.items(), strict=True):
        total = count.sum(axis=1, keepdims=True)
        share = np.where(total > 0, 100 * count / np.maximum(total, 1), np.nan)
        image = panel.imshow(share, cmap="Blues", norm=norm)
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
        _style(panel, model, "predicted class", "", grid=None)
        if named:
            panel.set_xticks(range(classes), context.class_names)
            panel.set_yticks(range(classes), context.class_names)
            _mark_forgotten(panel.get_xticklabels(), range(classes), context)
            if max(map(len, context.class_names)) > 2:
                for label in panel.get_xticklabels():
                    label.set(rotation=45, ha="right", rotation_mode="anchor")
    if named:
        _mark_forgotten(panels[0].get_yticklabels(), range(classes), context)
    panels[0].set_ylabel("true class", fontsize=9)
    bar = figure.colorbar(image, ax=list(panels), fraction=0.03, pad=0.02)
    bar.set_ticks([0, 1, 5, 20, 50, 100])
    bar.set_label("% of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    _title(figure, "Confusion on test data before and after", context.title)
    return figure


def gap_against_time(summary: Sequence[Mapping], title: str = ""):
    """Avg. Gap of every method against its seconds: good is low and left.

    The band is the floor (two retrained models differ by as much), the vertical line
    the seconds of retraining, the dashed one the gap of the untouched original.
    """
    rows = {row["model"]: row for row in summary}
    points = [
        row
        for name, row in rows.items()
        if name not in MODELS
        and math.isfinite(row["avg_gap"])
        and 0 < row["seconds"] < math.inf
    ]
    figure = _figure(8 + 0.06 * len(points), 4.6 + 0.06 * len(points))
    panel = figure.subplots()
    panel.set_xscale("log")
    x = np.array([row["seconds"] for row in points])
    y = 100 * np.array([row["avg_gap"] for row in points])
    halves = 100 * np.array([row["avg_gap_interval"] for row in points])
    floor = _positive(100 * rows["retrain"]["avg_gap_floor"])
    before = math.nan
    if "original" in rows:
        before = _positive(100 * rows["original"]["avg_gap"])
    retrain = _positive(rows["retrain"]["seconds"])
    levels = [v for v in (*y, floor, before) if v > 0] or [1.0]
    log = max(levels) > 15 * min(levels)
    if log:
        panel.set_yscale("log")
        bottom, top = min(levels) / 2, max(levels) * 2
        _plain_log(panel.yaxis)
    else:
        highest = np.nanmax([*levels, *(y + np.nan_to_num(halves))])
        bottom, top = 0, 1.12 * highest
    panel.set_ylim(bottom, top)
    y = np.maximum(y, bottom)
    times = [v for v in (*x, retrain) if v > 0] or [1.0]
    panel.set_xlim(min(times) / 1.6, max(times) * 1.9)
    _plain_log(panel.xaxis)
    _style(panel, "", "seconds of the method (log scale)", "Avg. Gap (points)", "both")
    if math.isfinite(floor):
        panel.axhspan(bottom, floor, color="#009E73", alpha=0.13, linewidth=0)
    for value, half, seconds in zip(y, halves, x, strict=True):
        low = min(half, value - bottom) if math.isfinite(half) else 0
        panel.errorbar(
            seconds,
            value,
            yerr=[[max(low, 0)], [half]] if math.isfinite(half) else None,
            fmt="o",
            color="#0072B2",
            ecolor="#7FB8D8",
            markersize=6,
            capsize=2.5,
            elinewidth=1.1,
        )
    if math.isfinite(retrain):
        panel.axvline(retrain, color=MODELS["retrain"], linewidth=1.2)
    if math.isfinite(before):
        panel.axhline(before, color="0.45", linewidth=1.1, linestyle="--")
    _title(figure, "Avg. Gap to retraining against time", title)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    notes = []
    if math.isfinite(retrain):
        text = f"retrain {_duration(retrain)}"
        notes.append((text, retrain, top, (-4, -5), "right", "top", "black"))
    if math.isfinite(before):
        text = "original (nothing done)"
        left = panel.get_xlim()[0]
        notes.append((text, left, before, (5, 3), "left", "bottom", "0.35"))
    if math.isfinite(floor):
        text = "floor: two retrained models"
        at = min(floor, top), (5, -3)
        left = panel.get_xlim()[0]
        notes.append((text, left, at[0], at[1], "left", "top", "#00664B"))
    placed = [
        panel.annotate(
            text,
            (x_, y_),
            offset,
            textcoords="offset points",
            ha=ha,
            va=va,
            fontsize=8,
            color=colour,
            style="italic",
        )
        for text, x_, y_, offset, ha, va, colour in notes
    ]
    names = [row["model"] for row in points]
    _label_points(figure, panel, x, y, names, placed, (retrain, before))
    return figure


# Parts


def _figure(width, height):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _style(panel, title, xlabel, ylabel="", grid=None) -> None:
    panel.set_title(title, fontsize=10)
    panel.set_xlabel(xlabel, fontsize=9)
    panel.set_ylabel(ylabel, fontsize=9)
    panel.tick_params(labelsize=8.5, length=3, color="0.5")
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("0.5")
    if grid:
        panel.grid(axis=grid, color="0.92", linewidth=0.8)
        panel.set_axisbelow(True)


def _title(figure, what, title) -> None:
    figure.suptitle(f"{what}\n{title}" if title else what, fontsize=11)


def _legend(figure, columns, panel=None) -> None:
    handles, labels = (panel or figure.axes[0]).get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        fontsize=8.5,
        frameon=False,
    )


def _colours(models) -> dict[str, str]:
    methods = [model for model in models if model not in MODELS]
    return MODELS | {
        model: METHODS[i % len(METHODS)] for i, model in enumerate(methods)
    }


def _mark_forgotten(labels, classes, context) -> None:
    for label, one in zip(labels, classes, strict=True):
        if one in context.forget_classes:
            label.set(color=SETS["forget"], fontweight="bold")


def _plain_log(axis) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _positive(value) -> float:
    return value if 0 < value < math.inf else math.nan


def _duration(seconds) -> str:
    return f"{seconds:.2g} s" if seconds < 100 else f"{seconds:.0f} s"


def _label_points(figure, panel, x, y, texts, placed, lines) -> None:
    """Write a text beside each point where it covers nothing placed before.

    Each text takes the nearest of a ring of places, then of wider rings (with a line to
    its point), that is inside the panel and free; the least bad one if none is.
    """
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    centres = panel.transData.transform(np.column_stack([x, y])) if len(x) else []
    radius = 4.5 * scale
    taken = [[cx - radius, cy - radius, cx + radius, cy + radius] for cx, cy in centres]
    taken += [note.get_window_extent(renderer).extents for note in placed]
    inside = panel.get_window_extent(renderer).extents
    line_x, line_y = panel.transData.transform(lines)
    if math.isfinite(line_x):
        taken.append([line_x - scale, inside[1], line_x + scale, inside[3]])
    if math.isfinite(line_y):
        taken.append([inside[0], line_y - scale, inside[2], line_y + scale])
    angles = np.radians([0, 180, 45, -45, 135, -135, 90, -90, 22, -22, 158, -158])
    for (cx, cy), text in zip(centres, texts, strict=True):
        label = panel.text(0, 0, text, fontsize=8, transform=None)
        extents = label.get_window_extent(renderer)
        width, height = extents.width, extents.height
        best = None
        for distance in (7, 14, 24, 36, 50, 66, 84, 104):
            for angle in angles:
                dx, dy = np.cos(angle), np.sin(angle)
                left = cx + distance * scale * dx + (dx - 1) * width / 2
                low = cy + distance * scale * dy + (dy - 1) * height / 2
                box = np.array([left, low, left + width, low + height])
                outside = np.maximum(inside[:2] - box[:2], 0).sum()
                outside += np.maximum(box[2:] - inside[2:], 0).sum()
                cost = 1e3 * outside + _overlap(box, taken)
                if best is None or cost < best[0]:
                    best = cost, box, distance
            if best[0] == 0:
                break
        _, box, distance = best
        label.set_position(box[:2])
        label.set_verticalalignment("bottom")
        taken.append(box)
        if distance > 14:
            near = np.clip((cx, cy), box[:2], box[2:])
            ends = panel.transData.inverted().transform([(cx, cy), near])
            panel.plot(*ends.T, color="0.6", linewidth=0.7, zorder=1)


def _overlap(box, taken) -> float:
    """Area that a box [left, bottom, right, top] shares with others."""
    others = np.asarray(taken)
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    return float(np.prod(np.maximum(high - low, 0), axis=1).sum())
