"""Columns of tables and of their files."""

import numpy as np
import pytest
from scipy import stats

from unlearn.audit import model_tables, per_example, probes, tables


def test_names_of_columns_leave_room_for_those_of_intervals():
    for columns in (per_example.MORE, model_tables.OUTPUTS, model_tables.LAYERS):
        keys = [key for key, *_ in columns]
        ends = {f"{key}_{end}" for key in keys for end in ("low", "high")}
        assert not ends & set(keys) and len(set(keys)) == len(keys)


def test_intervals_are_of_what_is_possible():
    """The interval of three shares, as few seeds give it, reaches beyond 0 and 100."""
    values = [10.0, 90.0, 100.0]
    plain = tables.mean_cell(values)
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert plain["low"] == pytest.approx(np.mean(values) - half) and plain["low"] < 0
    shown = ("share", "Share", "%", 1, ""), ("nats", "Nats", "nats", 1, "")
    rows = {"one": {"share": plain, "nats": plain}, "two": {"share": tables.cell(5.0)}}
    made = {
        row["model"]: row["cells"]
        for row in tables.table("a", "", "", shown, rows)["rows"]
    }
    assert made["one"]["share"] == {"value": plain["value"], "low": 0, "high": 100}
    assert made["one"]["nats"] == plain
    assert np.isnan(made["two"]["share"]["low"])
    assert tables.mean_cell(values, low=20)["low"] == 20


def test_outputs_have_bounds():
    assert model_tables.BOUNDS.keys() == {key for key, *_ in model_tables.OUTPUTS}
    apart = np.array([[30.0, -30.0]]), np.array([[-30.0, 30.0]])
    found = probes.output_distances(*apart, apart[1])
    for key, value in found.items():
        low, high = model_tables.BOUNDS[key]
        scale = 100 if high == 100 else 1
        assert low - 1e-6 <= scale * value <= high + 1e-6
    assert found["js"] == pytest.approx(model_tables.BOUNDS["js"][1])
    assert found["zrf"] == pytest.approx(model_tables.BOUNDS["zrf"][0])
