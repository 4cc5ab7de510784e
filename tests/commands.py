"""The command in processes of its own, for the tests of the launcher."""

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "experiments").glob("[a-z]*.py"))
SMALL = [
    "--preset=smoke",
    "--config.data.name=synthetic:6x6x1,classes=3,train=300,test=90",
    "--config.train.epochs=2",
    "--config.train.batch_size=32",
    "--methods=finetune",
    "--seeds=1",
]
SETTINGS = """
from ml_collections import ConfigDict

def get_config(preset):
    return ConfigDict({
        "preset": preset, "none": None, "list": [1], "no": (), "one": (7,),
        "words": ("a", "b+c"), "odd": ("a b", "7"), "text": "it's $HOME", "flag": True,
        "train": {"rate": 1e-5, "batch_size": 8},
    })
"""


def command(*words):
    return [sys.executable, str(ROOT / "launch.py"), *map(str, words)]


def launch(environment, *words, **options):
    options = {"stdout": subprocess.PIPE, "cwd": environment["HOME"]} | options
    return subprocess.run(
        command(*words),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        **options,
    )


def write(path, text):
    path.write_text(text)
    return path


def outcome(folder):
    """What must not depend on how often a run was stopped."""
    with open(folder / "results.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"], row["compile_seconds"]
    sums = sorted(folder.rglob("checksum.json"))
    return rows, {str(p.relative_to(folder)): p.read_text() for p in sums}
