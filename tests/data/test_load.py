"""What holds for all data sets."""

import subprocess
import sys


def test_import_stays_light():
    code = "import sys, unlearn.data; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    heavy = {"PIL", "sklearn", "tensorflow_datasets", "scipy.io", "requests"}
    assert "unlearn.data.tfds" in loaded.stdout.split(), loaded.stderr
    assert not heavy & set(loaded.stdout.split())
