"""Parts that every figure is made of: page, panels, colours, legend, safe text.

Figures are made with matplotlib's objects, never with pyplot, so nothing global is
touched. Names of classes and models may be any text: what draws one passes it through
`drawable`, as `style`, `add_title`, `add_legend`, `name_ticks` and `label_points` do.
"""

import functools
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from unlearn.data.splits import Sets
from unlearn.report.text import escape, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

DPI = 130
# Okabe and Ito's colours, which colour-blind people can tell apart.
SETS = {"forget": "#D55E00", "retain": "#0072B2", "test": "#009E73"}
MODELS = {"original": "#999999", "retrain": "#404040"}
PALETTE = ("#CC79A7", "#56B4E9", "#E69F00", "#009E73", "#0072B2", "#D55E00")
LONGEST_NAME = 32
LONGEST_TITLE = 72


# Page


def new_figure(width: float, height: float) -> "Figure":
    """Makes an empty matplotlib `Figure`, its sides in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: Path | str) -> None:
    """Writes the figure as PNG, all at once or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from unlearn.store import write_bytes

    assert isinstance(figure.canvas, FigureCanvasAgg)
    png = io.BytesIO()
    # `savefig` lays the figure out twice.
    figure.canvas.print_png(png, pil_kwargs={"compress_level": 4})
    write_bytes(Path(path), png.getvalue())


def add_title(figure: "Figure", what: str, title: str = "") -> None:
    """Writes what the figure shows above it, and below that the title of the run."""
    lines = [drawable(what, 200), drawable(title, LONGEST_TITLE)]
    figure.suptitle("\n".join(filter(None, lines)), fontsize=11)


def add_legend(figure: "Figure", columns: int, panel: "Axes | None" = None) -> None:
    """Writes the labels of a panel, by default the first one, below the figure."""
    handles, labels = (panel or figure.axes[0]).get_legend_handles_labels()
    figure.legend(
        handles,
        [drawable(label) for label in labels],
        loc="outside lower center",
        ncols=columns,
        fontsize=8.5,
        frameon=False,
    )


# Panels


def style(
    panel: "Axes",
    title: str,
    xlabel: str,
    ylabel: str = "",
    grid: Literal["both", "x", "y"] | None = None,
) -> None:
    """Gives a panel its title, the labels of its axes, and a grid (x, y or both)."""
    panel.set_title(drawable(title, LONGEST_TITLE), fontsize=10)
    panel.set_xlabel(drawable(xlabel, LONGEST_TITLE), fontsize=9)
    panel.set_ylabel(drawable(ylabel, LONGEST_TITLE), fontsize=9)
    panel.tick_params(labelsize=8.5, length=3, color="0.5")
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("0.5")
    if grid:
        panel.grid(axis=grid, color="0.92", linewidth=0.8)
        panel.set_axisbelow(True)


def name_ticks(
    axis: "Axis", names: Iterable, notes: Iterable[str] | None = None
) -> None:
    """Puts a tick with a name at 0, 1, 2, ..., and below a name its note, if any."""
    texts = [drawable(str(name)) for name in names]
    if notes is not None:
        pairs = zip(texts, notes, strict=True)
        texts = ["\n".join(filter(None, pair)) for pair in pairs]
    axis.set_ticks(range(len(texts)), texts)


def slant(labels: Iterable, degrees: float) -> None:
    """Turns the names below an axis, each still ending at its tick."""
    for label in labels:
        label.set(rotation=degrees, ha="right", rotation_mode="anchor")


def mark_forgotten(labels: Iterable, classes: Iterable[int], sets: Sets) -> None:
    """Makes the labels of forgotten classes bold and coloured."""
    for label, one in zip(labels, classes, strict=True):
        if one in sets.forget_classes:
            label.set(color=SETS["forget"], fontweight="bold")


