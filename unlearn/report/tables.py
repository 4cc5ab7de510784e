"""Results as tables: one row a (model, seed), then one row a model.

Every value here is a fraction in [0, 1]; only what people read is in percent.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from unlearn.errors import InputError
from unlearn.metrics.gaps import avg_gap, tug_of_war

METRICS = (
    "forget_accuracy",
    "ua",
    "retain_accuracy",
    "test_accuracy",
    "mia_confidence",
    "mia_regression",
    "mia_auc",
    "mia_tpr_at_1fpr",
)
SCORES = {"avg_gap": avg_gap, "tug_of_war": tug_of_war}
TEXT_COLUMNS = ("model", "status")
NOT_METRICS = (*TEXT_COLUMNS, "seed", "seconds", "compile_seconds")


# Summary


def summarize(results: Sequence[Mapping]) -> list[dict]:
    """One row a model: `original`, `retrain`, then the methods by ascending Avg. Gap.

    For each metric `m` of the results, and for `ua` (one minus the forget accuracy):
    `m` is the mean over seeds, `m_interval` the half-width of its 95 % t interval,
    `m_gap` the mean over seeds of the absolute difference to the retrained model of
    the same seed, `m_floor` the mean absolute difference between two retrained models
    of different seeds. `avg_gap` and `tug_of_war` have a mean, an interval and a floor
    too. Intervals and floors are NaN with one seed.

    `seconds` is the mean, `compile_seconds` the largest over seeds, and `speedup` the
    ratio of means: all seconds of retraining over all seconds of the model, over the
    seeds both finished (a mean of ratios would favour noisy timings).

    `seeds` counts the finished ones and `diverged` the others. Diverged seeds are left
    out of every statistic, and a model with any comes after those without. `verdict`
    says where the interval of `avg_gap` lies: `within` the floor, `outside` it, or
    `inconclusive` as the floor is inside the interval; otherwise it is `reference`,
    `diverged` or `one seed`.

    Raises `InputError` if no row is of the model `retrain`.
    """
    metrics = _metrics(results)
    models = {}
    for row in results:
        models.setdefault(row["model"], []).append(row)
    if "retrain" not in models:
        raise InputError(
            "the results have no row of model 'retrain', to which every other is "
            "compared; retrain first"
        )
    retrain = _finished(models["retrain"], metrics)
    distances = {f"{name}_gap": partial(_difference, name) for name in metrics} | SCORES
    pairs = list(combinations(retrain.values(), 2))
    floors = {
        name: _mean([distance(*pair) for pair in pairs])
        for name, distance in distances.items()
    }
    summary = [
        _summary_row(model, rows, metrics, retrain, floors)
        for model, rows in models.items()
    ]
    return sorted(summary, key=_order)


def _summary_row(model, rows, metrics, retrain, floors) -> dict:
    finished = _finished(rows, metrics)
    paired = [(row, retrain[seed]) for seed, row in finished.items() if seed in retrain]
    diverged = len(rows) - len(finished)
    summary = {
        "model": model,
        "status": "ok" if finished else "diverged",
        "seeds": len(finished),
        "diverged": diverged,
    }
    for name in metrics:
        values = [row[name] for row in finished.values()]
        summary[name] = _mean(values)
        summary[f"{name}_interval"] = interval(values)
        summary[f"{name}_gap"] = _mean([_difference(name, *pair) for pair in paired])
        summary[f"{name}_floor"] = floors[f"{name}_gap"]
    for name, score in SCORES.items():
        values = [score(*pair) for pair in paired]
        summary[name] = _mean(values)
        summary[f"{name}_interval"] = interval(values)
        summary[f"{name}_floor"] = floors[name]
    compiling = [_number(row.get("compile_seconds")) for row in rows]
    compiling = [seconds for seconds in compiling if not math.isnan(seconds)]
    summary["seconds"] = _mean([row["seconds"] for row in finished.values()])
    summary["compile_seconds"] = max(compiling, default=math.nan)
    ours = _mean([row["seconds"] for row, _ in paired])
    summary["speedup"] = (
        _mean([other["seconds"] for _, other in paired]) / ours
        if ours != 0
        else math.nan
    )
    summary["verdict"] = _verdict(summary)
    return summary


def interval(values: Sequence[float]) -> float:
    """Half-width of the 95 % t interval of the mean; NaN with fewer than 2 values."""
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        return math.nan
    error = np.std(values, ddof=1) / math.sqrt(count)
    return float(stdtrit(count - 1, 0.975) * error)


def _metrics(results) -> list[str]:
    """The known metrics, then every other column of numbers."""
    extra = {}
    for row in results:
        for name, value in row.items():
            if isinstance(value, (int, float, np.number)):
                extra[name] = None
    return [*METRICS, *(n for n in extra if n not in (*METRICS, *NOT_METRICS))]


def _finished(rows, metrics) -> dict:
    """Seed -> numbers, without the diverged ones; a value not there is NaN."""
    finished = {}
    for row in rows:
        if row.get("status", "ok") != "diverged":
            numbers = {m: _number(row.get(m)) for m in (*metrics, "seconds")}
            numbers["ua"] = 1 - numbers["forget_accuracy"]
            finished[row["seed"]] = numbers
    return finished


def _verdict(row) -> str:
    mean, half = row["avg_gap"], row["avg_gap_interval"]
    floor = row["avg_gap_floor"]
    if row["model"] == "retrain":
        return "reference"
    if math.isnan(mean):
        return "diverged" if row["diverged"] else ""
    if math.isnan(half) or math.isnan(floor):
        return "one seed"
    if mean + half <= floor:
        return "within"
    return "inconclusive" if mean - half <= floor else "outside"


def _order(row) -> tuple:
    gap = row["avg_gap"]
    return (
        {"original": 0, "retrain": 1}.get(row["model"], 2),
        row["status"] != "ok",
        row["diverged"] > 0,
        math.inf if math.isnan(gap) else gap,
        row["model"],
    )


def _difference(name, row, reference) -> float:
    return abs(row[name] - reference[name])


def _mean(values) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _number(value) -> float:
    return math.nan if value is None or value == "" else float(value)


# Files


def write_csv(path: Path | str, rows: Sequence[Mapping]) -> None:
    """Write rows as CSV, numbers unrounded, all at once or not at all.

    The columns are the keys of all rows, in order of appearance; a value that is not
    there, or None, is an empty cell.
    """
    from unlearn.store import write_text

    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    write_text(Path(path), text.getvalue())


def read_csv(path: Path | str) -> list[dict]:
    """Read what `write_csv` wrote, with its types; writing it again changes no byte.

    Raises `InputError` if a row has another length than the header.
    """
    with open(path, encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InputError(
                f"{path}: row {number} has {len(line)} cells and the header "
                f"{len(header)}; delete the file and run again"
            )
    return [
        {name: _parse(name, cell) for name, cell in zip(header, line, strict=True)}
        for line in lines
    ]


def _cell(value) -> str:
    if value is None:
        return ""
    if hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, str) else repr(value)


def _parse(name, cell):
    if name in TEXT_COLUMNS:
        return cell or None
    if cell in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[cell]
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        if repr(value) == cell:
            return value
    return cell


# For people

SHOWN = {
    "forget_accuracy": "Forget",
    "retain_accuracy": "Retain",
    "test_accuracy": "Test",
    "mia_confidence": "MIA",
}

LEGEND = """\
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
- **floor**: the same quantities between two models retrained with different seeds. No \
method can be told from retraining below it.
- **vs floor**: whether the interval of Avg. Gap lies within the floor or outside it; \
inconclusive: the floor is inside the interval, and more seeds would tell.
- **Seconds**: the method alone, preparation included, compilation (its own column: \
the largest over seeds) and evaluation apart. **Speed-up**: seconds of `retrain` / \
seconds of the method.
"""


def summary_markdown(summary: Sequence[Mapping]) -> str:
    """The summary as a Markdown table in percent, with its legend."""
    columns = [*SHOWN.values(), "Avg. Gap ↓", "ToW ↑", "vs floor"]
    columns = ["Model", *columns, "Seconds", "Compile s", "Speed-up"]
    lines = [
        _caption(summary) + ".",
        "",
        "| " + " | ".join(columns) + " |",
        "| :-- |" + " --: |" * (len(columns) - 1),
    ]
    floor = [f"({_percent(summary[0][f'{name}_floor'])})" for name in SHOWN]
    floor += [_percent(summary[0][f"{name}_floor"]) for name in SCORES]
    lines.append(f"| *floor* | {' | '.join(floor)} | | | | |")
    for row in summary:
        reference = row["model"] == "retrain"
        cells = [f"**{_name(row)}**" if reference else _name(row)]
        for name in SHOWN:
            gap = row[f"{name}_gap"]
            hide = reference or math.isnan(gap)
            cells.append(_value(row, name) + ("" if hide else f" ({_percent(gap)})"))
        cells += ["" if reference else _value(row, name) for name in SCORES]
        cells += [row["verdict"]]
        cells += [_seconds(row["seconds"]), _seconds(row["compile_seconds"])]
        cells += [_speedup(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", LEGEND])


def print_table(summary: Sequence[Mapping], console=None) -> None:
    """Print the summary to a terminal, 100 columns wide where there is none.

    Where it does not fit, the intervals are left out, then the last columns.
    """
    from rich.console import Console

    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=100)
    unbounded = console.options.update(max_width=1000)
    for intervals, columns in ((True, 10), (False, 10), (False, 7)):
        table = _table(summary, intervals, columns, "utf" in console.encoding.lower())
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    console.print(table)


def _table(summary, intervals, columns, unicode):
    from rich import box
    from rich.table import Table

    def plain(text):
        return text if unicode else text.translate({177: "+-", 8211: "-", 215: "x"})

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        title=plain(_caption(summary)),
        title_justify="left",
        caption="floor: the gap between two retrained models of different seeds",
        caption_justify="left",
    )
    table.add_column("Model", no_wrap=True, overflow="crop")
    names = [*SHOWN.values(), "Avg.Gap", "ToW", "vs floor", "Seconds", "Speed-up"]
    for name in names[: columns - 1]:
        table.add_column(name, justify="right", no_wrap=True, overflow="crop")

    def add(cells, style, end=False):
        cells = [plain(cell) for cell in cells[:columns]]
        table.add_row(*cells, style=style, end_section=end)

    for row in summary:
        reference = row["model"] == "retrain"
        cells = [_name(row)]
        cells += [_value(row, name, 1, "±", intervals) for name in SHOWN]
        if reference:
            cells += ["", "", ""]
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


def _style(row) -> str | None:
    if row["diverged"]:
        return "red"
    if row["verdict"] == "within":
        return "green"
    return {"retrain": "bold", "original": "dim"}.get(row["model"])


def _caption(summary) -> str:
    retrain = next(row for row in summary if row["model"] == "retrain")
    seeds = retrain["seeds"] + retrain["diverged"]
    if seeds == 1:
        return "In %, 1 training seed (no interval and no floor: these need two)"
    return f"In %, mean ± 95 % t interval over {seeds} training seeds"


def _name(row) -> str:
    if row["diverged"] and row["seeds"]:
        return f"{row['model']} ({row['diverged']} diverged)"
    return row["model"]


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
