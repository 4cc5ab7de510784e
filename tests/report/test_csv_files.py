"""Rows written as CSV and read back."""

import math

import numpy as np
import pytest
from nasty import NAMES
from result_rows import (
    TWO_SEEDS,
    diverged,
    random_results,
)

from unlearn.errors import InputError
from unlearn.report.csv_files import read_csv, write_csv
from unlearn.report.summary import summarize


def test_csv_round_trip_keeps_types_and_bytes(tmp_path):
    rows = [
        TWO_SEEDS[0] | {"test_accuracy": 0.1 + 0.2, "seconds": 1e-17},
        diverged("007", 3) | {"note": 'a "b", c\nd', "flag": True},
        TWO_SEEDS[1] | {"test_accuracy": np.float32(0.1), "seed": np.int64(7)},
    ]
    path = tmp_path / "results.csv"
    write_csv(path, rows)
    first = path.read_bytes()
    again = read_csv(path)
    write_csv(path, again)
    assert path.read_bytes() == first
    assert again[0] == rows[0] | {"note": None, "flag": None}
    assert again[0]["test_accuracy"] == 0.30000000000000004
    assert type(again[0]["seed"]) is int and type(again[0]["retain_accuracy"]) is float
    assert again[1]["model"] == "007"
    assert again[1]["note"] == rows[1]["note"] and again[1]["flag"] is True
    assert math.isnan(again[1]["test_accuracy"])
    assert again[2]["test_accuracy"] == float(np.float32(0.1))
    assert again[2]["seed"] == 7


@pytest.mark.parametrize("name", ["a\rb", "\r", "a\r\nb", 'a"\r', ",\r\r", "a\nb"])
def test_line_ends_in_names_come_back(name, tmp_path):
    path = tmp_path / "results.csv"
    rows = [{"model": name, name: name}, {"model": "b", name: 0.5}]
    write_csv(path, rows)
    assert read_csv(path) == rows
    assert path.read_bytes().endswith(b"b,0.5\n")


def test_summary_is_the_same_from_results_read_back(tmp_path):
    rows = random_results() + [diverged("gone", seed) for seed in range(5)]
    write_csv(tmp_path / "results.csv", rows)
    write_csv(tmp_path / "a.csv", summarize(rows))
    read = read_csv(tmp_path / "results.csv")
    write_csv(tmp_path / "b.csv", summarize(read))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_torn_csv_is_refused(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("model,seed\nscrub\n")
    with pytest.raises(InputError, match="row 2 has 1 cells"):
        read_csv(path)


def test_any_text_is_written_as_valid_utf_8_and_read_back(tmp_path):
    path = tmp_path / "results.csv"
    rows = [{"model": name, "note": name, "value": 0.5} for name in NAMES]
    write_csv(path, rows)
    first = path.read_bytes()
    again = read_csv(path)
    first.decode()
    write_csv(path, again)
    assert path.read_bytes() == first
    assert len(again) == len(NAMES)
    assert again[0]["model"] == rows[0]["model"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"model,seed\nscrub\n", "row 2 has 1 cells"),
        (b"model,seed\n\xff,1\n", "cannot be read"),
        (b"model,model\na,1\n", "two columns have the same name"),
        (b"model\na\n", "column 'seed' is missing"),
        (b"", "column 'model' is missing"),
    ],
)
def test_damaged_csv_is_refused_in_one_line(data, message, tmp_path):
    path = tmp_path / "results.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_csv(path, needs=("model", "seed"))
    assert "\n" not in str(caught.value)
    assert "delete the file and run again" in str(caught.value)


def test_csv_that_is_not_there_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")
