"""Deployments that keep weights from early in the training, to rewind to."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from deployments import config, deploy, erase, quiet, said

from unlearn import requests, training
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.requests import facts, ledger, matching, states, strategies
from unlearn.requests.calls import make_call
from unlearn.requests.deployment import open_deployment
from unlearn.requests.packing import Rewindable

EARLY = "early_weights_trained_on_the_erased"


def same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def state_of(folder, version):
    """A version's state, and the problem of what is left."""
    found = open_deployment(folder)
    erased = found.erased(found.lines())
    loaded = matching.load(found, erased, make_call(quiet()))
    rows = np.setdiff1d(found.examples.of(0), np.array(list(erased), int))
    problem = loaded.problem(found.settings, rows)
    return states.load(found.state(version), problem, checked=True), problem


@pytest.mark.slow
def test_kept_are_the_weights_after_the_first_epochs(fresh):
    folder = fresh("rewind")
    state, problem = state_of(folder, 0)
    assert isinstance(state, Rewindable)
    assert list(state.early) == [1]
    recipe = training.Recipe(**config().train)
    key = open_deployment(folder).key(0)
    for epochs, kept in ((1, state.early[1]), (2, state.variables)):
        same(training.train(key, problem, problem.retain, recipe, epochs)[0], kept)


@pytest.mark.slow
def test_a_training_that_flips_by_turns_counts_its_epochs(tmp_path):
    flips = {"data__flip": True, "data__alternate_flip": True}
    state, problem = state_of(deploy(tmp_path / "dep", "rewind", **flips), 0)
    assert hasattr(problem.augment, "in_epoch")
    recipe = training.Recipe(**config().train)
    key = open_deployment(tmp_path / "dep").key(0)
    for epochs, kept in ((1, state.early[1]), (2, state.variables)):
        same(training.train(key, problem, problem.retain, recipe, epochs)[0], kept)


@pytest.mark.slow
def test_every_request_goes_back_to_the_same_weights(fresh):
    folder = fresh("rewind")
    erase(folder, [3, 14])
    (second,) = erase(folder, [20])
    assert second["retrained"] == {"rewound_to_epochs": [1]}
    assert second[EARLY] == [1]
    first, _ = state_of(folder, 0)
    state, problem = state_of(folder, 2)
    same(state.early, first.early)
    early = {1: first.early[1]}
    assert len(problem.retain) == 57
    expected, _ = METHODS["rewind"].fn(
        open_deployment(folder).key(2), {}, problem.replace(early=early), epochs=1
    )
    same(state.variables, expected)
    assert len(list((folder / "states" / "slices").glob("*.safetensors"))) == 1


@pytest.mark.slow
def test_what_still_depends_on_the_erased_is_said_and_not_given_away(fresh, tmp_path):
    folder = fresh("rewind")
    before = said(requests.purge, folder)
    assert not any("early in the training" in line for line in before)
    erase(folder, [3, 14])
    report = json.loads((folder / "requests/0001/report.json").read_text())
    assert "after epoch 1 of the first training, which had seen" in report["work"]
    assert any("a new deployment alone" in one for one in report["depends"])
    lines = said(requests.purge, folder)
    assert any("next request starts from: a new deployment" in one for one in lines)
    assert len(list((folder / "states" / "slices").glob("*.safetensors"))) == 1
    requests.verify(folder, progress=quiet())
    erase(folder, [20])
    requests.verify(folder, progress=quiet())
    requests.export(folder, tmp_path / "new.npz", progress=quiet())
    state, _ = state_of(folder, 3)
    given = np.load(tmp_path / "new.npz")
    assert len(given.files) == len(jax.tree.leaves(state.variables))
    assert states.for_serving(state) is state.variables


def test_a_line_says_it_of_its_own_request_alone(fresh):
    """Of several that are answered at once those that erase no training example not."""
    folder = fresh("rewind")
    (line,) = erase(folder, ["test/3"])
    assert EARLY not in line
    for ids in (["test/4"], [3, "test/5"]):
        requests.enqueue(folder, ids, reason="r", progress=quiet())
    other, trained = requests.answer_queue(folder, progress=quiet())
    assert EARLY not in other and trained[EARLY] == [1]
    assert other["retrained"] == trained["retrained"] == {"rewound_to_epochs": [1]}
    report = json.loads((folder / "requests/0003/report.json").read_text())
    assert report["entry"][EARLY] == [1]
    requests.verify(folder, progress=quiet())


