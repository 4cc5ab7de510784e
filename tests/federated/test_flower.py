"""A Flower app with three client processes ends where `federate` does."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import flower_app
import jax
import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.federated import federate, flower

ROOT = Path(__file__).parents[2]
NEEDED = pytest.mark.skipif(
    importlib.util.find_spec("flwr") is None,
    reason="flwr is not installed: pip install 'unlearn-jax[federated]'",
)
PATIENCE = 180  # seconds for the whole federation


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@NEEDED
@pytest.mark.slow
def test_three_processes_end_where_one_program_does(tmp_path):
    ports, end = free_ports(4), tmp_path / "end.npz"
    flower_app.write(tmp_path, ports[0], [str(ROOT), str(ROOT / "tests")])
    where = f"127.0.0.1:{ports[0]}"
    extra = {"FLWR_HOME": str(tmp_path / "home"), "FLWR_TELEMETRY_ENABLED": "0"}
    extra |= {"FLOWER_TEST_END": str(end), "JAX_PLATFORMS": "cpu"}
    binaries = Path(sys.executable).parent
    extra["PATH"] = f"{binaries}:{os.environ['PATH']}"
    started = []

    def start(name, *args):
        log = (tmp_path / f"{len(started)}.log").open("w")
        command = [shutil.which(name, path=extra["PATH"]), *args]
        options = dict(stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
        process = subprocess.Popen(command, env=os.environ | extra, **options)
        started.append(process)

    try:
        at = ("--host", "127.0.0.1", "--port", str(ports[0]))
        start(
            "flower-superlink",
            "--insecure",
            "--disable-runtime-dependency-installation",
            *at,
        )
        wait_for(lambda: answers(ports[0]))
        for number, port in enumerate(ports[1:]):
            node = f"partition-id={number}"
            options = ("--port", str(port), "--node-config", node)
            start("flower-supernode", "--insecure", "--superlink", where, *options)
        start("flwr", "run", "app", "local")
        wait_for(end.exists)
    finally:
        for process in started:
            os.killpg(process.pid, 15)
        for process in started:
            process.wait(30)
    alone, _ = federate(flower_app.KEY, *flower_app.federation(), flower_app.RECIPE)
    with np.load(end) as file:
        for number, leaf in enumerate(jax.tree.leaves(alone)):
            np.testing.assert_allclose(file[f"arr_{number}"], leaf, atol=1e-5)


def answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def wait_for(true):
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, "the federation did not end in time"
        time.sleep(0.5)


class Record:
    def __init__(self, arrays):
        self.arrays = arrays

    def to_numpy_ndarrays(self):
        return self.arrays


def test_variables_come_back_and_other_models_are_refused():
    problem, _ = flower_app.federation()
    variables = problem.model.init(jax.random.key(0), problem.inputs(np.arange(1)))
    packed = flower.packed(variables)
    again = flower.unpacked(Record(packed), problem)
    assert jax.tree.structure(again) == jax.tree.structure(variables)
    for one, other in zip(packed, jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="have other models"):
        flower.unpacked(Record(packed[:-1]), problem)
