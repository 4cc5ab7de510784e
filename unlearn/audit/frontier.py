"""Which methods are worth their cost: leak, accuracy and compute against retraining.

The competitor of every method is retraining for fewer epochs, which leaks nothing and
loses accuracy instead, and the original, to which nothing was done at no cost. Of those
that cost at most what a method costs, one that is at least as good in leak and in
accuracy, and better in one of them beyond the intervals, leaves it *behind*. A method
that is better than each of them beyond the intervals, in leak or in accuracy, is
*ahead*; one that is neither is *level*. *Uncontested*: as ahead, but no shortened
retraining was as cheap.
"""

import math
from collections.abc import Mapping, Sequence

import jax

from unlearn import methods, operations, pipeline
from unlearn.audit.agreement import agreement, chosen_leaks
from unlearn.audit.controls import PRIVATE
from unlearn.audit.run import Audit
from unlearn.pipeline import Run, method_programs
from unlearn.report import frontier_page
from unlearn.report.frontier_page import Interval, Point

MEASURES = {
    "single": "strongest attack on single examples",
    "whole": "attack on a whole forgotten set",
    "planted": "strongest attack on mislabelled examples",
}
SHOWN = {
    "klom": "KLoM of the forget set over its floor, mean; 1: as retraining",
    "klom_95": "KLoM of the forget set over its floor, 95 %; 1: as retraining",
    "relearned": "margin that training on retained data brings back, beyond "
    "retraining's, nats; 0: as retraining",
}
COLUMNS = {  # of the audit's tables
    "klom": ("distributional", "klom_forget_ratio"),
    "klom_95": ("distributional", "p95_forget_ratio"),
    "relearned": ("relearning_on_retain", "rise"),
}
STANDINGS = tuple(frontier_page.MARKS)


def write(audit: Audit) -> list[tuple[Point, dict[str, str]]]:
    """Writes the frontier of an audit beside its page; returns it, see `ranked`."""
    run, facts = audit.result.run, audit.facts
    names = [
        model["name"]
        for model in facts["models"]
        if model["kind"] == "method" and _is_one_program(model["name"])
    ]
    points = points_of(facts, operations_of(run, names))
    found = ranked(points)
    judged, data = facts["judged"], facts["data"]
    count = judged["stress_models"]
    planted = f", and {count} with mislabelled examples" if count else ""
    about = (
        f"{facts['request']['examples']:,} of {data['train']:,} training examples of "
        f"{data['name']} are requested. Judged are {judged['models']} models of each "
        f"kind{planted}.",
        facts["conclusion"],
    )
    tuned = chosen_leaks(run.folder / "tuning" / "tuning.csv", run.config.methods)
    if agreed := agreement(points, tuned):
        told = (
            "The study that chose the constants, of few models and another request, "
            "and this one agree on who leaks less with a rank correlation of "
            f"{agreed}."
        )
        about = *about, told
        run.progress.say(told)
    title = run.sets.title
    frontier_page.write(run.folder, title, points, found, MEASURES, about, SHOWN)
    run.progress.say(f"The frontier is {run.folder / 'frontier.html'}")
    return found


def _is_one_program(name: str) -> bool:
    """Says whether operations can be counted: not of methods of the training time."""
    return all(part in methods.METHODS for part in pipeline.split_chain(name))


def operations_of(run: Run, names: Sequence[str]) -> dict[str, int]:
    """Counts the operations of retraining and of each method on the run's request.

    Of a method that stops by what it sees, those of the first seed.
    """
    key, variables = jax.random.key(0), pipeline.original(run, 0)
    recipe = dict(run.config.train)
    found = {}
    for name in ("retrain", *names):
        found[name] = 0
        for part in pipeline.split_chain(name):
            info = methods.METHODS[part]
            constants = recipe if part == "retrain" else run.config.methods[part]
            problem = method_programs.seen_as(run, part, variables)
            fn = method_programs.method_function(
                info.fn, tuple(dict(constants).items())
            )
            found[name] += operations.done(fn, key, variables, problem)
    return found


