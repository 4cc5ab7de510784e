"""The summary for people: a Markdown table, and one for a terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn.metrics import columns
from unlearn.metrics.equivalence import TOLERANCE
from unlearn.metrics.gaps import SCORES
from unlearn.metrics.purpose import FORGET, TEST
from unlearn.report.summary import EQUAL
from unlearn.report.text import encodable, markdown_cell, printable

if TYPE_CHECKING:
    from rich.console import Console

MARK = "†"  # of a method that does not reach its purpose
SHOWN = columns.labels(*columns.STANDARD)

LEGEND = f"""\
- **Forget, Retain, Test**: accuracy (%) on the examples to forget, on those kept, and \
on test data; unlearning accuracy is UA = 100 − Forget.
- **MIA**: share (%) of the forgotten examples that a membership attack on the \
model's confidence takes for examples never seen.
- **in parentheses**: the gap to `retrain`, that is the mean absolute difference to \
the retrained model of the same seed, in points. Good is close to `retrain`: \
forgetting more than retraining does is a failure as well.
- **Avg. Gap**: mean of the gaps of Forget, Retain, Test and MIA, in points (lower is \
better). **ToW**: Tug-of-War, the product of 1 − gap over Forget, Retain and Test, \
in % (higher is better).
- **floor**: the same quantities between two models retrained with different seeds. \
Below it no method can be distinguished from retraining.
- **vs floor**: Avg. Gap against the floor, across seeds, with 95 % confidence. \
*within*: at most {100 * TOLERANCE:.0f} % farther from retraining than that is from \
itself; *outside*: farther than the floor; *inconclusive*: neither can be shown, and \
more seeds would decide (a perfect method is within with 10 seeds, often not with 5); \
*too few seeds*: the test needs three.
- **†**: the method does not reach its purpose here (`misses` in summary.csv says \
why). Its forget accuracy on a class is more than {100 * FORGET:.0f} points from that \
of retraining, or its Avg. Gap on other examples is larger than that of doing nothing; \
or it loses more than {100 * TEST:.0f} points of test accuracy to retraining.
- **Seconds**: the method alone, preparation included, compilation (its own column: \
the largest over seeds) and evaluation apart. **Speed-up**: seconds of `retrain`, or \
of the shortest `retrain_short` that loses at most {100 * EQUAL:g} points of test \
accuracy to it, / seconds of the method.
"""


def summary_markdown(summary: Sequence[Mapping], notes: Sequence[str] = ()) -> str:
    """Writes the summary as a Markdown table in percent, with its legend.

    `notes` are sentences that come first.
    """
    heads = ["Model", *SHOWN.values(), "Avg. Gap ↓", "ToW ↑", "vs floor"]
    heads += ["Seconds", "Compile s", "Speed-up"]
    lines = [
        *(f"> {markdown_cell(note)}.\n" for note in notes),
        _caption(summary) + ".",
        "",
        "| " + " | ".join(heads) + " |",
        "| :-- |" + " --: |" * (len(heads) - 1),
    ]
    floor = [f"({_percent(summary[0][f'{name}_floor'])})" for name in SHOWN]
    floor += [_percent(summary[0][f"{name}_floor"]) for name in SCORES]
    if _has_reference(summary):
        lines.append(f"| *floor* | {' | '.join(floor)} | | | | |")
    for row in summary:
        reference = row["model"] == "retrain"
        name = markdown_cell(_name(row))
        cells = [f"**{name}**" if reference else name]
        for name in SHOWN:
            gap = row[f"{name}_gap"]
            hide = reference or math.isnan(gap)
            cells.append(_value(row, name) + ("" if hide else f" ({_percent(gap)})"))
        hide = reference or not _has_reference(summary)
        cells += ["" if hide else _value(row, name) for name in SCORES]
        cells += [row["verdict"]]
        cells += [_seconds(row["seconds"]), _seconds(row["compile_seconds"])]
        cells += [_speedup(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", LEGEND])


def print_table(summary: Sequence[Mapping], console: "Console | None" = None) -> None:
    """Prints the summary to a terminal, 100 columns wide where there is none.

    Where it does not fit, the intervals are left out, then the last columns.
    """
    from rich.console import Console

    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=100)
    unbounded = console.options.update(max_width=1000)
    for intervals, count in ((True, 10), (False, 10), (False, 7)):
        table = _table(summary, intervals, count, console.encoding)
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    console.print(table)


def _table(summary, intervals, count, encoding):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def plain(text):
        if "utf" not in encoding.lower():
            text = text.translate({177: "+-", 8211: "-", 215: "x", 8224: "*"})
        return encodable(text, encoding)

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        title=plain(_caption(summary)),
        title_justify="left",
        caption=plain(_foot(summary)),
        caption_justify="left",
    )
    table.add_column("Model", no_wrap=True, overflow="crop")
    names = [*SHOWN.values(), "Avg.Gap", "ToW", "vs floor", "Seconds", "Speed-up"]
    for name in names[: count - 1]:
        table.add_column(name, justify="right", no_wrap=True, overflow="crop")

    def add(cells, style, end=False):
        cells = [Text(plain(cell)) for cell in cells[:count]]
        table.add_row(*cells, style=style, end_section=end)

    for row in summary:
        reference = row["model"] == "retrain"
        cells = [printable(_name(row))]
        cells += [_value(row, name, 1, "±", intervals) for name in SHOWN]
        if reference:
            cells += ["", "", ""]
        elif not _has_reference(summary):
            cells += ["", "", row["verdict"]]
        else:
            cells += [_value(row, "avg_gap", 2, "±", intervals)]
            cells += [_percent(row["tug_of_war"])]
            cells += [row["verdict"]]
        add([*cells, _seconds(row["seconds"]), _speedup(row)], _style(row))
        if reference:
            floor = [_percent(row[f"{name}_floor"], 1) for name in SHOWN]
            floor += [_percent(row[f"{name}_floor"]) for name in SCORES]
            add(["  floor", *floor, "", "", ""], "dim", end=True)
    return table


def _foot(summary) -> str:
    if not _has_reference(summary):
        return "no reference: nothing says what forgetting should change"
    text = "floor: the gap between two retrained models of different seeds"
    if any(row["misses"] and row["seeds"] for row in summary):
        text += f"\n{MARK} does not reach its purpose here, see summary.md"
    return text


def _style(row) -> str | None:
    if row["diverged"]:
        return "red"
    if row["verdict"] == "within":
        return "green"
    return {"retrain": "bold", "original": "dim"}.get(row["model"])


def _caption(summary) -> str:
    rows = {row["model"]: row for row in summary}
    row = rows.get("retrain", summary[0])
    seeds = row["seeds"] + row["diverged"]
    if seeds == 1:
        return "In %, 1 training seed (no interval and no floor: these need two)"
    return f"In %, mean ± 95 % t interval over {seeds} training seeds"


def _has_reference(summary) -> bool:
    return any(row["model"] == "retrain" for row in summary)


def _name(row) -> str:
    marked = row["misses"] and row["seeds"]
    name = f"{row['model']} {MARK}" if marked else row["model"]
    if row["status"] == "imported":
        return f"{name} (imported)"
    if row["diverged"] and row["seeds"]:
        return f"{name} ({row['diverged']} diverged)"
    return name


def _value(row, name, digits=2, sign=" ± ", with_interval=True) -> str:
    half = row[f"{name}_interval"]
    text = _percent(row[name], digits)
    if with_interval and not math.isnan(half):
        text += sign + _percent(half, digits)
    return text


def _percent(value, digits=2) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.{digits}f}"


def _seconds(value) -> str:
    return "–" if math.isnan(value) else f"{value:.{2 if value < 10 else 1}f}"


def _speedup(row) -> str:
    value = row["speedup"]
    if math.isnan(value) or row["model"] in ("original", "retrain"):
        return "–"
    return f"{value:.{1 if value < 100 else 0}f}×"
