"""Requests, one after another, to tiny deployments."""

import json
import subprocess
import sys

import numpy as np
import pytest
from deployments import config, deploy, erase, quiet, said

from unlearn import requests, store
from unlearn.errors import InputError
from unlearn.requests import matching, states
from unlearn.requests.answer import prepare
from unlearn.requests.calls import make_call
from unlearn.requests.deployment import open_deployment

LONG = "newton_head", "retrain", "amnesiac", "rewind", "noisy_rewind"
METHODS = ["finetune", "newton_head", "retrain", "sisa", "certified", "amnesiac"]
CHAINS = ["newton_head+finetune", "rewind", "noisy_rewind"]


def tree(folder):
    """Every file but the lock, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])
        for name in METHODS + CHAINS
    ],
)
def test_requests_one_after_another(fresh, method):
    folder = fresh(method)
    (first,) = erase(folder, [3, 14], reference="T-1")
    (second,) = erase(folder, ["3", "20"])
    assert (first["number"], second["number"]) == (1, 2)
    assert (first["version"], second["version"]) == (1, 2)
    assert first["erased"]["named"] == ["3", "14"]
    assert second["erased"]["named"] == ["20"]
    assert second["state"]["before"] == first["state"]["after"]
    assert second["weights"]["before"] == first["weights"]["after"]
    assert first["weights"]["after"] != first["weights"]["before"]
    assert first["reference"] == "T-1" and first["reason"] == "withdrawn consent"
    report = json.loads((folder / "requests/0002/report.json").read_text())
    assert report["gone"] == {"3": 1}
    assert report["measured"]["accuracy"]["forget"]["examples"] == 1
    requests.verify(folder, progress=quiet())
    before = tree(folder)
    assert erase(folder, [3, 14, 20]) == []
    assert tree(folder) == before


def test_an_unknown_id_refuses_the_whole_request(fresh):
    folder = fresh("certified")
    before = tree(folder)
    with pytest.raises(InputError, match="unknown id"):
        erase(folder, [3, 1234])
    assert tree(folder) == before
    (line,) = erase(folder, [3, 1234], skip_unknown=True)
    assert line["erased"]["named"] == ["3"]


@pytest.mark.parametrize("options", [{"reason": " "}, {"reason": "a\nb"}])
def test_a_request_needs_a_reason_of_a_line(fresh, options):
    with pytest.raises(InputError, match="reason"):
        erase(fresh("certified"), [3], **options)


def test_a_dry_run_changes_nothing(fresh):
    folder = fresh("sisa")
    before = tree(folder)
    lines = said(requests.request, folder, [3, 14], reason="r", dry_run=True)
    assert any("3, 14" in line for line in lines)
    assert any("shard" in line for line in lines)
    assert tree(folder) == before


def test_test_examples_are_no_longer_measured_and_change_no_weights(fresh):
    folder = fresh("certified")
    (line,) = erase(folder, ["test/3"])
    assert line["version"] == 0 and line["state"]["before"] == line["state"]["after"]
    (line,) = erase(folder, [5])
    report = json.loads((folder / "requests/0002/report.json").read_text())
    assert report["left"]["test"] == 29 and line["version"] == 2
    assert report["measured"]["accuracy"]["test"]["examples"] == 29


def test_a_request_that_leaves_too_little_is_refused_at_once(fresh):
    folder = fresh("certified")
    before = tree(folder)
    with pytest.raises(InputError, match="leave 1 training example"):
        erase(folder, list(range(59)))
    assert tree(folder) == before


@pytest.mark.parametrize("method", ["finetune", "sisa"])
def test_no_method_sees_what_was_erased_before(fresh, method):
    """Approximate methods have no row of it; others have zeros."""
    folder = fresh(method)
    erase(folder, [3])
    found = open_deployment(folder)
    request = {"erased": {"named": ["7"], "groups": [], "copies": []}}
    begun = {"number": 2, "requests": [request]}
    job = prepare(found, found.lines(), begun, make_call(quiet()))
    images = np.asarray(job.problem.examples)
    original = matching.load_dataset(found.settings, None).train_images
    assert not any(np.array_equal(original[3], image) for image in images)
    assert any(np.array_equal(original[7], image) for image in images)
    assert len(images) == (60 if method == "sisa" else 59)


def test_sisa_ends_as_if_never_trained_on_them(fresh):
    """Bit for bit the model fitted on what is left, by the library alone."""
    from unlearn.training_time import METHODS

    folder = fresh("sisa")
    for ids in ([3, 14], [20], [7, 41]):
        erase(folder, ids)
    found = open_deployment(folder)
    loaded = matching.load(
        found, (), dataset=matching.load_dataset(found.settings, None)
    )
    problem = loaded.problem(found.settings, np.arange(60))
    left = np.setdiff1d(np.arange(60), [3, 14, 20, 7, 41])
    constants = found.settings["methods"]["sisa"]
    fitted = METHODS["sisa"].fit(found.key(0), problem, indices=left, **constants)
    state = states.load(found.state(3), problem)
    tests = loaded.rows[60:]
    ours, theirs = (METHODS["sisa"].predict(s, tests) for s in (state, fitted))
    np.testing.assert_array_equal(ours, theirs)


def test_certified_says_what_is_spent_and_who_is_not_covered(fresh):
    folder = fresh("certified")
    (line,) = erase(folder, [3])
    report = json.loads((folder / "requests/0001/report.json").read_text())
    assert line["budget"] > 0
    assert "the version before is not covered" in report["guarantee"]


# The queue


def test_a_batch_is_one_version_and_a_line_each(fresh):
    folder = fresh("sisa")
    for ids in ([3, 14], [14, 20], [3]):
        requests.enqueue(folder, ids, reason="r", progress=quiet())
    assert requests.status(folder, progress=quiet())["waiting"] == 3
    lines = requests.answer_queue(folder, progress=quiet())
    assert [line["number"] for line in lines] == [1, 2]
    assert {line["version"] for line in lines} == {2}
    assert [line["erased"]["named"] for line in lines] == [["3", "14"], ["20"]]
    assert requests.status(folder, progress=quiet())["waiting"] == 0
    requests.verify(folder, progress=quiet())
    report = json.loads((folder / "requests/0001/report.json").read_text())
    assert report["answered_together"] == 2


def test_a_batch_ends_as_single_requests_do(fresh):
    folder, other = fresh("sisa", "together"), fresh("sisa", "alone")
    for ids in ([3, 14], [20]):
        requests.enqueue(folder, ids, reason="r", progress=quiet())
        erase(other, ids)
    lines = requests.answer_queue(folder, progress=quiet())
    assert (
        lines[-1]["weights"]["after"]
        == (open_deployment(other).lines()[-1]["weights"]["after"])
    )


def test_a_request_after_a_kill_at_the_end_of_a_batch_is_answered(fresh, monkeypatch):
    """The files that it answered are gone, and their names free for others."""
    folder = fresh("newton_head")
    for ids in ([0], [1]):
        requests.enqueue(folder, ids, reason="r", progress=quiet())

    delete = store.delete

    def killed(*args):
        if not list((folder / "queue").iterdir()):
            raise KeyboardInterrupt
        delete(*args)

    with monkeypatch.context() as patched:
        patched.setattr(store, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            requests.answer_queue(folder, progress=quiet())
    assert (folder / "begun.json").exists() and not list((folder / "queue").iterdir())
    requests.enqueue(folder, [2], reason="r", reference="NEW", progress=quiet())
    (line,) = requests.answer_queue(folder, progress=quiet())
    assert line["reference"] == "NEW" and line["erased"]["named"] == ["2"]


def test_a_request_for_who_was_erased_is_named_when_it_leaves_the_queue(fresh):
    folder = fresh("newton_head")
    for ids, reference in (([0], "A"), ([0], "B"), ([1], "C")):
        requests.enqueue(folder, ids, reason="r", reference=reference, progress=quiet())
    lines = said(requests.answer_queue, folder)
    assert "0002.json (B): nothing is left to erase, by request 1" in lines


@pytest.mark.slow
def test_a_deployment_that_another_process_holds_is_waited_for(fresh):
    folder = fresh("newton_head")
    code = (
        "import sys, time; from unlearn.store.locks import acquire; "
        "held = acquire(sys.argv[1]); print(flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(folder)]
    other = subprocess.Popen(words, stdout=subprocess.PIPE)
    other.stdout.readline()
    try:
        with pytest.raises(InputError, match="is running here .*: wait for it$"):
            erase(folder, [0])
    finally:
        other.kill()
        other.wait()


def test_unknown_ids_do_not_enter_the_queue(fresh):
    folder = fresh("sisa")
    with pytest.raises(InputError, match="unknown"):
        requests.enqueue(folder, [777], reason="r", progress=quiet())
    assert said(requests.answer_queue, folder) == ["No request waits."]


def test_answering_together_is_cheaper_and_said(fresh):
    folder = fresh("sisa")
    for one in (3, 14, 20):
        requests.enqueue(folder, [one], reason="r", progress=quiet())
    lines = said(requests.answer_queue, folder)
    assert any("one by one" in line for line in lines)


# Deploying


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("finetunes", {}, "did you mean finetune"),
        ("unsir", {}, "whole classes"),
        ("sisa+finetune", {}, "cannot be chained"),
        ("sisa", {"model__weights": "w.npz"}, "take over weights"),
        ("finetune", {"model__weights": "w.npz"}, "no file of weights"),
        ("finetune", {"methods__finetune__epochs": 0}, "epochs must be at least"),
        ("finetune", {"model__name": "mpl"}, "no model"),
        ("finetune", {"data__name": "npz:none.npz"}, "no such file"),
    ],
)
def test_what_cannot_be_deployed_is_refused_and_leaves_nothing(
    tmp_path, method, changes, message
):
    with pytest.raises(InputError, match=message):
        deploy(tmp_path / "dep", method, **changes)
    assert not (tmp_path / "dep" / "deployment.json").exists()


def test_deploying_again_is_nothing_and_otherwise_is_refused(deployed):
    folder = deployed("certified")
    before = tree(folder)
    deploy(folder, "certified")
    assert tree(folder) == before
    with pytest.raises(InputError, match="other settings"):
        deploy(folder, "certified", train__epochs=3)
    with pytest.raises(InputError, match="other settings"):
        deploy(folder, "retrain")


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt"):
        deploy(tmp_path, "certified")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == [
        "notes.txt"
    ]


def test_the_secret_is_its_owners_and_in_no_record(deployed):
    folder = deployed("certified")
    path = folder / "secret.json"
    secret = json.loads(path.read_text())["key"]
    assert path.stat().st_mode & 0o77 == 0 and folder.stat().st_mode & 0o77 == 0
    for name, data in tree(folder).items():
        assert name == "secret.json" or secret.encode() not in data


def test_two_deployments_of_one_config_have_other_keys(tmp_path):
    one, two = (open_deployment(deploy(tmp_path / n, "certified")) for n in "ab")
    assert one.secret != two.secret
    assert one.lines()[0]["weights"] != two.lines()[0]["weights"]


def test_the_config_has_what_a_deployment_reads():
    assert set(config()) == {"data", "model", "train", "methods"}
    assert config().data.validation == 0


@pytest.mark.slow
def test_others_of_a_group_that_stay_are_told(tmp_path):
    rows = np.random.default_rng(0).integers(0, 255, (60, 6, 6, 1), dtype=np.uint8)
    table = {"x_train": rows[:40], "x_test": rows[40:]}
    table |= {"y_train": np.arange(40) % 2, "y_test": np.arange(20) % 2}
    np.savez(tmp_path / "d.npz", **table, groups=np.arange(40) // 4)
    folder = tmp_path / "dep"
    deploy(folder, "retrain", data=f"npz:{tmp_path / 'd.npz'}")
    found = open_deployment(folder)
    one = found.examples.ids[0]
    erase(folder, [one], keep_groups=True)
    page = (folder / "requests" / "0001" / "report.html").read_text()
    assert "3 others of their groups stay" in page
    assert "on the 39 training examples" in page


def test_strays_in_the_queue_are_named_and_break_nothing(fresh):
    folder = fresh("newton_head")
    path = requests.enqueue(folder, [3], reason="r", progress=quiet())
    stray = path.with_name("1 copy.json")
    stray.write_bytes(path.read_bytes())
    assert requests.enqueue(folder, [4], reason="r", progress=quiet()).stem == "0002"
    kept = json.loads(path.read_text())
    for wrong in ({"ids": 5}, {"ids": [[3]]}, {"reference": None}, {"keep_groups": 1}):
        path.write_text(json.dumps(kept | wrong))
        with pytest.raises(InputError, match=f"1.json: {min(wrong)} is .* or delete"):
            requests.answer_queue(folder, progress=quiet())
    path.write_text(json.dumps(kept))
    assert len(requests.answer_queue(folder, progress=quiet())) == 2
    assert not stray.exists()
