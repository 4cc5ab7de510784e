"""Does a small tuning study foretell what a large audit finds?

Constants that were chosen by attacks on few models (`--tune` with `objective=audit`)
come with the leak that these attacks found. An audit of another request, with other
models, finds a leak of its own; the rank correlation over methods says whether the two
agree on who leaks less, with an interval by resampling methods.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy

from unlearn.pipeline.leak_trials import left
from unlearn.report.csv_files import read_csv
from unlearn.report.frontier_page import Point

LEAST = 5  # methods: of fewer no rank correlation says anything


class Agreement(NamedTuple):
    """Spearman's rank correlation of two leaks, with a 95 % interval."""

    correlation: float
    low: float
    high: float
    methods: int

    def __str__(self) -> str:
        ends = f"{self.correlation:.2f} ({self.low:.2f} to {self.high:.2f})"
        return f"{ends} over {self.methods} methods"


def chosen_leaks(path: Path, constants: Mapping[str, Mapping]) -> dict[str, float]:
    """Reads what tuning by attacks found of each method, from its `tuning.csv`.

    Args:
      constants: those that methods have now; one that was chosen others is left out.

    Returns: empty where there is no such file, or its objective was another.

    Raises:
      InputError: the file cannot be read.
    """
    if not path.is_file():
        return {}
    found = {}
    for row in read_csv(path, needs=("method", "chosen")):
        own, leak = constants.get(row["method"], {}), row.get("leak")
        same = all(
            math.isclose(row[name], own[name], rel_tol=1e-6)
            for name in own
            if row.get(name) is not None and isinstance(own[name], float)
        )
        if row["chosen"] and own and same and leak is not None and math.isfinite(leak):
            found[row["method"]] = leak
    return found


def leak_left(point: Point, original: Point, retrained: Point) -> float:
    """Returns what a method leaves of the original's leak, as tuning has it.

    The mean over the attacks that see through the original.
    """
    shares = [
        left(cell.value, original.leak[name].value, retrained.leak[name].value)
        for name, cell in point.leak.items()
        if original.leak[name].low > retrained.leak[name].high
    ]
    return float(np.mean(shares)) if shares else math.nan


def agreement(points: Sequence[Point], tuned: Mapping[str, float]) -> Agreement | None:
    """Compares what tuning found with what an audit finds.

    None of too few methods, or where one of the two found the same of all.

    Args:
      points: of the audit, `original` and `retrain` among them.
      tuned: the leak of each method by tuning.
    """
    by_name = {point.name: point for point in points}
    ends = by_name["original"], by_name["retrain"]
    pairs = [
        (tuned[point.name], leak_left(point, *ends))
        for point in points
        if point.kind == "method" and point.name in tuned
    ]
    columns = np.array([pair for pair in pairs if np.isfinite(pair).all()])
    if len(columns) < LEAST or not np.ptp(columns, axis=0).all():
        return None

    def correlation(one, other):
        return scipy.stats.spearmanr(one, other).statistic

    drawn = np.random.default_rng(0).integers(len(columns), size=(2000, len(columns)))
    several = [x for x in drawn if np.ptp(columns[x], axis=0).all()]
    found = [correlation(*columns[x].T) for x in several]
    low, high = np.percentile(found, [2.5, 97.5])
    value = float(correlation(*columns.T))
    return Agreement(value, float(low), float(high), len(columns))
