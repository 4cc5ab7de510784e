"""The models of an audit in the order in which a page lists them, each with its mark.

A table and a figure that use the same marks need no names in the figure.
"""

import math
from collections.abc import Mapping, Sequence

VERDICTS = "within", "inconclusive", "outside", "not concluded"


def marked(models: Sequence[Mapping]) -> list[tuple[str, Mapping]]:
    """Returns the models of `schema.Facts` as (mark, model).

    References come first, without a mark. Methods follow by verdict, those that leak
    least first, as 1, 2, ...; then the controls as c1, c2, ...
    """
    kinds = {
        kind: [model for model in models if model["kind"] == kind]
        for kind in ("reference", "method", "control")
    }
    methods = sorted(kinds["method"], key=_rank)
    return [
        *(("", model) for model in kinds["reference"]),
        *((str(i), model) for i, model in enumerate(methods, 1)),
        *((f"c{i}", model) for i, model in enumerate(kinds["control"], 1)),
    ]


def _rank(model) -> tuple[int, float]:
    leak = finite(model["leak"]["value"])
    return VERDICTS.index(model["verdict"]), math.inf if math.isnan(leak) else leak


def finite(value: float | str | None) -> float:
    """Returns a number of the facts, NaN for what is none or infinite."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    return math.nan
