"""Figures of the audits: ROC of the per-example attack, distributions of margins."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from unlearn.report import plotting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST_RATE = 1e-3  # where the axes of the ROC begin
PARTS = {"targets": "forget", "rest": "retain", "test": "test"}


def roc(
    curves: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], title: str = ""
) -> "Figure":
    """Draws the ROC of an attack: a panel a group of examples, a line a model.

    Both axes are logarithmic. `curves` maps a model to
    `{group: (false positive rates, true positive rates)}`.
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
        plotting.style(panel, f"{group} targets", "false positive rate", grid="both")
    panels[0].set_ylabel("true positive rate", fontsize=9)
    plotting.add_legend(figure, 4, panels[0])
    plotting.add_title(figure, "U-LiRA: forgotten against never-seen examples", title)
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
