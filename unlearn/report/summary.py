"""Statistics over seeds: from one row a (model, seed) to one row a model.

Every value here is a fraction in [0, 1]; only what people read is in percent.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from unlearn.errors import InputError
from unlearn.metrics import columns
from unlearn.metrics.equivalence import compare
from unlearn.metrics.gaps import SCORES, avg_gap
from unlearn.metrics.purpose import shortfall

FAR_BELOW = 0.1
"""A reference that loses more test accuracy to the original than this is not one that
the same training would give: forgetting a tenth of the data, or a class that the test
does not count, costs some points."""
EQUAL = 0.005  # test accuracy that a retraining may lose to be as good as a longer one
NO_REFERENCE, WEAK_REFERENCE = "no reference", "weak reference"
NOT_METRICS = ("model", "status", "seed", "seconds", "compile_seconds")


def summarize(
    results: Sequence[Mapping],
    needs_reference: bool = True,
    whole_classes: bool = False,
) -> list[dict]:
    """Summarises results: one row a model, `original`, `retrain`, then the methods.

    Methods come by ascending Avg. Gap.

    For each metric `m` of the results, and for `ua` (one minus the forget accuracy):
    `m` is the mean over seeds, `m_interval` the half-width of its 95 % t interval,
    `m_gap` the mean over seeds of the absolute difference to the retrained model of
    the same seed, `m_floor` the mean absolute difference between two retrained models
    of different seeds. `avg_gap` and `tug_of_war` have a mean, an interval and a floor
    too. Intervals and floors are NaN with one seed.

    `seconds` is the mean, `compile_seconds` the largest over seeds, and `speedup` the
    ratio of means: all seconds of the `yardstick` over all seconds of the model, over
    the seeds both finished (a mean of ratios would favour noisy timings).

    `seeds` counts the finished ones and `diverged` the others. Diverged seeds are left
    out of every statistic, and a model with any comes after those without. `verdict`
    compares `avg_gap` with its floor, see `equivalence.compare`: `within`, `outside` or
    `inconclusive`; otherwise it is `reference`, `diverged` or, with fewer than three
    seeds, `too few seeds`; `no reference` without a retrained model, whose gaps and
    floors are NaN; `weak reference` where that is far below the original on test.

    `misses` says in what a method misses its purpose (`purpose.shortfall`, for a
    request of `whole_classes` or of other examples); empty: it reaches it, or is none.

    Raises:
      InputError: no row is of the model `retrain`, and `needs_reference`.
    """
    metrics = _metrics(results)
    models = {}
    for row in results:
        models.setdefault(row["model"], []).append(row)
    if "retrain" not in models and needs_reference:
        raise InputError(
            "the results have no row of model 'retrain', to which every other is "
            "compared; retrain first"
        )
    finished = {model: _finished(rows, metrics) for model, rows in models.items()}
    retrain = finished.get("retrain", {})
    distances = {f"{name}_gap": partial(_difference, name) for name in metrics} | SCORES
    pairs = list(combinations(retrain.values(), 2))
    floors = {
        name: _mean([distance(*pair) for pair in pairs])
        for name, distance in distances.items()
    }
    shortest = finished[yardstick(finished)] if retrain else {}
    summary = [
        _summary_row(model, rows, finished[model], metrics, retrain, floors, shortest)
        for model, rows in models.items()
    ]
    judged = _unjudged(summary)
    for row in summary:
        missed = "" if judged else _misses(row["model"], finished, whole_classes)
        row["misses"] = missed
    for row in summary:
        if row["model"] != "retrain" and row["status"] != "diverged":
            row["verdict"] = judged or row["verdict"]
    return sorted(summary, key=_order)


def yardstick(finished: Mapping[str, Mapping[int, Mapping]]) -> str:
    """Names what speed-ups are against: the shortest retraining that is as accurate.

    That is `retrain`, or a `retrain_short` that loses at most `EQUAL` of test accuracy
    to it over the seeds of both. Against a training that is longer than it needs to be
    every method is fast.

    Args:
      finished: the rows of each model by seed.
    """
    whole, best = finished["retrain"], "retrain"
    least = _mean([row["seconds"] for row in whole.values()])
    for name, rows in finished.items():
        pairs = [(row, whole[seed]) for seed, row in rows.items() if seed in whole]
        if name.partition("__")[0] != "retrain_short" or not pairs:
            continue
        lost = _mean([b["test_accuracy"] - a["test_accuracy"] for a, b in pairs])
        seconds = _mean([row["seconds"] for row, _ in pairs])
        if lost <= EQUAL and seconds < least:
            best, least = name, seconds
    return best


def _misses(model, finished, whole_classes) -> str:
    """In what a method misses its purpose over the seeds that it finished."""
    if model in ("original", "retrain") or "original" not in finished:
        return ""
    if not finished[model]:
        return "diverged"
    compared = [finished[name] for name in (model, "original", "retrain")]
    seeds = [seed for seed in compared[0] if all(seed in rows for rows in compared)]

    def means(rows):
        return {
            "forget_accuracy": _mean([rows[seed]["forget_accuracy"] for seed in seeds]),
            "test_accuracy": _mean([rows[seed]["test_accuracy"] for seed in seeds]),
            "avg_gap": _mean([avg_gap(rows[s], compared[-1][s]) for s in seeds]),
        }

    return shortfall(*map(means, compared), whole_classes=whole_classes)


def _unjudged(summary) -> str:
    """Why no model can be judged; empty: they can."""
    reference = {row["model"]: row for row in summary}.get("retrain")
    if reference is None:
        return NO_REFERENCE
    return WEAK_REFERENCE if _lost(summary) > FAR_BELOW else ""


def _lost(summary) -> float:
    """Test accuracy of the original less that of the reference; NaN if not known."""
    rows = {row["model"]: row for row in summary}
    accuracies = [
        rows[name]["test_accuracy"] if name in rows else math.nan
        for name in ("original", "retrain")
    ]
    return accuracies[0] - accuracies[1]


def caveats(summary: Sequence[Mapping], classes: int) -> list[str]:
    """Says in lines what the summary cannot tell, and what looks wrong.

    Args:
      summary: see `summarize`.
      classes: how many there are.
    """
    rows = {row["model"]: row for row in summary}
    lines = []
    if "retrain" not in rows:
        lines.append(
            "No reference: without models that never saw the forget set nothing says "
            "what forgetting it should change, so there are no gaps, floors, speed-ups "
            "and verdicts, and it cannot be concluded that anything is forgotten"
        )
    elif _lost(summary) > FAR_BELOW:
        original, reference = (
            100 * rows[name]["test_accuracy"] for name in ("original", "retrain")
        )
        lines.append(
            f"Warning: the reference has {reference:.1f} % on test and the original "
            f"{original:.1f} %: it is not what the original's training would give "
            "without the forget set, so gaps to it judge nothing; give a reference "
            "trained as the original was, or none"
        )
    original = rows.get("original")
    if original and original["status"] == "imported":
        retain = original["retain_accuracy"]
        if retain < 2 / classes and retain < 0.9:
            lines.append(
                f"Warning: the imported original has {100 * retain:.1f} % on the "
                "retained training data, which is near chance: are the order of the "
                "classes, the image size and the standardisation those of its training?"
            )
    return lines


def _summary_row(model, rows, finished, metrics, retrain, floors, shortest) -> dict:
    paired = [(row, retrain[seed]) for seed, row in finished.items() if seed in retrain]
    diverged = len(rows) - len(finished)
    summary = {
        "model": model,
        "status": _status(rows, finished),
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
    both = [seed for seed in finished if seed in shortest]
    ours = _mean([finished[seed]["seconds"] for seed in both])
    theirs = _mean([shortest[seed]["seconds"] for seed in both])
    summary["speedup"] = theirs / ours if ours != 0 else math.nan
    summary["verdict"] = _verdict(summary, paired)
    return summary


def _status(rows, finished) -> str:
    if not finished:
        return "diverged"
    imported = any(row.get("status") == "imported" for row in rows)
    return "imported" if imported else "ok"


def interval(values: Sequence[float] | np.ndarray) -> float:
    """Computes the half-width of the 95 % t interval of the mean.

    NaN of one value, and where one is not finite.
    """
    from scipy.special import stdtrit

    count = len(values)
    if count < 2 or not np.isfinite(values).all():
        return math.nan
    error = np.std(values, ddof=1) / math.sqrt(count)
    return float(stdtrit(count - 1, 0.975) * error)


def _metrics(results) -> list[str]:
    """Lists the known metrics, then every other column of numbers."""
    known = (*columns.SUMMARY, *NOT_METRICS)
    extra = {}
    for row in results:
        for name, value in row.items():
            if isinstance(value, (int, float, np.number)):
                extra[name] = None
    return [*columns.SUMMARY, *(n for n in extra if n not in known)]


def _finished(rows, metrics) -> dict:
    """Maps seeds that finished to their numbers; a value not there is NaN."""
    finished = {}
    for row in rows:
        if row.get("status", "ok") != "diverged":
            numbers = {m: _number(row.get(m)) for m in (*metrics, "seconds")}
            numbers["ua"] = 1 - numbers["forget_accuracy"]
            finished[row["seed"]] = numbers
    return finished


def _verdict(row, paired) -> str:
    if row["model"] == "retrain":
        return "reference"
    if math.isnan(row["avg_gap"]):
        return "diverged" if row["diverged"] else ""
    if len(paired) < 3:
        return "too few seeds"
    models, references = zip(*paired, strict=True)
    between, among = (
        [[avg_gap(one, other) for other in references] for one in rows]
        for rows in (models, references)
    )
    return compare(between, among).verdict


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
