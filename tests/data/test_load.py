"""What holds for all data sets."""

import subprocess
import sys
from pathlib import Path

from unlearn import data


def test_import_stays_light():
    code = "import sys, unlearn.data; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    heavy = {"PIL", "sklearn", "tensorflow_datasets", "scipy.io", "requests"}
    assert "unlearn.data.tfds" in loaded.stdout.split(), loaded.stderr
    assert not heavy & set(loaded.stdout.split())


def test_location(tmp_path):
    for name in ("digits", "synthetic", "synthetic:4x4x1", "mnist", "no such set"):
        assert data.location(name, tmp_path) is None
    assert data.location("folder:a/b", tmp_path) == Path("a/b")
    assert data.location("npz:~/x.npz") == Path.home() / "x.npz"
    (tmp_path / "mnist/3.0.1").mkdir(parents=True)
    assert data.location("mnist", tmp_path) == tmp_path / "mnist/3.0.1"
