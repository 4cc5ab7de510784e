"""The frontier as files: `frontier.html`, `frontier.csv` and `frontier.md`.

The page is one file, with nothing to load: hover over a point, choose the axes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from unlearn.report.csv_files import write_csv
from unlearn.report.page import environment
from unlearn.report.text import markdown_cell
from unlearn.store import write_text

BEST = 10  # rows of the table for a README
MARKS = {"ahead": "▲", "uncontested": "◆", "level": "●", "behind": "▼"}
ASCENDS = "■"


class Interval(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Point(NamedTuple):
    """A model of an audit."""

    name: str
    kind: str  # original, private, retraining (short or whole), method
    cost: float  # operations, as a share of retraining's
    seconds: float  # measured, as a share of retraining's
    leak: dict[str, Interval]  # AUC by measure; 0.5: nothing is told
    lost: Interval  # test accuracy above that of retraining, as a share
    accuracy: float
    shown: dict[str, float] = {}  # other measures, which no standing depends on
    found: Interval | None = None  # true positive rate at 1 % false alarms, a share
    verdict: str = ""  # of the audit
    ascends: bool = False  # see `methods.registry.method`


def write(
    folder: Path,
    title: str,
    points: Sequence[Point],
    ranked: Sequence[tuple[Point, Mapping[str, str]]],
    measures: Mapping[str, str],
    about: Sequence[str],
    shown: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes the three files.

    Args:
      points: of the original, the retrainings and the methods.
      ranked: the methods with their standings by measure, best first.
      measures: what each measure of the leak is.
      about: lines on the study: models, examples, what was measured where.
      shown: what each of the other measures is; they can be chosen as an axis.
    """
    where = {point.name: dict(found) for point, found in ranked}
    others = sorted((p for p in points if p.kind != "method"), key=lambda p: p.cost)
    order = [*others, *(point for point, _ in ranked)]
    rows = [_row(point, where.get(point.name, {})) for point in order]
    write_csv(folder / "frontier.csv", [_flat(row) for row in rows])
    names = [name for name in measures if all(name in row["leak"] for row in rows)]
    write_text(folder / "frontier.md", markdown(rows, names))
    text = (
        environment()
        .get_template("frontier.html")
        .render(
            title=title,
            rows=rows,
            names=names,
            measures=measures,
            marks=MARKS,
            ascends=ASCENDS,
            about=about,
            found=any(row["found"] for row in rows),
            verdicts=any(row["verdict"] for row in rows),
            shown={k: v for k, v in shown.items() if any(k in p.shown for p in order)},
        )
    )
    write_text(folder / "frontier.html", text)


def _row(point: Point, standings: Mapping[str, str]) -> dict:
    return point._asdict() | {
        "leak": {name: cell._asdict() for name, cell in point.leak.items()},
        "lost": point.lost._asdict(),
        "found": point.found and point.found._asdict(),
        "standing": standings,
    }


def _flat(row: Mapping) -> dict:
    flat = {"model": row["name"]}
    flat |= {key: row[key] for key in ("kind", "cost", "seconds", "accuracy")}
    cells = {"lost": row["lost"]} | {f"leak_{k}": v for k, v in row["leak"].items()}
    cells |= {"found": row["found"]} if row["found"] else {}
    for name, cell in cells.items():
        flat |= {name: cell["value"]}
        flat |= {f"{name}_{end}": cell[end] for end in ("low", "high")}
    flat |= row["shown"] | {"ascends": row["ascends"]}
    flat |= {"verdict": row["verdict"]} if row["verdict"] else {}
    return flat | {f"standing_{k}": v for k, v in row["standing"].items()}


def markdown(rows: Sequence[Mapping], names: Sequence[str]) -> str:
    """Writes the original, the retrainings and the best methods as a table.

    Compute and test accuracy in %, its gain over retraining in points and each leak
    with their 95 % intervals.

    Args:
      rows: the methods among them best first.
      names: the measures of the leak to show.
    """
    head = ["model", "compute", "test", "above retraining", *names, "stands"]
    lines = [" | ".join(head), " | ".join([":--"] + ["--:"] * (len(head) - 1))]
    methods = [row for row in rows if row["kind"] == "method"]
    for row in [row for row in rows if row["kind"] != "method"] + methods[:BEST]:
        found = set(filter(None, row["standing"].values()))
        standings = sorted(found, key=list(MARKS).index, reverse=True)
        cells = [
            markdown_cell(row["name"]),
            f"{100 * row['cost']:.1f}",
            f"{100 * row['accuracy']:.1f}",
            _points(row["lost"]),
            *(_auc(row["leak"][name]) for name in names),
            " to ".join((standings[0], standings[-1])[: len(standings)])
            if standings
            else {"private": "private"}.get(row["kind"], "reference"),
        ]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _points(cell: Mapping) -> str:
    """Writes a difference of accuracies in points, with its interval."""

    def sign(value: float) -> str:
        written = f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
        return "0.0" if written.endswith("0.0") and len(written) == 4 else written

    return f"{sign(cell['value'])} ({sign(cell['low'])}, {sign(cell['high'])})"


def _auc(cell: Mapping) -> str:
    """Writes an AUC with its interval, to as many digits as the interval is wide."""
    digits = 3 if cell["high"] - cell["low"] < 0.05 else 2
    low, high = (f"{cell[end]:.{digits}f}" for end in ("low", "high"))
    text = f"{cell['value']:.3f} ({low}\N{EN DASH}{high})"
    return re.sub(r"\b0\.", ".", text)
