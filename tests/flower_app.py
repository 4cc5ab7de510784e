"""A federation of three clients, alone and as a Flower app, for the test of both."""

import os
from pathlib import Path

import jax
import numpy as np
from conftest import tiny_problem

from unlearn.federated import Recipe, make_clients

KEY = jax.random.key(5)
RECIPE = Recipe(rounds=3, epochs=2, batch_size=4, learning_rate=0.3)
CONFIG = """
[superlink]
default = "local"
[superlink.local]
address = "127.0.0.1:PORT"
insecure = true
"""
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "app"
version = "1.0.0"
description = "a test"
license = "MIT"
dependencies = []
[tool.hatch.build.targets.wheel]
packages = ["."]
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "app:server"
clientapp = "app:client"
[tool.flwr.app.config]
"""
APP = """
import sys
sys.path[:0] = PATHS
import flower_app
from unlearn.federated.flower import client_app, server_app
client = client_app(flower_app.load)
server = server_app(flower_app.begin, flower_app.finish)
"""


def federation():
    problem = tiny_problem(size=30, forget=6)
    return problem, make_clients([range(11), range(11, 16), range(16, 30)])


def load(context):
    from unlearn.federated.flower import Held

    problem, clients = federation()
    number = int(context.node_config["partition-id"])
    return Held(problem, clients, number, number, RECIPE)


def begin(context):
    from unlearn.federated.flower import Plan

    return Plan(KEY, federation()[0], RECIPE, 3)


def finish(variables, context):
    path = Path(os.environ["FLOWER_TEST_END"])
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]
    with path.with_suffix(".part").open("wb") as file:
        np.savez(file, *leaves)
    path.with_suffix(".part").rename(path)


def write(folder: Path, port: int, paths: list[str]) -> None:
    """Writes the app, and where its server is, below a folder."""
    for name, text in {
        "app/app.py": APP.replace("PATHS", repr(paths)),
        "app/pyproject.toml": PROJECT,
        "home/config.toml": CONFIG.replace("PORT", str(port)),
    }.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
