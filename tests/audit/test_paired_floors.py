"""Retrained models are compared in pairs, none in two of them: where the floor is."""

from types import SimpleNamespace

import numpy as np
import pytest
from simulated_study import cells_of
from small_runs import Silent

from unlearn import pipeline
from unlearn.audit import added_tables, probes
from unlearn.audit.tables import mean_cell
from unlearn.metrics import residual

PLACES = {"original": 0.0, "head_distill": 0.5}
OF_RETRAIN = (1.0, 3.0, 4.0, 8.0, 20.0)  # of five seeds


def place_of(run, name, seed):
    return OF_RETRAIN[seed] if name == "retrain" else PLACES[name]


@pytest.fixture
def run_of(monkeypatch):
    """Runs of some seeds, whose models are places on a line."""

    def between(run, one, other, examples):
        return abs(one - other), abs(one - other)

    def curve(run, name, seed, **constants):
        margin = np.array([0.0, place_of(run, name, seed)])
        return SimpleNamespace(accuracy=margin, margin=margin)

    def answers(run, name, seed, radius, examples):
        draw = np.random.default_rng([seed, len(name)])
        return draw.random((20, 30)) < 0.8

    monkeypatch.setattr(pipeline, "original", lambda run, seed: 0.0)
    monkeypatch.setattr(pipeline, "make_model", lambda *of: (place_of(*of), {}))
    monkeypatch.setattr(probes, "variables_of", place_of)
    monkeypatch.setattr(probes, "path_between", between)
    monkeypatch.setattr(probes, "relearn_on_retain", curve)
    monkeypatch.setattr(probes, "neighbour_answers", answers)

    def make(seeds):
        layers = SimpleNamespace(relearning={"steps": 4}, seeds=seeds)
        spec = SimpleNamespace(continuous_shape=lambda: (3,))
        return SimpleNamespace(
            config=SimpleNamespace(seeds=seeds, audit=SimpleNamespace(layers=layers)),
            problem=SimpleNamespace(input_spec=spec),
            sets=SimpleNamespace(forget=np.arange(30)),
            progress=Silent(),
        )

    return make


def same(one, other):
    assert one == pytest.approx(other, nan_ok=True)


def test_of_weights(run_of):
    retrain = cells_of(added_tables.connectivity(run_of(5), ()))["retrain"]
    same(retrain["barrier_retrain"], mean_cell([2.0, 4.0], low=0))
    same(retrain["distance_retrain"], mean_cell([2.0, 1.0], low=0))
    same(retrain["barrier_original"], mean_cell(OF_RETRAIN, low=0))


def test_of_perturbed_queries(run_of):
    run = run_of(4)
    right = [
        probes.neighbour_answers(run, "retrain", seed, 0.5, 0) for seed in range(4)
    ]
    ratios = [residual.residual_knowledge(*right[i : i + 2]).ratio for i in (0, 2)]
    retrain = cells_of(added_tables.residual(run, ()))["retrain"]
    same(retrain["ratio_0.5"], mean_cell(ratios, low=0))
    same(retrain["right_0.5"], mean_cell([100 * one.mean() for one in right]))


def test_of_relearning(run_of):
    """Around a circle of models the differences would always add up to 0."""
    cells = cells_of(added_tables.relearning_on_retain(run_of(4), ()))
    assert cells["retrain"]["rise"]["value"] == np.mean([-2.0, -4.0])
    assert cells["retrain"]["margin_after"]["value"] == np.mean(OF_RETRAIN[:4])
    assert cells["original"]["rise"]["value"] == -np.mean(OF_RETRAIN[:4])


@pytest.mark.parametrize(("seeds", "known"), [(1, False), (2, True)])
def test_a_single_pair_has_no_interval_and_one_seed_no_floor(run_of, seeds, known):
    run = run_of(seeds)
    found = {}
    for table in (added_tables.connectivity, added_tables.residual):
        found |= cells_of(table(run, ()))["retrain"]
    for key in ("barrier_retrain", "distance_retrain", "ratio_0.5", "share_0.25"):
        assert np.isfinite(found[key]["value"]) == known
        assert np.isnan([found[key]["low"], found[key]["high"]]).all()
    rise = cells_of(added_tables.relearning_on_retain(run, ()))["retrain"]["rise"]
    assert np.isfinite(rise["value"]) == known
