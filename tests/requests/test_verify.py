"""Whatever was changed is found and named."""

import json
import shutil

import numpy as np
import pytest
from deployments import copy, erase, quiet, said

from unlearn import requests
from unlearn.errors import InputError
from unlearn.requests import ledger, purging
from unlearn.requests.deployment import open_deployment
from unlearn.requests.verifying import check_hashes


@pytest.fixture(scope="module")
def used(deployed, tmp_path_factory):
    """Deployments with two requests."""
    made = {}

    def used(method):
        if method not in made:
            folder = copy(deployed(method), tmp_path_factory.mktemp("used") / "dep")
            erase(folder, [3, 14])
            erase(folder, [20])
            made[method] = folder
        return made[method]

    return used


@pytest.mark.parametrize("method", ["sisa", "certified", "finetune"])
@pytest.mark.slow
def test_a_flipped_byte_in_any_file_is_found_and_named(used, tmp_path, method):
    folder = copy(used(method), tmp_path / "dep")
    assert check_hashes(folder) == []
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in files if path.name != ".lock"]
    assert len(files) > 12
    draw = np.random.default_rng(0)
    for path in files:
        data = path.read_bytes()
        for place in {0, len(data) - 1, int(draw.integers(len(data)))}:
            path.write_bytes(
                data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            )
            faults = check_hashes(folder)
            assert faults and any(path.name in fault for fault in faults), path
        path.write_bytes(data)
        path.rename(path.with_name("away"))
        assert any(path.name in fault for fault in check_hashes(folder)), path
        path.with_name("away").rename(path)
    assert check_hashes(folder) == []


def test_damage_is_one_line_and_stops_the_next_request(used, tmp_path):
    folder = copy(used("certified"), tmp_path / "dep")
    path = folder / "weights" / "0002.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match=r"not as recorded: .*0002\.safetensors was"):
        requests.verify(folder, progress=quiet())
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"consent", b"c0nsent"))
    with pytest.raises(InputError, match="line 2.*backup"):
        erase(folder, [5])


def test_sisa_rebuilds_the_shard_that_is_asked_for(used):
    for shard in range(3):
        lines = said(requests.verify, used("sisa"), shard)
        assert any(f"shard {shard}, trained from scratch" in x for x in lines)
        assert any("the same bits" in x for x in lines)
    with pytest.raises(InputError, match="no shard 3"):
        requests.verify(used("sisa"), 3, progress=quiet())
    with pytest.raises(InputError, match="shards are of sisa"):
        requests.verify(used("certified"), 0, progress=quiet())


def test_a_shard_that_was_not_trained_as_claimed_is_found(used, tmp_path):
    """As if the request had been recorded and not done: every hash fits."""
    from unlearn.requests import verifying

    with pytest.MonkeyPatch.context() as patch:
        real = verifying.same_bits
        patch.setattr(
            verifying,
            "same_bits",
            lambda a, b: False if isinstance(a, tuple) else real(a, b),
        )
        with pytest.raises(InputError, match="shard 1.* has other bits"):
            requests.verify(used("sisa"), 1, progress=quiet())


@pytest.mark.parametrize("method", ["finetune", "certified"])
def test_the_last_request_is_answered_again(used, method):
    lines = said(requests.verify, used(method))
    assert any("request 2, answered again from version 1" in x for x in lines)


def test_an_answer_that_was_made_otherwise_is_found(used, tmp_path, monkeypatch):
    from unlearn.requests import strategies

    folder = used("finetune")
    real = strategies.Plain.forget

    def forget(self, key, state, problem, rows):
        state, info = real(self, key, state, problem, rows)
        return {"params": {**state["params"], "x": 1}}, info

    monkeypatch.setattr(strategies.Plain, "forget", forget)
    with pytest.raises(InputError, match="request 2.* has other bits"):
        requests.verify(folder, progress=quiet())


def test_an_unused_deployment_verifies(deployed):
    for method in ("sisa", "finetune"):
        lines = said(requests.verify, deployed(method))
        assert lines[-1] == "Everything is as recorded."


def test_the_report_is_made_of_its_facts(used):
    from unlearn.report import request_page

    folder = used("sisa") / "requests" / "0001"
    facts = json.loads((folder / "report.json").read_text())
    assert request_page.render(facts) == (folder / "report.html").read_text()


def test_a_folder_written_anew_is_found_by_a_hash_noted_elsewhere(used, tmp_path):
    folder, older = copy(used("finetune"), tmp_path / "dep"), tmp_path / "older"
    copy(folder, older)
    (line,) = erase(folder, [30])
    requests.verify(folder, known=line["hash"], progress=quiet())
    requests.verify(older, progress=quiet())  # consistent in itself
    with pytest.raises(InputError, match="older than that line"):
        requests.verify(older, known=line["hash"], progress=quiet())


def test_a_damaged_record_is_never_advised_to_be_deleted(used, tmp_path):
    folder = copy(used("finetune"), tmp_path / "dep")
    for name in ("deployment.json", "begun.json"):
        kept = (folder / name).read_bytes() if (folder / name).exists() else b""
        (folder / name).write_bytes(b"{}" if name == "begun.json" else b"{")
        with pytest.raises(InputError, match="restore it from a backup"):
            erase(folder, [31])
        (folder / name).write_bytes(kept)


def test_a_line_past_the_end_that_counts_is_told(used, tmp_path):
    folder = copy(used("finetune"), tmp_path / "dep")
    ledger = folder / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes() + ledger.read_bytes().splitlines(True)[-1])
    assert any("does not count" in line for line in said(requests.verify, folder))
    erase(folder, [30])
    assert not any("not count" in line for line in said(requests.verify, folder))


def test_what_was_purged_and_comes_back_is_found(used, tmp_path):
    folder, backup = copy(used("finetune"), tmp_path / "dep"), tmp_path / "backup"
    shutil.copytree(folder, backup)
    requests.purge(folder, progress=quiet())
    lines = said(requests.verify, folder)
    assert any("cannot be repeated any more: version 1 was purged" in x for x in lines)
    assert lines[-1] == "Everything else is as recorded."
    for name in ("weights/0000.safetensors", "states/0001/state.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(backup / name, folder / name)
        with pytest.raises(
            InputError, match=f"{name} was purged and is back: purge ag"
        ):
            requests.verify(folder, progress=quiet())
    requests.purge(folder, progress=quiet())
    requests.verify(folder, progress=quiet())


def test_what_is_in_use_is_needed_whatever_a_purge_says(used, tmp_path):
    """As if the purge had deleted it: every hash fits."""
    folder = copy(used("finetune"), tmp_path / "dep")
    found, name = open_deployment(folder), "states/0002/state.safetensors"
    stale = purging.stale(found, found.lines())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purging, "stale", lambda *_: [*stale, name])
        patch.setattr(purging, "needed", lambda *_: set())
        patch.setattr(purging, "check_in_use", lambda *_: None)
        requests.purge(folder, progress=quiet())
    assert check_hashes(folder) == []
    with pytest.raises(InputError, match=f"{name} is damaged or missing"):
        requests.verify(folder, progress=quiet())
    (folder / name).parent.mkdir()
    shutil.copy(used("finetune") / name, folder / name)
    requests.verify(folder, progress=quiet())  # back from a backup, and in use


def test_a_number_that_was_given_twice_is_found(used, tmp_path):
    folder = copy(used("finetune"), tmp_path / "dep")
    last = ledger.read(folder)[-1]
    ledger.append(folder, [last])
    with pytest.raises(InputError, match="line 4: its number 2 does not follow 2"):
        requests.verify(folder, progress=quiet())
