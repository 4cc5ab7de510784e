"""Benchmark: training, evaluation, Fisher information and start-up, against PyTorch.

Candidates of one comparison take turns in one process, so that a busy machine slows all
of them; speeds are medians over rounds, ratios medians of the ratios of a round.
Without PyTorch its rows are left out. Compile times are those of a cold cache.
"""

import csv
import functools
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import models, parallel, store, training
from unlearn.curvature import fisher_diagonal
from unlearn.errors import InputError

from . import _accelerator, _devices, _streaming
from . import _torch_peers as peers
from ._epoch import epoch_candidates, initial, random_problem
from ._timing import Candidate, Row, alternate, compiled, line, markdown
from ._torch_peers import CLASSES

ROOT = Path(__file__).parent.parent


def run(config, folder: str | Path) -> None:
    """Measures everything that `config.parts` names and prints the table.

    Writes `speed.csv` and `speed.md` into `folder`, row by row. See
    `experiments/speed.py` for the fields of `config`.
    """
    for part in config.parts:
        if part not in PARTS:
            raise InputError(f"unknown part {part!r}: choose from {', '.join(PARTS)}")
    if {"shadows", "accuracy"} & {*config.parts}:
        _accelerator.load(config)  # before anything else takes its time
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows, text, settings = [], "", peers.settings()
    for part in config.parts:
        for row in PARTS[part](config):
            print(line(row), flush=True)
            rows.append(row)
            text = markdown(rows, settings)
            buffer = io.StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(Row._fields)
            writer.writerows(rows)
            store.write_text(folder / "speed.csv", buffer.getvalue())
            store.write_text(folder / "speed.md", text)
    print(f"\n{text}\nsaved in {folder}")


# The comparisons


def training_rows(config) -> Iterator[Row]:
    """conv 32 - conv 64 - pool - dense 128 on 28x28."""
    options = {"widths": config.train.widths, "pool": "last"}
    model = models.create("cnn", CLASSES, **options)
    problem = random_problem(model, config.train.examples, (28, 28, 1))
    for batch_size in config.train.batch_sizes:
        candidates = epoch_candidates(model, problem, batch_size, loop=True)
        candidates += peers.training_peers(problem, options, batch_size)
        name = f"training epoch, CNN 28x28, batch {batch_size}"
        yield from alternate(name, candidates, config.rounds)


def preset_rows(config) -> Iterator[Row]:
    """The nets of the presets `cpu` at their own sizes, all data in memory."""
    for net in config.presets.nets:
        kind, widths, shape, batch_size, target = net
        model = models.create(kind, CLASSES, widths=widths)
        size = config.presets.steps * batch_size
        problem = random_problem(model, size, shape)
        candidates = epoch_candidates(model, problem, batch_size, loop=False)
        candidates += peers.preset_peers(problem, kind, widths, batch_size, target)
        layers, image = "-".join(map(str, widths)), "x".join(map(str, shape))
        name = f"training epoch, {kind} {layers} on {image}, batch {batch_size}"
        yield from alternate(name, candidates, config.rounds)


def resnet_rows(config) -> Iterator[Row]:
    """ResNet-18 with BatchNorm, steps at batch 128."""
    width, batch_size = config.resnet.width, config.resnet.batch_size
    dtype = config.resnet.dtype
    model = models.create("resnet18", CLASSES, width=width, dtype=dtype)
    problem = random_problem(model, config.resnet.steps * batch_size, (32, 32, 3))
    candidates = epoch_candidates(model, problem, batch_size, loop=False)
    if dtype == "float32":
        candidates += peers.resnet_peers(problem, width, batch_size)
    name = f"training step, ResNet-18 32x32, batch {batch_size}, {dtype}"
    yield from alternate(name, candidates, config.rounds)


def evaluation_rows(config) -> Iterator[Row]:
    """The loss of every example."""
    options = {"widths": config.train.widths, "pool": "last"}
    model = models.create("cnn", CLASSES, **options)
    size, batch_size = config.evaluation.examples, config.evaluation.batch_size
    problem = random_problem(model, size, (28, 28, 1))
    variables = initial(problem)

    def losses(variables, problem):
        logits = training.predict(
            model,
            variables,
            problem.examples,
            problem.preprocess,
            batch_size,
        )
        return training.cross_entropy(logits, problem.labels)

    evaluate, seconds = compiled(losses, variables, problem)
    candidates = [
        Candidate(
            "unlearn",
            lambda: jax.block_until_ready(evaluate(variables, problem)),
            size,
            seconds,
        )
    ]
    candidates += peers.evaluation_peers(problem, options, batch_size)
    name = f"evaluation pass, {size} images 28x28"
    yield from alternate(name, candidates, config.rounds)


