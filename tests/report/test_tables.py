"""The summary for people, as Markdown and on a terminal."""

import io
import re

import pytest
from nasty import NAMES
from result_rows import (
    TWO_SEEDS,
    diverged,
    random_results,
)

from unlearn.report import tables
from unlearn.report.summary import summarize


def test_markdown_has_a_row_a_model_and_one_for_the_floor():
    rows = TWO_SEEDS + [diverged("gone", 0), diverged("gone", 1)]
    text = tables.summary_markdown(summarize(rows))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [line.split("|")[1].strip(" *") for line in lines[2:]]
    assert names == ["floor", "original", "retrain", "near", "far †", "gone"]
    assert "- **†**: the method does not reach its purpose" in text
    assert "more than 5 points" in text and "more than 2 points" in text
    assert len({line.count("|") for line in lines}) == 1
    assert "2 training seeds" in text
    assert "nan" not in text
    cells = [cell.strip() for cell in lines[5].split("|")]
    assert cells[2] == "80.00 ± 0.00 (5.00)"
    assert cells[6] == "3.00 ± 25.41"
    assert [cell.strip() for cell in lines[2].split("|")][6] == "6.00"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [100, 80, 60])
def test_printed_table_fits_and_cuts_no_number(width, encoding):
    from rich.console import Console

    rows = random_results(("gradient_ascent", "random_labels"))
    rows += [diverged("gone", seed) for seed in range(5)]
    summary = summarize(rows)
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    tables.print_table(summary, Console(file=stream, width=width))
    stream.seek(0)
    lines = stream.read().splitlines()
    assert max(map(len, lines)) <= width
    for row in summary:
        line = next(line for line in lines if line.startswith(row["model"]))
        if row["seeds"]:
            assert f"{100 * row['test_accuracy']:.1f}" in line
        if row["model"] not in ("retrain", "gone"):
            assert f"{100 * row['tug_of_war']:.2f}" in line
    floor = next(line for line in lines if line.startswith("  floor"))
    assert f"{100 * summary[0]['avg_gap_floor']:.2f}" in floor
    assert ("±" in "".join(lines[1:])) == (width == 100 and encoding == "utf-8")


def test_printed_table_is_100_columns_without_a_terminal(capsys):
    tables.print_table(summarize(random_results()))
    out = capsys.readouterr().out
    assert 80 < max(map(len, out.splitlines())) <= 100
    assert "Speed-up" in out and "\x1b" not in out


def test_markdown_keeps_its_columns_whatever_the_names_are():
    methods = [name for name in NAMES if name]
    text = tables.summary_markdown(summarize(random_results(methods, seeds=2)))
    text.encode()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3 + 2 + len(methods)
    assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_any_name_is_printed(encoding):
    from rich.console import Console

    methods = [name for name in NAMES if name]
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    tables.print_table(
        summarize(random_results(methods, seeds=2)), Console(file=stream, width=100)
    )
    stream.seek(0)
    text = stream.read()
    assert r"$\frac$" in text and "[bold red]x[/]" in text and ":warning:" in text


def test_an_imported_method_is_marked_as_well():
    rows = [r | {"status": "imported"} if r["model"] == "far" else r for r in TWO_SEEDS]
    assert "| far † (imported) |" in tables.summary_markdown(summarize(rows))


def test_without_a_reference_the_columns_are_empty():
    rows = [row for row in random_results() if row["model"] != "retrain"]
    rows = [r | {"status": "imported"} if r["model"] == "original" else r for r in rows]
    summary = summarize(rows, needs_reference=False)
    text = tables.summary_markdown(summary, ["One | note"])
    assert text.startswith("> One \\| note.\n")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert "| *floor* |" not in text and "over 5 training seeds" in text
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[1] == "original (imported)"
    assert cells[6:9] == ["", "", "no reference"]
    assert "(" not in cells[2]  # no gap in parentheses
