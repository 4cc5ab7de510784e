"""Benchmark: examples that stay in their file, beside the same in memory."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import data, devices, models, training
from unlearn.problem import make_problem

from ._timing import Candidate, Row, alternate, compiled

ROOT = Path(__file__).parent.parent
CLASSES = 10
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
            epoch(label, path, kept, settings.timed, settings.widths, batch_size)
            for label, kept in (("streamed", False), ("in memory", True))
        ]
        candidates[1] = candidates[1]._replace(target=0.9)
        yield from alternate(f"{name}, batch {batch_size}", candidates, config.rounds)
        command = [sys.executable, "-m", __name__, str(path), str(batch_size)]
        done = subprocess.run(
            [*command, *map(str, settings.widths)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        what = f"an epoch over {path.stat().st_size / 1e9:.1f} GB, streamed"
        yield Row("peak memory of the host", what, float(done.stdout), "GB", target="")


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


def epoch(
    label: str, path: Path, resident: bool, timed: int, widths, batch_size: int
) -> Candidate:
    """An epoch over `timed` examples from anywhere in the file."""
    dataset = data.load(f"npz:{path}", resident=resident)
    chosen = np.random.default_rng(1).permutation(len(dataset.train_labels))[:timed]
    images, labels = dataset.train_images[chosen], dataset.train_labels[chosen]
    del dataset
    arguments, one = problem_of(images, labels, widths, batch_size)
    program, seconds = compiled(one, *arguments)
    return Candidate(
        f"unlearn, {label}",
        lambda: jax.block_until_ready(program(*arguments)),
        timed,
        seconds,
    )


def problem_of(images, labels, widths, batch_size):
    """Returns the arguments of an epoch, and the epoch."""
    model = models.create("cnn", CLASSES, widths=tuple(widths))
    problem = make_problem(images, labels, [0], model, num_classes=CLASSES)
    optimizer = training.Recipe(batch_size=batch_size).optimizer(len(labels))
    variables = model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))
    state, objective = (
        training.start(variables, optimizer),
        training.classification(model),
    )

    def one(key, state, problem):
        indices, more = jnp.arange(len(labels)), (objective, optimizer)
        return training.shuffled_epoch(
            key, state, problem, indices, *more, batch_size=batch_size
        )

    return (jax.random.key(1), state, problem), one


def main(path: str, batch_size: str, *widths: str) -> None:
    """Takes an epoch over a file; prints the most memory that this took, in GB."""
    devices.setup()
    dataset = data.load(f"npz:{path}", resident=False)
    images, labels = dataset.train_images, dataset.train_labels
    arguments, one = problem_of(images, labels, map(int, widths), int(batch_size))
    jax.block_until_ready(jax.jit(one)(*arguments))
    status = Path("/proc/self/status").read_text()  # ru_maxrss is the parent's
    print(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9)


if __name__ == "__main__":
    main(*sys.argv[1:])
