"""Runs of seconds on made-up data, for the tests of pipeline and audit."""

import csv
import io

import numpy as np
from PIL import Image

from unlearn import data, models, pipeline, store
from unlearn.data.splits import DataConfig, ForgetConfig, split
from unlearn.pipeline import default_config
from unlearn.pipeline.setup import make_problem
from unlearn.report.progress import Progress


def small_config(**changes):
    config = default_config()
    config.data.name = "synthetic:6x6x1,classes=3,train=200,test=90"
    config.model.name = "mlp"
    config.model.mlp.widths = (16,)
    config.train.epochs = 2
    config.train.batch_size = 32
    config.run = ("finetune", "ssd")
    config.methods.finetune.epochs = 1
    config.seeds = 2
    with config.unlocked():
        for name, value in changes.items():
            *path, last = name.split("__")
            node = config
            for part in path:
                node = node[part]
            node[last] = value
    return config


def split_of(config, labels=None, num_classes=3, groups=None, **known):
    """The split that a run with this config has."""
    if labels is None:
        labels = data.load(config.data.name).train_labels
    sections = DataConfig(**config.data), ForgetConfig(**config.forget)
    return split(np.asarray(labels), num_classes, *sections, groups, **known)


def problem_of(config):
    """The problem that a run with this config has."""
    dataset = data.load(config.data.name)
    model = models.create("mlp", 3, **config.model.mlp)
    return make_problem(dataset, split_of(config), model, config)


class Silent(Progress):
    """Keeps what it would print."""

    def __init__(self):
        super().__init__(io.StringIO())
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def tick(self, text, share=None):
        self.lines.append(text)


def blank(figure, path):
    """In place of `plotting.save`: a PNG of one pixel, in no time."""
    png = io.BytesIO()
    Image.new("L", (1, 1)).save(png, "PNG")
    store.write_bytes(path, png.getvalue())


def run(folder, progress=None, **changes):
    config = small_config(**changes)
    return pipeline.run(config, folder, progress=progress or Silent())


def results(folder):
    with open(folder / "results.csv") as file:
        return list(csv.DictReader(file))