def points_of(facts: Mapping, counted: Mapping[str, int]) -> list[Point]:
    """Returns what `schema.Facts` say of the original, of retraining and of methods."""
    rows = {model["name"]: model for model in facts["models"]}
    whole = counted["retrain"], rows["retrain"]["seconds"]
    shown = shown_of(facts["tables"])
    return [
        _point(name, rows[name], counted, *whole, shown.get(name, {}))
        for name in ("original", PRIVATE, *counted)
        if name in rows and rows[name]["leak"]
    ]


def shown_of(tables: Sequence[Mapping]) -> dict[str, dict[str, float]]:
    """Returns what tables of an audit say beside the verdict, by model and measure."""
    found = {}
    by_id = {table["id"]: table["rows"] for table in tables}
    for measure, (table, column) in COLUMNS.items():
        for row in by_id.get(table, ()):
            value = row["cells"].get(column, {}).get("value")
            if value is not None and math.isfinite(value):
                found.setdefault(row["model"], {})[measure] = value
    return found


def _point(name, row, counted, operations, seconds, shown) -> Point:
    leak = {"single": row["leak"], "whole": row["whole"]}
    if row.get("stress"):
        leak["planted"] = row["stress"]["leak"]
    known = methods.METHODS.get(name)
    kind = "retraining" if known and known.kind == "exact" else "method"
    nothing = name in ("original", PRIVATE)
    return Point(
        name,
        {"original": "original", PRIVATE: "private"}.get(name, kind),
        0.0 if nothing else counted[name] / operations,
        0.0 if nothing else row["seconds"] / seconds,
        {measure: _interval(cell) for measure, cell in leak.items()},
        _interval(row["lost"]),
        row["accuracy"]["value"],
        shown,
        _interval(row["found"]),
        row["verdict"],
        _ascends(name, row["constants"]),
    )


def _ascends(name: str, constants: Mapping) -> bool:
    return any(methods.ascends(part, constants) for part in pipeline.split_chain(name))


def _interval(cell: Mapping) -> Interval:
    ends = (cell[key] for key in ("low", "high"))
    return Interval(cell["value"], *(cell["value"] if x is None else x for x in ends))


def standing(point: Point, points: Sequence[Point], measure: str) -> str:
    """Says where a method stands among the retrainings that cost no more; "" for none.

    Args:
      points: all of them; the original and the retrainings count, what was trained
        privately does not: its price was paid before.
      measure: a key of `MEASURES`.
    """
    if point.kind != "method" or measure not in point.leak:
        return ""
    rivals = [
        other
        for other in points
        if other.kind in ("original", "retraining")
        and other.cost <= point.cost
        and measure in other.leak
    ]
    if any(_beats(rival, point, measure) for rival in rivals):
        return "behind"
    if not all(_better_somewhere(point, rival, measure) for rival in rivals):
        return "level"
    contested = any(rival.kind == "retraining" for rival in rivals)
    return "ahead" if contested else "uncontested"


def _beats(one: Point, other: Point, measure: str) -> bool:
    as_good = one.leak[measure].value <= other.leak[measure].value
    as_good &= one.lost.value >= other.lost.value
    return as_good and _better_somewhere(one, other, measure)


def _better_somewhere(one: Point, other: Point, measure: str) -> bool:
    leaks_less = one.leak[measure].high < other.leak[measure].low
    return leaks_less or one.lost.low > other.lost.high


def standings(point: Point, points: Sequence[Point]) -> dict[str, str]:
    """Returns where a method stands by each measure there is."""
    return {measure: standing(point, points, measure) for measure in point.leak}


def overall(found: Mapping[str, str]) -> str:
    """Returns the worst standing of several, by which a method is judged."""
    return max(filter(None, found.values()), key=STANDINGS.index, default="")


def ranked(points: Sequence[Point]) -> list[tuple[Point, dict[str, str]]]:
    """Returns the methods with their standings, the best first.

    Those of one overall standing by the largest leak that any attack finds.
    """
    found = [(p, standings(p, points)) for p in points if p.kind == "method"]

    def rank(row):
        point, where = row
        leak = max(cell.value for cell in point.leak.values())
        return STANDINGS.index(overall(where)), leak

    return sorted(found, key=rank)
