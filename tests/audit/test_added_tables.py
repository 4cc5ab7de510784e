"""Tables of relearning on retained data, perturbed queries and weights, of a run."""

import dataclasses

import numpy as np
import pytest
from simulated_study import cells_of
from small_audits import prepared
from trees import distance

from unlearn import pipeline
from unlearn.audit import added_tables, model_tables, probes
from unlearn.errors import InputError
from unlearn.metrics import idi, residual

NAMES = ("gradient_ascent",)
ROWS = {"original", "no_op", "retrain", "head_distill", "gradient_ascent"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("added"))


def test_relearning_on_retained_data(run):
    cells = cells_of(added_tables.relearning_on_retain(run, NAMES))
    assert cells.keys() == ROWS and cells["no_op"] == cells["original"]
    constants = dict(run.config.audit.layers.relearning) | {"every": 4}
    own, reference = (
        probes.relearn_on_retain(run, name, 0, **constants)
        for name in ("gradient_ascent", "retrain")
    )
    found, rise = cells["gradient_ascent"], own.margin[1] - own.margin[0]
    assert found["before"]["value"] == pytest.approx(100 * own.accuracy[0])
    assert found["margin_after"]["value"] == pytest.approx(own.margin[1])
    expected = rise - (reference.margin[1] - reference.margin[0])
    assert found["rise"]["value"] == pytest.approx(expected, abs=1e-5)
    constants.pop("every")
    asked = probes.relearn(run, "retrain", 0, **constants)  # on the forget set: another
    assert asked.loss[0] == reference.loss[0] and len(asked.loss) == 5
    assert asked.loss[-1] < reference.loss[-1]
    with pytest.raises(InputError, match="delete it"):  # kept with another rate
        probes.relearn(run, "retrain", 0, **constants | {"learning_rate": 0.5})


def test_residual_knowledge(run):
    cells = cells_of(added_tables.residual(run, NAMES))
    assert cells.keys() == ROWS and cells["no_op"] == cells["original"]
    known = []
    for seed in range(run.config.seeds):
        pair = [
            probes.neighbour_answers(run, name, seed, 0.5, 500)
            for name in ("gradient_ascent", "retrain")
        ]
        known.append(residual.residual_knowledge(*pair).ratio)
    found = cells["gradient_ascent"]["ratio_0.5"]
    assert found["value"] == pytest.approx(np.mean(known))
    assert cells["retrain"]["ratio_0.5"]["value"] == pytest.approx(1, abs=0.2)


def test_inputs_that_are_not_floats_have_no_neighbours(run):
    spec = run.problem.input_spec._replace(leaves=(((3,), np.dtype(np.int32)),))
    lines = []
    tokens = dataclasses.replace(
        run,
        problem=run.problem.replace(input_spec=spec),
        progress=type("Said", (), {"say": lambda self, line: lines.append(line)})(),
    )
    assert added_tables.residual(tokens, NAMES) is None
    assert len(lines) == 1 and "one array of floats; these are int32" in lines[0]


def test_weights(run):
    cells = cells_of(added_tables.connectivity(run, NAMES))
    assert cells.keys() == ROWS
    original, retrain = cells["original"], cells["retrain"]
    assert original["distance_original"]["value"] == 0
    assert original["barrier_original"]["value"] < 1e-6
    assert original["distance_retrain"]["value"] == 1
    assert retrain["distance_original"]["value"] == 1
    shares = []
    for seed in range(run.config.seeds):
        models = [
            pipeline.make_model(run, name, seed)[0]["params"]
            for name in ("original", "gradient_ascent", "retrain")
        ]
        gaps = [distance(models[0], other) for other in models[1:]]
        shares.append(gaps[0] / gaps[1])
    found = cells["gradient_ascent"]["distance_original"]["value"]
    assert found == pytest.approx(np.mean(shares), rel=1e-4)


def test_one_seed_has_no_floor(tmp_path):
    run = prepared(tmp_path)
    run.config.seeds = 1
    cells = cells_of(added_tables.residual(run, ()))
    assert np.isnan(cells["retrain"]["ratio_0.5"]["value"])
    assert not np.isnan(cells["retrain"]["right_0.5"]["value"])


def test_what_says_nothing_is_left_out_of_the_layers(run, monkeypatch):
    """Relearning where retrained models do not return, IDI where they differ."""
    settings = dict(run.config.audit.layers) | {"seeds": 2}
    floor = {"relearn": 3.0, "idi": 0.1}

    def index(ours, before, reference):
        value = 1.0 if ours is before else floor["idi"]
        return type("Index", (), {"index": value})()

    def steps(own, before, retrained, classes):
        return {"relearn": 0.0 if own is before else floor["relearn"], "ain": 1.0}

    monkeypatch.setattr(idi, "mutual_information", lambda *_: 0.1)
    monkeypatch.setattr(idi, "linear_probe", lambda *_: 0.5)
    monkeypatch.setattr(model_tables, "difference_of", index)
    monkeypatch.setattr(model_tables, "relearned", steps)

    def columns():
        table = model_tables.layers(run, NAMES, **settings)
        rows = cells_of(table)
        assert all(row.keys() == rows["original"].keys() for row in rows.values())
        return [column["key"] for column in table["columns"]], table["note"]

    assert columns()[0] == ["relearn", "ain", "probe", "idi"]
    floor["idi"] = -3.0
    keys, note = columns()
    assert keys == ["relearn", "ain", "probe"] and "IDI is left out" in note
    floor["relearn"] = np.inf
    keys, note = columns()
    assert keys == ["probe"] and "Relearning is left out" in note
    floor["idi"] = np.nan
    assert columns()[0] == ["probe"]
