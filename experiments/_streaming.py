"""Benchmark: examples that stay in their file, and how a run grows with them."""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unlearn import data, devices, models, pipeline
from unlearn.pipeline import setup
from unlearn.problem import make_problem
from unlearn.report.progress import Progress

from ._epoch import epoch_candidates
from ._timing import Candidate, Row, alternate
from ._torch_peers import CLASSES

ROOT = Path(__file__).parent.parent
ROWS = 256  # made at once


def rows(config) -> Iterator[Row]:
    """An epoch over part of a set; the memory of a process that takes all of it."""
    settings = config.streaming
    size, side, batch_size = settings.examples, settings.side, settings.batch_size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.npz"
        write_set(path, size, side)
        name = f"training epoch, {settings.timed} of {size} images {side}x{side}"
        candidates = [
            epoch(path, kept, settings.timed, settings.widths, batch_size)._replace(
                name=f"unlearn, {label}", target=target
            )
            for label, kept, target in (
                ("streamed", False, None),
                ("in memory", True, 0.9),
            )
        ]
        if hasattr(os, "posix_fadvise"):
            candidates.insert(1, cold(candidates[0], path))
        yield from alternate(f"{name}, batch {batch_size}", candidates, config.rounds)
        peak = child("epoch", path, batch_size, *settings.widths)
        what = f"an epoch over {path.stat().st_size / 1e9:.1f} GB, streamed"
        yield Row("peak memory of the host", what, float(peak), "GB")


def cold(candidate: Candidate, path: Path) -> Candidate:
    """Returns the candidate from a file that the system holds nothing of."""

    def run():
        with open(path, "rb+") as file:
            os.fsync(file)  # pages that are not written yet would stay
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return candidate.run()

    return candidate._replace(name=f"{candidate.name}, from the disk", run=run)


def growth_rows(config) -> Iterator[Row]:
    """A run of an epoch and a method over more and more examples, streamed or not."""
    settings = config.growth
    for size in settings.sizes:
        for resident in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "set.npz"
                write_set(path, size, settings.side)
                found = json.loads(child("growth", path, resident, *settings.widths))
            what = f"{size} images {settings.side}x{settings.side}"
            for name, value in found.items():
                unit = "GB" if name == "peak memory" else "s"
                how = "in memory" if resident else "streamed"
                yield Row(f"growth, {what}", f"{name}, {how}", value, unit)


def child(*words) -> str:
    """Runs `main` with these words in another process; returns its last line."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, *map(str, words)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.splitlines()[-1]


def write_set(path: Path, size: int, side: int) -> None:
    """Writes random images uint8[size, side, side, 3] and a tenth as many for tests."""
    draw = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as file:
        for split, count in (("train", size), ("test", max(2, size // 10))):
            shape = count, side, side, 3
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            with file.open(f"{split}_images.npy", "w", force_zip64=True) as images:
                np.lib.format.write_array_header_1_0(images, header)
                for start in range(0, count, ROWS):
                    few = min(ROWS, count - start)
                    images.write(draw.bytes(few * side * side * 3))
            with file.open(f"{split}_labels.npy", "w") as labels:
                np.lib.format.write_array(labels, draw.integers(0, CLASSES, count))


def epoch(path: Path | str, resident: bool, timed: int, widths, batch_size: int):
    """An epoch over `timed` examples from anywhere in the file; 0: over all."""
    dataset = data.load(f"npz:{path}", resident=resident)
    chosen = np.random.default_rng(1).permutation(len(dataset.train_labels))
    chosen = chosen[: timed or None]
    images, labels = dataset.train_images[chosen], dataset.train_labels[chosen]
    del dataset
    model = models.create("cnn", CLASSES, widths=tuple(widths))
    problem = make_problem(images, labels, [0], model, num_classes=CLASSES)
    return epoch_candidates(model, problem, batch_size, loop=False)[0]


def whole_epoch(path: str, batch_size: str, *widths: str) -> None:
    """Takes an epoch over a file; prints the most memory that this took, in GB."""
    epoch(path, False, 0, map(int, widths), int(batch_size)).run()
    print(peak())


def whole_run(path: str, resident: str, *widths: str) -> None:
    """Runs an epoch, a method and all metrics; prints seconds and memory as JSON."""
    config = pipeline.default_config()
    config.data.update(name=f"npz:{path}", resident=resident)
    config.model.cnn.widths = tuple(map(int, widths))
    config.train.update(epochs=1, warmup_epochs=0, batch_size=500)
    config.update(run=("finetune",), seeds=1, reference="none", attack_examples=2000)
    config.methods.finetune.update(epochs=1, batch_size=500)
    started = time.perf_counter()
    source = setup.load(config)
    loaded = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        progress = Progress(nowhere)
        result = pipeline.run(
            config, Path(folder) / "run", source=source, progress=progress
        )
    trained = [row["seconds"] for row in result.rows]
    rest = time.perf_counter() - loaded - sum(trained)
    found = {
        "loading and hashing": loaded - started,
        "an epoch": trained[0],
        "fine-tuning for an epoch": trained[1],
        "the rest of the run": rest,
        "peak memory": peak(),
    }
    print(json.dumps(found))


def peak() -> float:
    """Returns the most memory that this process has taken, in GB."""
    status = Path("/proc/self/status").read_text()  # ru_maxrss is the parent's
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def main(kind: str, *words: str) -> None:
    """Measures in a process of its own."""
    devices.setup()
    {"epoch": whole_epoch, "growth": whole_run}[kind](*words)


if __name__ == "__main__":
    main(*sys.argv[1:])
