"""Who is ahead of a shortened retraining, and the page that says so."""

import csv
import json
import re

import numpy as np
import pytest

from unlearn.audit import frontier
from unlearn.audit.frontier import Interval, Point
from unlearn.report import frontier_page


def point(name, kind, cost, leak, lost, width=0.01):
    """A model of which only planted examples were attacked."""
    around = [Interval(x, x - width, x + width) for x in (leak, lost)]
    leaks = {"planted": around[0]}
    return Point(name, kind, cost, cost, leaks, around[1], 0.97 + lost)


REFERENCES = [
    point("original", "original", 0.0, 1.0, 0.0),
    point("retrain_short__3", "retraining", 0.1, 0.5, -0.05),
    point("retrain_short", "retraining", 0.2, 0.5, -0.01),
    point("retrain", "retraining", 1.0, 0.5, 0.0),
]


def standing(*args):
    made = point("method", "method", *args)
    return frontier.standing(made, [*REFERENCES, made], "planted")


@pytest.mark.parametrize(
    "cost, leak, lost, expected",
    [
        (0.15, 0.50, -0.00, "ahead"),  # as little leak, more accuracy than 3 epochs
        (0.15, 0.55, -0.02, "ahead"),  # leaks a little, and is more accurate
        (0.25, 0.55, -0.02, "behind"),  # 6 epochs are better in both
        (0.25, 0.50, -0.01, "level"),  # 6 epochs are the same
        (0.25, 0.48, -0.01, "level"),  # less leak, within the intervals
        (0.25, 0.55, 0.02, "ahead"),  # leaks more, and is more accurate than 6 epochs
        (0.05, 0.60, -0.10, "uncontested"),  # no retraining is as cheap
        (0.05, 1.00, -0.10, "behind"),  # doing nothing is better
        (0.05, 1.00, 0.00, "level"),  # nothing was done
        (9.00, 0.50, 0.00, "level"),  # retraining, at nine times the cost
        (9.00, 0.50, -0.03, "behind"),
    ],
)
def test_standing(cost, leak, lost, expected):
    assert standing(cost, leak, lost) == expected


def test_references_stand_nowhere_and_a_measure_may_be_missing():
    assert frontier.standing(REFERENCES[2], REFERENCES, "planted") == ""
    made = point("method", "method", 0.15, 0.5, 0.0)
    assert frontier.standing(made, [*REFERENCES, made], "whole") == ""


def test_the_worst_measure_counts_and_the_best_come_first():
    assert frontier.overall({"single": "ahead", "whole": "level"}) == "level"
    assert frontier.overall({"single": "ahead", "whole": ""}) == "ahead"
    good = point("good", "method", 0.15, 0.50, 0.0)
    worse = point("worse", "method", 0.15, 0.60, 0.0)
    bad = point("bad", "method", 0.30, 0.90, -0.1)
    ranked = frontier.ranked([*REFERENCES, bad, worse, good])
    assert [p.name for p, _ in ranked] == ["good", "worse", "bad"]
    assert [w["planted"] for _, w in ranked] == ["ahead", "ahead", "behind"]


def test_points_are_what_the_facts_say():
    def row(name, leak, seconds, kind="method"):
        cell = {"value": leak, "low": leak - 0.1, "high": leak + 0.1}
        lost = {"value": -0.02, "low": None, "high": None}
        stress = {"leak": cell} if name != "finetune" else None
        found = {"name": name, "kind": kind, "leak": cell, "whole": cell}
        found |= {"lost": lost, "accuracy": {"value": 0.9}, "seconds": seconds}
        rate = {"value": 0.02, "low": 0.01, "high": 0.04}
        found |= {"found": rate, "verdict": "outside", "constants": {}}
        return found | {"stress": stress}

    rows = [
        row("original", 1.0, 2.0, "reference"),
        row("retrain", 0.5, 4.0, "reference"),
        row("finetune", 0.7, 1.0),
        row("retrain_short__3", 0.5, 0.4),
        row("collapsed", 0.5, None, "control"),
    ]
    counted = {"retrain": 1000, "finetune": 300, "retrain_short__3": 100, "gone": 7}
    tables = [
        {
            "id": "distributional",
            "rows": [
                {"model": "finetune", "cells": {"klom_forget_ratio": {"value": 7.5}}},
                {"model": "retrain", "cells": {"klom_forget_ratio": {"value": 1.0}}},
            ],
        },
        {
            "id": "relearning_on_retain",
            "rows": [{"model": "finetune", "cells": {"rise": {"value": np.nan}}}],
        },
    ]
    points = frontier.points_of({"models": rows, "tables": tables}, counted)
    assert points[2].shown == {"klom": 7.5} and points[1].shown == {"klom": 1.0}
    assert points[0].shown == points[3].shown == {}
    assert [(p.name, p.kind, p.cost, p.seconds) for p in points] == [
        ("original", "original", 0.0, 0.0),
        ("retrain", "retraining", 1.0, 1.0),
        ("finetune", "method", 0.3, 0.25),
        ("retrain_short__3", "retraining", 0.1, 0.1),
    ]
    assert points[2].leak == {
        "single": pytest.approx((0.7, 0.6, 0.8)),
        "whole": pytest.approx((0.7, 0.6, 0.8)),
    }
    assert points[2].lost == (-0.02, -0.02, -0.02)
    assert points[2].found == (0.02, 0.01, 0.04) and points[2].verdict == "outside"
    assert not any(point.ascends for point in points)


