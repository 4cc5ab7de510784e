"""Tables of an audit: rows of models, columns of measures, cells with intervals.

A table is as `report.schema.Table` has it; a cell is a value with its 95 % interval.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from unlearn.audit.controls import ASKED, CONTROLS
from unlearn.report.csv_files import write_csv as write_rows
from unlearn.report.summary import interval

BY_CHANCE = "by chance"  # the row of a floor
UNTRAINED = "untrained"  # a model from scratch
ANCHORS = ("original", "retrain", *CONTROLS, *ASKED, UNTRAINED)


def cell(value: float, low: float = math.nan, high: float = math.nan) -> dict:
    """Returns a value with the ends of its 95 % interval."""
    return {"value": value, "low": low, "high": high}


def mean_cell(
    values: ArrayLike, low: float = -math.inf, high: float = math.inf
) -> dict:
    """Returns a mean with its 95 % t interval, cut at the ends of what is possible."""
    values = np.asarray(values, float)
    mean, half = float(np.mean(values)), interval(values)
    return clipped(cell(mean, mean - half, mean + half), low, high)


def clipped(cell: dict, low: float, high: float) -> dict:
    """Cuts an interval at the ends of what is possible; a NaN stays one."""
    ends = {key: cell[key] for key in ("low", "high") if not math.isnan(cell[key])}
    return cell | {key: min(max(end, low), high) for key, end in ends.items()}


def kind(name: str) -> str:
    """Says what a row is: a floor, a control or a method."""
    if name == BY_CHANCE:
        return "floor"
    return "control" if name in ANCHORS else "method"


def table(
    name: str,
    title: str,
    note: str,
    columns: Sequence[tuple],
    rows: Mapping[str, dict],
) -> dict:
    """Builds a table: columns `(key, label, unit, digits, help)`, `{model: cells}`.

    Intervals of shares, in %, are cut at 0 and 100.
    """
    keys = "key", "label", "unit", "digits", "help"
    shares = {key for key, _, unit, *_ in columns if unit == "%"}
    rows = {
        model: {
            key: clipped(one, 0, 100) if key in shares else one
            for key, one in cells.items()
        }
        for model, cells in rows.items()
    }
    return {
        "id": name,
        "title": title,
        "note": note,
        "columns": [dict(zip(keys, column, strict=True)) for column in columns],
        "rows": [
            {"model": model, "kind": kind(model), "cells": cells}
            for model, cells in rows.items()
        ],
    }


def percent(value: float, low: float, high: float) -> dict:
    """Returns the cell of a share in percent."""
    return cell(100 * value, 100 * low, 100 * high)


def few_cell(values: ArrayLike) -> dict:
    """Returns a mean without an interval: the seeds are too few for one."""
    return cell(float(np.mean(np.asarray(values))))


def add(rows: dict, key: str, cells: dict) -> None:
    """Adds a column of cells, one a model."""
    for model, one in cells.items():
        rows.setdefault(model, {})[key] = one


def write_csv(folder: Path, table: Mapping) -> None:
    """Writes a table as `<id>.csv`: a row a model, each value with its interval."""
    rows = []
    for row in table["rows"]:
        flat = {"model": row["model"]}
        for key, cell in row["cells"].items():
            flat[key] = cell["value"]
            flat |= {f"{key}_{end}": cell[end] for end in ("low", "high")}
        rows.append(flat)
    write_rows(folder / f"{table['id']}.csv", rows)
