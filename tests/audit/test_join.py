"""Several processes that make the models of one audit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import command
from conftest import FLAGS

from unlearn import store
from unlearn.errors import InputError

WORDS = (
    "--experiment=digits_audit",
    "--preset=smoke",
    "--config.audit.chunk=4",
    "--config.audit.canaries=0",
    "--config.audit.harder.models=0",
    "--seeds=1",
)


def test_who_joins_needs_the_same_config_and_shuts_nobody_out(tmp_path):
    folder = tmp_path / "run"
    ours = store.join(folder, {"a": 1})
    assert store.read_json(folder / "config.json") == {"a": 1}
    with pytest.raises(InputError, match="a: 1 there, 2 now"):
        store.join(folder, {"a": 2})
    partial = folder / "studies" / ".x.npz.1.0123abcd.partial"
    partial.parent.mkdir()
    partial.write_text("")
    store.lock(folder).release()
    assert partial.exists()  # of one that has joined
    store.leave(ours)
    assert not (folder / ".workers").exists()
    store.lock(folder).release()
    assert not partial.exists()


def test_of_two_processes_one_gets_a_chunk_and_a_killed_one_frees_it(tmp_path):
    place = tmp_path / ".00000_4"
    code = (
        "import sys, time; from unlearn import store; "
        "held = store.try_lock(sys.argv[1]); print(held is not None, flush=True); "
        "time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "True\n"
    assert store.try_lock(place) is None
    other.send_signal(signal.SIGKILL)
    other.wait()
    held = store.try_lock(place, 1.0)
    assert held is not None and store.try_lock(place) is None
    store.leave(held)
    assert not place.exists()


def start(tmp_path, folder, *words):
    return subprocess.Popen(
        command(*WORDS, f"--workdir={tmp_path / folder}", *words),
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count=1",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_three_at_work_and_one_is_killed(tmp_path):
    """They end with the same models as one alone, and nothing is left to make."""
    workers = [start(tmp_path, "many", "--join") for _ in range(3)]
    studies = tmp_path / "many" / "digits_audit" / "studies"
    while not list(studies.glob("shadow/retrain/.0*")):
        all_ended = all(worker.poll() is not None for worker in workers)
        assert not all_ended, [worker.communicate() for worker in workers]
        time.sleep(0.02)
    workers[0].send_signal(signal.SIGKILL)
    for worker in workers[1:]:
        out, err = worker.communicate(timeout=300)
        assert worker.returncode == 0, err
        assert "All models are made: the same command without --join" in out
    workers[0].communicate()
    for folder in ("many", "one"):
        last = start(tmp_path, folder, "--join")
        out, err = last.communicate(timeout=300)
        assert last.returncode == 0, err
        assert (" study  retrain  12 models" in out) == (folder == "one")
    alone = tmp_path / "one" / "digits_audit" / "studies"
    names = sorted(path.relative_to(alone) for path in alone.rglob("*.npz"))
    assert len(names) > 20
    assert names == sorted(path.relative_to(studies) for path in studies.rglob("*.npz"))
    for name in names:
        one, many = store.load_arrays(alone / name), store.load_arrays(studies / name)
        del one["seconds"], many["seconds"]
        for key, values in one.items():
            np.testing.assert_array_equal(values, many[key], err_msg=f"{name} {key}")
    assert not list(studies.rglob(".0*"))
