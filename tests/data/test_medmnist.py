"""Sets of the optional package medmnist, which a stand-in plays here."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from data_cases import random_images, rejects

from unlearn import data
from unlearn.data import medmnist

INFO = {
    "dermamnist": {
        "python_class": "DermaMNIST",
        "task": "multi-class",
        "label": {"1": "bcc", "0": "akiec", "2": "mel"},
    },
    "chestmnist": {"task": "multi-label, binary-class", "label": {}},
    "organmnist3d": {"task": "multi-class", "label": {}},
}
COUNTS = dict(train=9, val=3, test=6)


def derma(split, download):
    assert download
    count = COUNTS[split]
    images = random_images(count, (4, 4, 3), seed=count)
    return SimpleNamespace(imgs=images, labels=np.arange(count)[:, None] % 3)


@pytest.fixture
def package(monkeypatch):
    package = SimpleNamespace(INFO=INFO, DermaMNIST=derma)
    monkeypatch.setitem(sys.modules, "medmnist", package)
    return package


def test_dermamnist(package):
    loaded = data.load("medmnist:dermamnist")
    assert loaded.class_names == ("akiec", "bcc", "mel")
    assert loaded.train_labels.tolist() == [0, 1, 2] * 3
    assert loaded.train_images.shape == (9, 4, 4, 3) and len(loaded.test_labels) == 6
    assert "3 examples for validation" in loaded.notes[0]
    assert data.location("medmnist:dermamnist") is None


def test_what_it_refuses(package, monkeypatch):
    rejects(lambda: data.load("medmnist:derma"), "did you mean dermamnist?")
    for flag in ("chestmnist", "organmnist3d"):
        rejects(lambda flag=flag: data.load(f"medmnist:{flag}"), "a class each")

    def fail(split, download):
        raise RuntimeError("no network\nat all")

    monkeypatch.setattr(package, "DermaMNIST", fail)
    rejects(lambda: data.load("medmnist:dermamnist"), "no network", "give npz:PATH")
    monkeypatch.setitem(sys.modules, "medmnist", None)
    rejects(lambda: data.load("medmnist:dermamnist"), "pip install medmnist")


def test_a_package_that_lacks_what_it_needs(package, monkeypatch, capsys):
    monkeypatch.delattr(package, "DermaMNIST")  # as its import does without torch
    rejects(lambda: data.load("medmnist:dermamnist"), "without its sets", "pip install")

    def broken(name):
        print("installing")
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(medmnist.importlib, "import_module", broken)
    rejects(lambda: data.load("medmnist:dermamnist"), "torchvision::nms", "go together")
    assert "installing" not in capsys.readouterr().out


def test_what_the_package_prints_is_no_output(package, monkeypatch, capsys):
    def loud(split, download):
        print("downloading")
        return derma(split, download)

    monkeypatch.setattr(package, "DermaMNIST", loud)
    data.load("medmnist:dermamnist")
    assert capsys.readouterr() == ("", "downloading\n" * 3)
