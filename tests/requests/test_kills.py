"""Killed at any moment: the same request ends with the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from commands import ROOT
from deployments import copy, erase, quiet
from kills import killed_at, release

from unlearn import requests
from unlearn.errors import InputError
from unlearn.requests import ledger
from unlearn.requests.deployment import open_deployment


def results(folder):
    """What must come out the same: the lines' hashes of states and weights."""
    names = "number", "version", "state", "weights", "erased", "kind"
    return [
        {name: line[name] for name in names if name in line}
        for line in open_deployment(folder).lines()
    ]


SOME_SLOW = [
    "sisa",
    pytest.param("certified", marks=pytest.mark.slow),
    pytest.param("finetune", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("method", SOME_SLOW)
def test_a_request_killed_before_any_write_ends_the_same(deployed, tmp_path, method):
    """Any write of SISA's; every third of the others, who write the same files."""
    whole = copy(deployed(method), tmp_path / "whole")
    erase(whole, [3, 14])
    step, finished = 0, False
    while not finished:
        step += 1 if method == "sisa" else 3
        folder = copy(deployed(method), tmp_path / f"{step}")
        with killed_at(step):
            erase(folder, [3, 14])
            finished = True
        release(folder)
        lines = erase(folder, [3, 14])
        assert lines == [] or lines[0]["number"] == 1
        assert results(folder) == results(whole), step
        requests.verify(folder, progress=quiet())
        assert not (folder / "begun.json").exists()
        left = {p.name for p in folder.rglob("*") if "partial" in p.name}
        assert not left and not (folder / "training").exists()
    assert step > 8


def test_another_request_finishes_what_was_begun_first(deployed, tmp_path):
    folder = copy(deployed("certified"), tmp_path / "dep")
    with killed_at(6):
        erase(folder, [3])
    release(folder)
    assert (folder / "begun.json").exists()
    assert requests.status(folder, progress=quiet())["begun"]
    (line,) = erase(folder, [20])
    assert line["number"] == 2
    lines = open_deployment(folder).lines()
    assert [x["erased"]["named"] for x in lines[1:]] == [["3"], ["20"]]


@pytest.mark.slow
def test_a_batch_killed_before_any_write_ends_the_same(deployed, tmp_path):
    base = copy(deployed("certified"), tmp_path / "base")
    for one in (3, 14):
        requests.enqueue(base, [one], reason="r", progress=quiet())
    whole = copy(base, tmp_path / "whole")
    requests.answer_queue(whole, progress=quiet())
    step, finished = 0, False
    while not finished:
        step += 3
        folder = copy(base, tmp_path / f"{step}")
        with killed_at(step):
            requests.answer_queue(folder, progress=quiet())
            finished = True
        release(folder)
        requests.answer_queue(folder, progress=quiet())
        assert results(folder) == results(whole), step
        assert requests.status(folder, progress=quiet())["waiting"] == 0


def test_a_purge_killed_before_any_write_ends_the_same(deployed, tmp_path):
    base = copy(deployed("certified"), tmp_path / "base")
    erase(base, [3])
    step, finished = 0, False
    while not finished:
        step += 1
        folder = copy(base, tmp_path / f"{step}")
        with killed_at(step):
            requests.purge(folder, progress=quiet())
            finished = True
        release(folder)
        requests.purge(folder, progress=quiet())
        lines = open_deployment(folder).lines()
        assert [line["kind"] for line in lines] == ["deploy", "request", "purge"]
        requests.verify(folder, progress=quiet())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sisa", "finetune"])
def test_a_request_that_was_dropped_leaves_nothing_to_the_next(
    deployed, tmp_path, method
):
    whole = copy(deployed(method), tmp_path / "whole")
    erase(whole, [20])
    for step in range(2, 40, 3):
        folder = copy(deployed(method), tmp_path / f"{step}")
        with killed_at(step):
            erase(folder, [3, 14])
        release(folder)
        if len(ledger.inspect(folder).lines) == 2:
            break  # it counts
        (folder / "begun.json").unlink(
            missing_ok=True
        )  # as the line says that names the remedy
        erase(folder, [20])
        assert results(folder) == results(whole), step
        requests.verify(folder, progress=quiet())


@pytest.mark.slow
def test_a_killed_export_is_recorded_by_the_next_command(deployed, tmp_path):
    base = copy(deployed("finetune"), tmp_path / "base")
    step, finished = 0, False
    while not finished:
        step += 1
        folder, to = copy(base, tmp_path / f"{step}"), tmp_path / f"{step}.npz"
        with killed_at(step):
            requests.export(folder, to, progress=quiet())
            finished = True
        release(folder)
        given_away = to.exists()
        erase(folder, [3])
        kinds = [line["kind"] for line in open_deployment(folder).lines()]
        assert kinds[1:] == (["export", "request"] if to.exists() else ["request"])
        assert to.exists() or not given_away
        requests.verify(folder, progress=quiet())


@pytest.mark.slow
def test_a_second_process_is_told_who_is_at_work(deployed, tmp_path):
    folder = copy(deployed("certified"), tmp_path / "dep")
    script = (
        "import sys, time; from unlearn.requests.deployment import hold\n"
        "from pathlib import Path\n"
        f"held = hold(Path({str(folder)!r})); print('held', flush=True)\n"
        "time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert other.stdout.readline() == b"held\n"
        for work in (
            lambda: erase(folder, [3]),
            lambda: requests.enqueue(folder, [3], reason="r", progress=quiet()),
            lambda: requests.purge(folder, progress=quiet()),
            lambda: requests.verify(folder, progress=quiet()),
        ):
            with pytest.raises(InputError, match=f"pid {other.pid} on .* is running"):
                work()
        erase(folder, [3], dry_run=True)  # changes nothing, so it need not wait
    finally:
        other.kill()
        other.wait()
    erase(folder, [3])


REQUEST = """
import io, sys
from unlearn import requests
from unlearn.report.progress import Progress
print("begins", flush=True)
quiet = Progress(io.StringIO())
requests.request(sys.argv[1], [3, 14, 20], reason="r", progress=quiet)
requests.verify(sys.argv[1], progress=quiet)
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_ends_in_the_same_bits(deployed, tmp_path):
    own = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    environment = os.environ | own

    def start(folder):
        command = [sys.executable, "-c", REQUEST, str(folder)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        process.stdout.readline()
        return process

    whole = copy(deployed("sisa"), tmp_path / "whole")
    process, began = start(whole), time.monotonic()
    assert process.wait() == 0
    longest = time.monotonic() - began
    folder, draw = tmp_path / "killed", random.Random(0)
    kills = 0
    for moment in range(3):
        if not folder.exists():
            copy(deployed("sisa"), folder)
        process = start(folder)
        time.sleep(draw.uniform(0.02, 0.9 * longest))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if len(ledger.inspect(folder).lines) == 2 or moment == 2:
            assert start(folder).wait() == 0
            assert results(folder) == results(whole)
            folder = tmp_path / f"killed{moment}"
    assert kills >= 2
