"""Several processes that do the work of one."""

import io
import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import command, outcome

from unlearn import hosts
from unlearn.errors import InputError
from unlearn.launcher import last_words

ENDED = (
    "launch.py: another process of this run has ended (it says why): the same command "
    "on all of them continues\n"
)


@pytest.mark.parametrize(
    "given, says",
    [
        ((None, 2, 0), "need --coordinator=HOST:PORT, --processes=N and"),
        (("a:1", 2, None), "need --coordinator=HOST:PORT, --processes=N and"),
        (("a", 2, 0), "give the host and a free port"),
        (("a:99999", 2, 0), "give the host and a free port"),
        (("http://a:1", 2, 0), "give the host and a free port"),
        (("a:1", 2, 2), "numbered 0 to N-1"),
        (("[::1]:1", 0, 0), "numbered 0 to N-1"),
    ],
)
def test_arguments_that_make_no_sense(given, says):
    with pytest.raises(InputError, match=says):
        hosts.start(*given)


@pytest.mark.parametrize(
    "variables, found",
    [
        ({}, False),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"TPU_WORKER_HOSTNAMES": "10.0.0.1"}, False),
        ({"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}, True),
    ],
)
def test_clusters_that_start_several(monkeypatch, variables, found):
    for name in ("SLURM_STEP_NUM_TASKS", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hosts.are_found() == found


def test_a_number_of_tasks_that_is_none(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4(x2)")
    with pytest.raises(InputError, match=r"SLURM_STEP_NUM_TASKS .* '4\(x2\)': unset"):
        hosts.are_found()


def test_of_what_compiled_code_says_at_its_end_a_line_is_left(monkeypatch, capfd):
    said = (
        b"[external/gloo/gloo/transport/debug_logger.cc:25] ERROR failed to connect\n"
        b"a warning of ours\n"
        b"E1126 12:22:28.432572 20317 coordination_service.cc:1549] Use polling:\n1\n"
        b"launch.py: a message of ours\n"
        b"F1126 12:22:28.439647 20328 client.h:80] Terminating process\n"
        b"*** Check failure stack trace: ***\n    @ 0x7fad83c40634 abseil\n"
    )
    stdin = io.TextIOWrapper(io.BytesIO(said))
    monkeypatch.setattr(sys, "stdin", stdin)
    handler = signal.getsignal(signal.SIGINT)
    try:
        last_words.main("launch.py")
    finally:
        signal.signal(signal.SIGINT, handler)
    ours = "a warning of ours\nlaunch.py: a message of ours\n"
    assert capfd.readouterr().err == ours + ENDED


WORDS = (
    "--preset=smoke",
    "--config.model.name=mlp",
    "--config.model.mlp.widths=16,",
    "--config.train.epochs=20",
    "--methods=finetune",
    "--seeds=1",
)


def start(environment, workdir, *words):
    """Starts two processes, one device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = environment.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=1"
    together = f"--coordinator=127.0.0.1:{port}", "--processes=2"
    return [
        subprocess.Popen(
            command(*words, f"--workdir={workdir}", *together, f"--process={number}"),
            env=environment | {"XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def finish(processes):
    """Waits for all; returns their outputs and errors."""
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return said


@pytest.fixture(scope="module")
def whole(environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, finish(start(environment, folder, *WORDS))


@pytest.mark.slow
def test_two_processes_are_as_two_devices(whole, call, tmp_path):
    """Process 0 alone prints and writes; weights are those of one with two devices."""
    import jax

    folder, ((out, err), (other, other_err)) = whole
    assert "Everything is in" in out and (other, err, other_err) == ("", "", "")
    assert jax.device_count() == 2
    code, _, errors = call(*WORDS, "--config.batch_devices=2", f"--workdir={tmp_path}")
    assert code == 0, errors
    rows, _ = outcome(folder / "digits_forget")
    alone, _ = outcome(tmp_path / "digits_forget")
    assert [row["model"] for row in rows] == [row["model"] for row in alone]
    from unlearn import store
    from unlearn.models import create

    images = np.zeros((1, 8, 8, 1), np.float32)
    like = jax.eval_shape(
        create("mlp", 10, widths=(16,)).init, jax.random.key(0), images
    )
    for name in ("original", "retrain", "finetune"):
        place = f"digits_forget/checkpoints/{name}/0/final"
        both = [store.load_checkpoint(f / place, like)[0] for f in (folder, tmp_path)]
        for leaf, same in zip(*map(jax.tree.leaves, both), strict=True):
            np.testing.assert_allclose(leaf, same, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_one_that_dies_ends_the_other_and_the_same_command_continues(
    environment, whole, tmp_path
):
    """First the one that writes, in training; once it goes on, the other."""
    folder = tmp_path / "digits_forget"
    for killed in range(2):
        processes = start(environment, tmp_path, *WORDS)
        while not is_at_work(processes[0], folder, trained=killed == 0):
            assert processes[0].poll() is None, processes[0].communicate()
            time.sleep(0.02)
        time.sleep(random.Random(killed).uniform(0, 0.5))
        processes[killed].send_signal(signal.SIGKILL)
        started = time.monotonic()
        _, errors = processes[1 - killed].communicate(timeout=60)
        assert processes[1 - killed].returncode not in (0, None)
        assert time.monotonic() - started < 60 and errors.replace(ENDED, "") == ""
        assert ENDED in errors
        processes[killed].communicate()
    finish(start(environment, tmp_path, *WORDS))
    assert outcome(folder) == outcome(whole[0] / "digits_forget")


def is_at_work(process, folder, trained):
    """Whether it holds the run's folder and, if `trained`, has a model there."""
    if trained:
        return (folder / "checkpoints" / "original").exists()
    lock = folder / ".lock"
    return lock.exists() and lock.read_text().startswith(f"{process.pid} ")


@pytest.mark.slow
def test_what_one_cannot_do_ends_all(environment, whole):
    """Another config in the folder; and a process that has other data."""
    folder, _ = whole
    processes = start(environment, folder, *WORDS, "--config.train.epochs=3")
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert all(process.returncode for process in processes)
    assert any("train.epochs: 20 there, 3 now" in text for text in errors)
    assert all(len(text.splitlines()) <= 2 for text in errors), errors
    assert all("Traceback" not in text for text in errors)


@pytest.mark.slow
def test_models_are_mapped_over_the_devices_of_all(environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "tests/on_two_hosts.py", address, str(number)],
            env=environment | {"PYTHONPATH": os.pathsep.join((".", "tests"))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [out.splitlines()[-1:] for out, _ in said] == [["the same"]] * 2, said