def fisher_rows(config) -> Iterator[Row]:
    """Exact per-example Fisher diagonal; PyTorch on fewer examples, by the second."""
    options = {"widths": config.fisher.widths, "pool": config.fisher.pool}
    model = models.create("cnn", CLASSES, **options)
    size, few = config.fisher.examples, config.fisher.torch_examples
    problem = random_problem(model, size, (28, 28, 1))
    variables = initial(problem)
    arguments = variables, problem, jnp.arange(size)
    fisher, seconds = compiled(fisher_diagonal, *arguments)
    candidates = [
        Candidate(
            "unlearn",
            lambda: jax.block_until_ready(fisher(*arguments)),
            size,
            seconds,
        )
    ]
    candidates += peers.fisher_peers(problem, options, few)
    name = f"Fisher diagonal, CNN 28x28, {size} examples"
    yield from alternate(name, candidates, config.rounds)


def models_rows(config) -> Iterator[Row]:
    """Many small nets trained by `parallel.map_models`, beside one net alone.

    A model is one example here: the values are models a second.
    """
    options = {"widths": config.models.widths, "pool": "each"}
    model = models.create("cnn", CLASSES, **options)
    size, batch_size = config.models.examples, config.models.batch_size
    problem = random_problem(model, size, (28, 28, 1))
    recipe = training.Recipe(config.models.epochs, batch_size, warmup_epochs=0)
    keys = jax.random.split(jax.random.key(0), config.models.count)

    def one(key, problem):
        return training.train(key, problem, jnp.arange(size), recipe)[0]

    def many(mode):
        return parallel.map_models(one, keys, problem, mode=mode)

    candidates = []
    modes = dict.fromkeys((parallel.choose_mode(), *parallel.MODES))
    for mode in modes:
        how = many(mode)[1]
        name = f"unlearn, {mode} on {how.devices} devices, {how.chunk} a program"
        run_many = functools.partial(many, mode)
        candidates.append(Candidate(name, run_many, len(keys), how.compile_seconds))
    alone, seconds = compiled(one, keys[0], problem)
    candidates.append(
        Candidate(
            "unlearn, one net alone",
            lambda: jax.block_until_ready(alone(keys[0], problem)),
            1,
            seconds,
            target=1.0,
        )
    )
    candidates += peers.models_peers(problem, options, batch_size, recipe.epochs)
    name = f"{len(keys)} nets of {size} images 28x28, {recipe.epochs} epochs"
    for row in alternate(name, candidates, config.rounds):
        yield row._replace(unit="models/s")


def audit_rows(config) -> Iterator[Row]:
    """Epsilons of the NeurIPS 2023 forgetting score, by both rules."""
    from unlearn.metrics.forgetting_score import epsilons

    examples, models = config.audit.examples, config.audit.models
    draw = np.random.default_rng(0)
    unlearned, retrained = (draw.normal(5, 3, (models, examples)) for _ in range(2))
    seconds = []
    for _ in range(config.rounds):
        started = time.perf_counter()
        epsilons(unlearned, retrained)
        seconds.append(time.perf_counter() - started)
    name = f"epsilons of {examples} examples, {models} + {models} models"
    value = statistics.median(seconds)
    yield Row("forgetting score", name, value, "s", target="<= 10")


def startup_rows(config) -> Iterator[Row]:
    """`import unlearn`, and from the start to the first epoch of `digits_forget`."""
    code = "import time; t = time.time(); import unlearn; print(time.time() - t)"
    seconds = [
        float(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT))
        for _ in range(config.rounds)
    ]
    yield Row(
        "start-up", "import unlearn", statistics.median(seconds), "s", target="<= 1.5"
    )
    if not (ROOT / "launch.py").exists():
        return
    with tempfile.TemporaryDirectory() as cache:
        for name, target in (("cold", "<= 8"), ("warm", "<= 5")):
            seconds = first_epoch_seconds(cache)
            if seconds is not None:
                name = f"digits_forget to its first epoch, {name}"
                yield Row("start-up", name, seconds, "s", target=target)


def first_epoch_seconds(cache: str, limit: float = 120.0) -> float | None:
    """From process start until `log.jsonl` has its first line; None if it never has."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
    environment.pop("XLA_FLAGS", None)
    with tempfile.TemporaryDirectory() as workdir:
        log = Path(workdir) / "digits_forget" / "log.jsonl"
        command = [sys.executable, "launch.py", "--experiment=digits_forget"]
        command += ["--preset=cpu", "--seeds=1", f"--workdir={workdir}"]
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while time.perf_counter() - started < limit and process.poll() is None:
                if log.exists() and log.stat().st_size:
                    return time.perf_counter() - started
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
    return None


PARTS = {
    "train": training_rows,
    "presets": preset_rows,
    "resnet": resnet_rows,
    "evaluation": evaluation_rows,
    "fisher": fisher_rows,
    "models": models_rows,
    "audit": audit_rows,
    "streaming": _streaming.rows,
    "growth": _streaming.growth_rows,
    "devices": _devices.rows,
    "startup": startup_rows,
    "modes": _accelerator.mode_rows,
    "shadows": _accelerator.shadow_rows,
    "accuracy": _accelerator.accuracy_rows,
}
