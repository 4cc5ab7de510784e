"""Tiny deployments for the tests of requests."""

import io
import shutil
from pathlib import Path

import numpy as np

from unlearn import requests
from unlearn.report.progress import Progress

SYNTHETIC = "synthetic:6x6x1,classes=3,train=60,test=30"
QUICK = {
    "finetune": {"epochs": 1},
    "rewind": {"epochs": 1},
    "newton_head": {"steps": 1},
    "sisa": {"shards": 3, "slices": 2, "epochs": 4, "batch_size": 8},
    "certified": {"past_budget": "retrain"},
    "amnesiac": {"epochs": 2, "batch_size": 16},
}


def config(data=SYNTHETIC, **changes):
    """Settings of a net that trains in no time."""
    made = requests.default_config()
    made.data.name = data
    made.model.name = "mlp"
    made.model.mlp.widths = (8,)
    made.train.update(epochs=2, batch_size=16)
    for name, constants in QUICK.items():
        made.methods[name].update(constants)
    for name, value in changes.items():
        made.update_from_flattened_dict({name.replace("__", "."): value})
    return made


def quiet():
    """A `Progress` whose lines can be read: `.stream.getvalue()`."""
    return Progress(io.StringIO())


def deploy(folder, method, **changes):
    requests.deploy(config(**changes), folder, method, progress=quiet())
    return folder


def copy(source, target):
    """Copies a deployment, without its lock."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".lock"))
    return target


def erase(folder, ids, reason="withdrawn consent", **options):
    return requests.request(folder, ids, reason=reason, progress=quiet(), **options)


def said(work, *args, **options):
    """What a function says, in lines."""
    progress = quiet()
    work(*args, progress=progress, **options)
    return progress.stream.getvalue().splitlines()


def write_digits(folder: Path, count: int = 1797) -> list[str]:
    """Writes the digits as PNG files in class folders; returns their names in order."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    names = []
    for row in range(count):
        name = f"{digits.target[row]}/{row:04d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(digits.images[row] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        names.append(name)
    return names
