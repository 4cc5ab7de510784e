"""Figures of the audits: leak against accuracy, ROC of the attack, margins."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unlearn.report import plotting
from unlearn.report.model_order import finite, marked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST_RATE = 1e-3  # where the axes of the ROC begin
PARTS = {"targets": "forget", "rest": "retain", "test": "test"}
MARKERS = {  # label: marker, colour, filled
    "original": ("s", "#8a8a8a", True),
    "retrain": ("s", "#202020", True),
    "within": ("o", "#0d6a3b", True),
    "inconclusive": ("D", "#b07800", True),
    "outside": ("X", "#b3261e", True),
    "not concluded": ("o", "#59606a", False),
    "control": ("^", "#59606a", False),
}
POINTS = -100, -50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50, 100
FEW = 6  # methods that are named; more have the numbers of the page's table


def leak_against_accuracy(
    models: Sequence[Mapping], tolerances: Mapping, title: str = ""
) -> "Figure":
    """Draws the leak of every model against the test accuracy it keeps.

    Good is in the shaded zone, where retraining is: the leak is no more than guessing
    and the accuracy no less than that of retraining, within the tolerances. Models
    whose leak or accuracy is unknown are left out. Legible from a width of 350 CSS
    pixels.

    Args:
      models: as in `schema.Facts`; `leak` is an AUC, `lost` a share.
      tolerances: see `schema.Tolerances`.
    """
    shown = [
        (mark, model)
        for mark, model in marked(models)
        if np.isfinite([_ends(model[key])[0] for key in ("leak", "lost")]).all()
    ]
    figure = plotting.new_figure(4.2, 4.3)
    panel = figure.subplots()
    plotting.style(
        panel,
        "",
        "test accuracy against retraining (points)",
        "leak: AUC of the strongest attack",
        grid="both",
    )
    lost = 100 * np.array([_ends(model["lost"]) for _, model in shown]).reshape(-1, 3)
    leak = np.array([_ends(model["leak"]) for _, model in shown]).reshape(-1, 3)
    for group, (marker, colour, filled) in MARKERS.items():
        chosen = [i for i, (_, model) in enumerate(shown) if _group(model) == group]
        if not chosen:
            continue
        x, y = lost[chosen], leak[chosen]
        panel.errorbar(
            x[:, 0],
            y[:, 0],
            xerr=np.maximum(np.abs(x[:, 1:] - x[:, :1]), 0).T,
            yerr=np.maximum(np.abs(y[:, 1:] - y[:, :1]), 0).T,
            fmt=marker,
            color=colour,
            markerfacecolor=colour if filled else "white",
            markersize=6,
            elinewidth=0.8,
            ecolor=(*_rgb(colour), 0.45),
            label="_" if group in plotting.MODELS else group,  # those are named
        )
    _limit(panel, lost, leak, finite(tolerances["leak"]))
    _shade(panel, finite(tolerances["leak"]), 100 * finite(tolerances["utility"]))
    plotting.add_legend(figure, 3)
    plotting.add_title(figure, "Leak against test accuracy", title)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    few = sum(model["kind"] == "method" for _, model in shown) <= FEW
    texts = [
        " ".join(filter(None, (mark, model["name"] if few or not mark else "")))
        for mark, model in shown
    ]
    lines = panel.get_xlim()[0], 0.5
    plotting.label_points(figure, panel, lost[:, 0], leak[:, 0], texts, (), lines)
    return figure


def _ends(interval) -> np.ndarray:
    """Value, low and high of an interval; an end that is unknown is the value."""
    value, *ends = (finite(interval[key]) for key in ("value", "low", "high"))
    return np.array([value, *(value if np.isnan(end) else end for end in ends)])


def _group(model) -> str:
    if model["kind"] == "reference":
        return "retrain" if model["name"] == "retrain" else "original"
    return "control" if model["kind"] == "control" else model["verdict"]


def _rgb(colour):
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _limit(panel, lost, leak, tolerance) -> None:
    """Sets the axes: losses below a point are spread, large ones pressed together."""
    panel.set_xscale("asinh", linear_width=1.0)
    low, high = min(-1.5, lost.min(initial=0)), max(1.0, lost.max(initial=0))
    panel.set_xlim(1.25 * low, 1.25 * high)
    inside = [x for x in POINTS if 1.25 * low <= x <= 1.25 * high]
    panel.set_xticks(
        inside, [f"{x:+d}".replace("-", "−") if x else "0" for x in inside]
    )
    panel.minorticks_off()
    reach = 0.02 if np.isnan(tolerance) else 1.5 * tolerance
    low = min(0.5 - reach, leak.min(initial=0.5))
    high = max(0.5 + reach, leak.max(initial=0.5))
    margin = 0.06 * (high - low)
    panel.set_ylim(low - margin, high + margin)
    panel.axhline(0.5, color="0.45", linewidth=0.9, linestyle="--")


def _shade(panel, leak, lost) -> None:
    """Shades where retraining is."""
    if np.isfinite(leak) and np.isfinite(lost):
        right = panel.get_xlim()[1]
        panel.fill_between(
            [-lost, right],
            panel.get_ylim()[0],
            0.5 + leak,
            color="#009E73",
            alpha=0.16,
            linewidth=0,
            label="as retraining",
        )


def roc(
    curves: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], title: str = ""
) -> "Figure":
    """Draws the ROC of an attack: a panel a group of examples, a line a model.

    Both axes are logarithmic. `curves` maps a model to
    `{group: (false positive rates, true positive rates)}`; a group says in a few words
    which examples are attacked and what is told of them.
    """
    groups = list(next(iter(curves.values())))
    figure = plotting.new_figure(5.2 * len(groups), 4.9)
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    colours, styles = plotting.colours(curves), ("-", "--", "-.", ":")
    for panel, group in zip(panels, groups, strict=True):
        for number, (model, of_model) in enumerate(curves.items()):
            fpr, tpr = (
                np.maximum(rates, LOWEST_RATE / 10) for rates in of_model[group]
            )
            reference = model in plotting.MODELS
            panel.plot(
                fpr,
                tpr,
                color=colours[model],
                linestyle="-" if reference else styles[number % len(styles)],
                linewidth=2.2 if reference else 1.4,
                label=model,
                drawstyle="steps-post",
            )
        diagonal = np.geomspace(LOWEST_RATE / 10, 1, 50)
        panel.plot(diagonal, diagonal, color="0.7", linewidth=1, label="guessing")
        panel.set(
            xscale="log", yscale="log", xlim=(LOWEST_RATE, 1), ylim=(LOWEST_RATE, 1.05)
        )
        plotting.style(panel, group, "false positive rate", grid="both")
    panels[0].set_ylabel("true positive rate", fontsize=9)
    plotting.add_legend(figure, 4, panels[0])
    plotting.add_title(figure, "ROC of a likelihood-ratio attack", title)
    return figure


def margins(
    models: Mapping[str, Mapping[str, np.ndarray]], title: str = ""
) -> "Figure":
    """Draws the margins of forgotten, retained and unseen examples, a panel a model.

    `models` maps a name to `{targets, rest, test: float[S, M]}`.
    """
    columns, rows = min(3, len(models)), -(-len(models) // 3)
    figure = plotting.new_figure(3.6 * columns, 0.6 + 2.6 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel in panels.flat[len(models) :]:
        panel.set_visible(False)
    every = np.concatenate([x.ravel() for one in models.values() for x in one.values()])
    low, high = np.quantile(every, [0.002, 0.998])
    bins = np.linspace(low, high, 61)
    for number, (model, one) in enumerate(models.items()):
        panel, lowest = panels.flat[number], number + columns >= len(models)
        for key, name in PARTS.items():
            values = np.clip(one[key].ravel(), low, high)
            counts, _ = np.histogram(values, bins)
            share, colour = 100 * counts / max(len(values), 1), plotting.SETS[name]
            panel.stairs(share, bins, fill=True, color=colour, alpha=0.18)
            panel.stairs(share, bins, color=colour, linewidth=1.4, label=name)
            panel.axvline(np.median(values), color=colour, linestyle="--", linewidth=1)
        below = "margin of the true class (logits)" if lowest else ""
        plotting.style(panel, model, below, grid="y")
        panel.tick_params(labelbottom=lowest)
    for panel in panels[:, 0]:
        panel.set_ylabel("examples (% of the set)", fontsize=9)
    panels[0, 0].set_ylim(bottom=0)
    plotting.add_legend(figure, len(PARTS), panels[0, 0])
    plotting.add_title(figure, "Margins over all models (dashed: median)", title)
    return figure