@pytest.mark.parametrize("cut", [False, True])
def test_lines_from_before_are_read_and_followed(fresh, monkeypatch, cut):
    """They do not say it; that they do not is part of what the chain hashes."""
    folder = fresh("rewind")
    with monkeypatch.context() as patched:
        patched.setattr(facts, "early_of", lambda job, taken: {})
        (old,) = erase(folder, [3])
    assert EARLY not in old
    (new,) = erase(folder, [20])
    assert new[EARLY] == [1] and new["previous"] == old["hash"]
    if cut:
        path = folder / "ledger.jsonl"
        *lines, last = path.read_text().splitlines(keepends=True)
        line = {k: v for k, v in json.loads(last).items() if k != EARLY}
        path.write_text("".join(lines) + ledger.canonical(line) + "\n")
        with pytest.raises(InputError, match="does not match its hash"):
            requests.verify(folder, progress=quiet())
        return
    requests.verify(folder, progress=quiet(), known=old["hash"])
    requests.status(folder, progress=quiet())
    assert any("early in the training" in one for one in said(requests.purge, folder))


@pytest.mark.slow
def test_what_hides_where_it_rewinds_to_certifies(fresh):
    """With a key of 128 bits, and the start among what is kept."""
    folder = fresh("noisy_rewind")
    found = open_deployment(folder)
    assert jax.random.key_data(found.key(1)).size == 4
    before = {k: v for k, v in found.settings.items() if k != "key_bits"}
    old = dataclasses.replace(found, settings=before)  # it had no secret to rest on
    assert old.certificate is None and jax.random.key_data(old.key(1)).size == 2
    (line,) = erase(folder, [3, 14])
    assert line[EARLY] == [1]  # the start saw nothing
    report = json.loads((folder / "requests/0001/report.json").read_text())
    assert report["guarantee"].startswith("Certified: (ε = 8, δ = 1e-05) removal.")
    assert "The new weights, within ε and δ." in report["depends"]
    assert any("a new deployment alone" in one for one in report["depends"])
    state, problem = state_of(folder, 1)
    assert list(state.early) == [0, 1]
    key_init, _ = jax.random.split(found.key(0))
    start = problem.model.init(key_init, problem.inputs(problem.retain[:1]))
    same(state.early[0], start)
    assert any("within epsilon" in line for line in said(requests.purge, folder))


def test_other_methods_do_not_speak_of_it(fresh):
    folder = fresh("finetune")
    (line,) = erase(folder, [3])
    assert line["retrained"] == {}
    assert not any("early" in key for key in line)
    report = json.loads((folder / "requests/0001/report.json").read_text())
    assert not any("early in the training" in one for one in report["depends"])
    assert not any("early" in line for line in said(requests.purge, folder))


class Killed(Exception):
    pass


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_training_keeps_the_same_early_weights(
    fresh, tmp_path, monkeypatch, epoch
):
    _, problem = state_of(fresh("rewind"), 0)
    monkeypatch.setattr(strategies, "CHECKPOINT_SECONDS", -1)
    recipe = training.Recipe(epochs=3, batch_size=16)
    key, constants = jax.random.key(0), {"rewind": {"epoch": epoch}}

    def make(name, progress):
        place = tmp_path / name
        return strategies.Plain("rewind", constants, recipe, place, progress)

    class Stops:
        def tick(self, text, share):
            if share == 1:
                raise Killed

    whole = make("whole", quiet()).fit(key, problem)
    with pytest.raises(Killed):
        make("killed", Stops()).fit(key, problem)
    assert list((tmp_path / "killed").iterdir())
    again = make("killed", quiet()).fit(key, problem)
    assert list(again.early) == [epoch]
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"methods__rewind__epoch": 3}, "methods.rewind.epoch must be from 1 to 2"),
        ({"model__weights": "w.npz"}, "was trained elsewhere"),
    ],
)
def test_weights_that_will_not_be_there_are_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        deploy(tmp_path / "dep", "rewind", **changes)
    assert not (tmp_path / "dep").exists()