def plain_log_axis(axis: "Axis") -> None:
    """Labels a logarithmic axis 0.1, 0.2, 0.5, 1, ..."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def colours(models: Iterable[str]) -> dict[str, str]:
    """Gives each model its colour; those of `MODELS` always have the same."""
    methods = [model for model in models if model not in MODELS]
    return MODELS | {
        model: PALETTE[i % len(PALETTE)] for i, model in enumerate(methods)
    }


# Text


def drawable(text: str, longest: int = LONGEST_NAME) -> str:
    r"""Makes any text safe to draw, for matplotlib's `set_text`.

    One line of at most `longest` characters, its middle left out; no dollar sign starts
    mathematics; a character without a glyph in the font is written as `\u732b`.
    """
    text, glyphs = printable(text), _glyphs()
    text = "".join(c if ord(c) in glyphs else escape(c) for c in text)
    if len(text) > longest:
        tail = longest // 3
        text = f"{text[: longest - 1 - tail]}…{text[-tail:]}"
    return text.replace("$", r"\$")


def drawn_length(text: str) -> int:
    """Counts the characters that are drawn of a name."""
    return len(drawable(text).replace(r"\$", "$"))


@functools.cache
def _glyphs() -> frozenset[int]:
    """Characters of the default font that it also has in bold."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = (findfont(FontProperties(weight=w)) for w in ("normal", "bold"))
    normal, bold = (frozenset(get_font(font).get_charmap()) for font in fonts)
    return normal & bold


def label_points(
    figure: "Figure",
    panel: "Axes",
    x: np.ndarray,
    y: np.ndarray,
    texts: Sequence[str],
    placed: Sequence,
    lines: tuple[float, float],
) -> None:
    """Writes a text beside each point where it covers nothing placed before.

    Each text takes the nearest of a ring of places, then of wider rings (with a line to
    its point), that is inside the panel and free; the least bad one if none is.

    Args:
      x, y: float[N], the points in data coordinates.
      texts: one a point.
      placed: texts that are there already.
      lines: the x of a vertical and the y of a horizontal line not to be covered; NaN
        if there is none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    assert isinstance(figure.canvas, FigureCanvasAgg)
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    centres = panel.transData.transform(np.column_stack([x, y])) if len(x) else []
    radius = 4.5 * scale
    ring = radius * np.array([-1, -1, 1, 1])
    taken = [np.array([cx, cy, cx, cy]) + ring for cx, cy in centres]
    taken += [note.get_window_extent(renderer).extents for note in placed]
    inside = panel.get_window_extent(renderer).extents
    line_x, line_y = panel.transData.transform(lines)
    if math.isfinite(line_x):
        taken.append(np.array([line_x - scale, inside[1], line_x + scale, inside[3]]))
    if math.isfinite(line_y):
        taken.append(np.array([inside[0], line_y - scale, inside[2], line_y + scale]))
    angles = np.radians([0, 180, 45, -45, 135, -135, 90, -90, 22, -22, 158, -158])
    for (cx, cy), text in zip(centres, texts, strict=True):
        label = panel.text(0, 0, drawable(text), fontsize=8, transform=None)
        extents = label.get_window_extent(renderer)
        width, height = extents.width, extents.height
        best = math.inf, np.zeros(4), 0
        for distance in (7, 14, 24, 36, 50, 66, 84, 104):
            for angle in angles:
                dx, dy = np.cos(angle), np.sin(angle)
                left = cx + distance * scale * dx + (dx - 1) * width / 2
                low = cy + distance * scale * dy + (dy - 1) * height / 2
                box = np.array([left, low, left + width, low + height])
                outside = np.maximum(inside[:2] - box[:2], 0).sum()
                outside += np.maximum(box[2:] - inside[2:], 0).sum()
                cost = 1e3 * outside + _overlap(box, taken)
                if cost < best[0]:
                    best = cost, box, distance
            if best[0] == 0:
                break
        _, box, distance = best
        label.set_position((box[0], box[1]))
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