@pytest.mark.parametrize(
    ("name", "constants", "ascends"),
    [
        ("scrub", {}, True),
        ("neggrad_plus__5pc", {"statistics": "batch"}, True),
        ("gradient_ascent+finetune", {}, True),
        ("rum", {"low": "none", "high": "salun"}, False),
        ("rum", {"low": "none", "high": "sfron"}, True),
        ("finetune", {"decay": "cosine"}, False),
        ("sisa", {}, False),
    ],
)
def test_methods_that_ascend_are_marked(name, constants, ascends):
    assert frontier._ascends(name, constants) == ascends


def test_the_table_says_the_worst_and_the_best_standing():
    def cell(standing):
        leak = {name: {"value": 0.5} for name in standing}
        row = {"name": "m", "kind": "method", "cost": 0.1, "accuracy": 0.9}
        row |= {"lost": Interval(0.0, -0.01, 0.01)._asdict()}
        text = frontier_page.markdown([row | {"leak": leak, "standing": standing}], [])
        return text.splitlines()[-1].split(" | ")[-1].removesuffix(" |")

    several = {"single": "level", "whole": "behind", "planted": "ahead"}
    assert cell(several) == "behind to ahead"
    assert frontier.overall(several) == "behind"
    assert cell({"single": "ahead", "whole": "level"}) == "level to ahead"
    assert cell({"single": "level", "whole": ""}) == "level"


def test_operations_of_the_training_time_are_not_counted():
    assert frontier._is_one_program("influence+finetune")
    assert frontier._is_one_program("retrain_short__3")
    assert not frontier._is_one_program("sisa")


def test_the_files(tmp_path):
    made = [point(f"m{i}", "method", 0.3, 0.5 + i / 100, -0.01) for i in range(12)]
    points = [*REFERENCES, *made]
    measures = {"planted": "strongest attack on mislabelled examples"}
    about = ["12 of 100 <training> examples."]
    found = Interval(0.02, 0.01, 0.045)
    made[3] = made[3]._replace(shown={"klom": 2.5}, found=found, verdict="outside")
    made[5] = made[5]._replace(ascends=True)
    points = [*REFERENCES, *made]
    ranked = frontier.ranked(points)
    shown = {"klom": "KLoM of the <forget> set", "relearned": "of no model"}
    frontier_page.write(tmp_path, "title", points, ranked, measures, about, shown)
    with (tmp_path / "frontier.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert len(rows) == 16 and rows["m3"]["standing_planted"] == "behind"
    np.testing.assert_allclose(float(rows["m3"]["leak_planted_high"]), 0.54)
    assert rows["m3"]["klom"] == "2.5" and not rows["m4"]["klom"]
    assert rows["m3"]["verdict"] == "outside" and rows["m3"]["found_high"] == "0.045"
    assert not rows["m4"]["verdict"] and not rows["m4"]["found"]
    assert {name for name, row in rows.items() if row["ascends"] == "True"} == {"m5"}
    table = (tmp_path / "frontier.md").read_text().splitlines()
    assert len(table) == 2 + 4 + frontier_page.BEST
    cells = "10.0", "92.0", "−5.0 (−6.0, −4.0)", ".500 (.490–.510)", "reference"
    assert table[3] == f"| retrain_short__3 | {' | '.join(cells)} |"
    page = (tmp_path / "frontier.html").read_text()
    assert "KLoM of the &lt;forget&gt; set. No standing" in page
    assert "of no model" not in page
    assert '2.0 <span class="interval">[1.0,4.5]</span>' in page
    assert page.count(">outside</td>") == 1 and "<b>■ Ascends</b>" in page
    (line,) = [text for text in page.splitlines() if 'title="ascends"' in text]
    assert 'data-name="m5"' in line
    assert "&lt;training&gt;" in page and "http-equiv" not in page
    assert not re.search(r"""(src|href)=["']""", page)  # nothing is loaded
    (found,) = re.findall(r"const rows = (.*?), measures = ", page)
    assert {row["name"]: row["cost"] for row in json.loads(found)} == {
        p.name: p.cost for p in points
    }


def test_nothing_is_said_of_what_no_model_has(tmp_path):
    """As on the page of an audit from before verdicts were kept."""
    points = [*REFERENCES, point("m", "method", 0.3, 0.5, -0.01)]
    measures = {"planted": "strongest attack on mislabelled examples"}
    frontier_page.write(tmp_path, "t", points, frontier.ranked(points), measures, [])
    header = (tmp_path / "frontier.csv").read_text().splitlines()[0].split(",")
    assert "ascends" in header and not {"found", "verdict"} & {*header}
    page = (tmp_path / "frontier.html").read_text()
    for text in ("■ Ascends", "<th>found %", "<th>verdict", "false alarms, by"):
        assert text not in page
