"""The figure of a run that weighs closeness to retraining against time."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unlearn.report import plotting

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gap_against_time(summary: Sequence[Mapping], title: str = "") -> "Figure":
    """Draws Avg. Gap of every method against its seconds: good is low and left.

    The band is the floor (two retrained models differ by as much), the vertical line
    the seconds of retraining, the dashed one the gap of the untouched original.
    """
    rows = {row["model"]: row for row in summary}
    points = [
        row
        for name, row in rows.items()
        if name not in plotting.MODELS
        and math.isfinite(row["avg_gap"])
        and 0 < row["seconds"] < math.inf
    ]
    figure = plotting.new_figure(8 + 0.06 * len(points), 4.6 + 0.06 * len(points))
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
        plotting.plain_log_axis(panel.yaxis)
    else:
        highest = np.nanmax([*levels, *(y + np.nan_to_num(halves))])
        bottom, top = 0, 1.12 * highest
    panel.set_ylim(bottom, top)
    y = np.maximum(y, bottom)
    times = [v for v in (*x, retrain) if v > 0] or [1.0]
    panel.set_xlim(min(times) / 1.6, max(times) * 1.9)
    plotting.plain_log_axis(panel.xaxis)
    plotting.style(
        panel, "", "seconds of the method (log scale)", "Avg. Gap (points)", "both"
    )
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
        panel.axvline(retrain, color=plotting.MODELS["retrain"], linewidth=1.2)
    if math.isfinite(before):
        panel.axhline(before, color="0.45", linewidth=1.1, linestyle="--")
    plotting.add_title(figure, "Avg. Gap to retraining against time", title)
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
    plotting.label_points(figure, panel, x, y, names, placed, (retrain, before))
    return figure


def _positive(value) -> float:
    return value if 0 < value < math.inf else math.nan


def _duration(seconds) -> str:
    return f"{seconds:.2g} s" if seconds < 100 else f"{seconds:.0f} s"
