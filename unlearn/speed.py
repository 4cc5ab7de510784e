"""Benchmark: training, evaluation, Fisher information and start-up, against PyTorch.

Candidates of one comparison take turns in one process, so that a busy machine slows all
of them; speeds are medians over rounds, ratios medians of the ratios of a round.
Without PyTorch its rows are left out. Compile times are those of a cold cache.
"""

import csv
import functools
import importlib.util
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import devices, models, store, training
from unlearn.curvature import fisher_diagonal
from unlearn.errors import InputError
from unlearn.problem import make_problem

ROOT = Path(__file__).parent.parent
CLASSES = 10


class Candidate(NamedTuple):
    name: str
    run: Callable[[], object]  # does the work and waits for its end
    examples: int  # in one call of `run`
    compile_seconds: float | None = None
    target: float | None = None  # how many times as fast as this our own should be


class Row(NamedTuple):
    comparison: str
    candidate: str
    value: float
    unit: str
    ratio: float | None = None  # our own speed over this one's
    target: str = ""
    compile_seconds: float | None = None


def run(config, folder: str | Path) -> None:
    """Measures everything that `config.parts` names; prints and saves the table.

    Writes `speed.csv` and `speed.md` into `folder`. See `experiments/speed.py` for the
    fields of `config`.
    """
    for part in config.parts:
        if part not in PARTS:
            raise InputError(f"unknown part {part!r}: choose from {', '.join(PARTS)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for part in config.parts:
        for row in PARTS[part](config):
            print(line(row), flush=True)
            rows.append(row)
    text = markdown(rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    store.write_text(folder / "speed.csv", buffer.getvalue())
    store.write_text(folder / "speed.md", text)
    print(f"\n{text}\nsaved in {folder}")


# Measuring


def alternate(comparison: str, candidates: list[Candidate], rounds: int) -> list[Row]:
    """Runs the candidates in turns; the first one is our own."""
    seconds = {candidate.name: [] for candidate in candidates}
    for candidate in candidates:
        candidate.run()  # warm-up
    for _ in range(rounds):
        for candidate in candidates:
            started = time.perf_counter()
            candidate.run()
            took = time.perf_counter() - started
            seconds[candidate.name].append(took / candidate.examples)
    ours = seconds[candidates[0].name]
    rows = []
    for candidate in candidates:
        theirs = seconds[candidate.name]
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            Row(
                comparison,
                candidate.name,
                1 / statistics.median(theirs),
                "examples/s",
                statistics.median(ratios),
                f">= {candidate.target}" if candidate.target else "",
                candidate.compile_seconds,
            )
        )
    return rows


def compiled(fn, *args):
    """`(executable, seconds)`, tracing included and without the compilation cache."""
    cache = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        started = time.perf_counter()
        executable = jax.jit(fn).lower(*args).compile()
        return executable, time.perf_counter() - started
    finally:
        jax.config.update("jax_enable_compilation_cache", cache)


def random_problem(model, size: int, shape: tuple[int, int, int]):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size, *shape), np.uint8)
    labels = rng.integers(0, CLASSES, size)
    return make_problem(images, labels, [0], model, num_classes=CLASSES)


def initial(problem):
    return problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))


# Our own side


def epoch_candidates(model, problem, batch_size: int, *, loop: bool) -> list[Candidate]:
    """A training epoch in one scan and, with `loop`, as a Python loop of steps."""
    size = len(problem.labels)
    optimizer = training.Recipe(batch_size=batch_size).optimizer(size)
    objective = training.classification(model)
    state = training.start(initial(problem), optimizer)
    indices, key = jnp.arange(size), jax.random.key(1)

    def whole(key, state, problem, indices):
        return training.shuffled_epoch(
            key, state, problem, indices, objective, optimizer, batch_size=batch_size
        )

    arguments = key, state, problem, indices
    epoch, seconds = compiled(whole, *arguments)
    candidates = [
        Candidate(
            "unlearn, an epoch in one scan",
            lambda: jax.block_until_ready(epoch(*arguments)),
            size,
            seconds,
        )
    ]
    if not loop:
        return candidates

    def step(key, state, problem, rows):
        batch = problem.batch(*rows)
        return training.descend(objective, optimizer, state, batch, key)

    rows = training.shuffle(key, indices, batch_size)
    first = training.Rows(rows.indices[0], rows.weights[0])
    one_step, seconds = compiled(step, key, state, problem, first)
    steps = [
        training.Rows(*row) for row in zip(rows.indices, rows.weights, strict=True)
    ]

    def steps_in_python():
        current = state
        for rows in steps:
            current, loss = one_step(key, current, problem, rows)
        jax.block_until_ready((current, loss))

    name = "unlearn, Python loop of jitted steps"
    return [*candidates, Candidate(name, steps_in_python, size, seconds, target=1.0)]


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


# PyTorch's side


def torch_cnn(widths, pool: str, image_size: int):
    """As `models.create("cnn", widths=widths, pool=pool)` on one-channel images."""
    from torch import nn

    layers, channels = [], 1
    for depth, width in enumerate(widths, 1):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
        if pool == "each" or depth == len(widths):
            layers.append(nn.MaxPool2d(2))
            image_size //= 2
    layers += [nn.Flatten(), nn.Linear(channels * image_size**2, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, CLASSES))


def torch_resnet18(width: int):
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels, features, stride):
            super().__init__()

            def conv(inputs, size, stride):
                layer = nn.Conv2d(
                    inputs, features, size, stride, padding=size // 2, bias=False
                )
                return [layer, nn.BatchNorm2d(features)]

            self.body = nn.Sequential(
                *conv(channels, 3, stride), nn.ReLU(), *conv(features, 3, 1)
            )
            same = channels == features
            self.shortcut = nn.Sequential(*([] if same else conv(channels, 1, stride)))

        def forward(self, x):
            return nn.functional.relu(self.body(x) + self.shortcut(x))

    layers = [nn.Conv2d(3, width, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(4):
        for stride in (2 if stage else 1, 1):
            layers.append(Block(channels, width * 2**stage, stride))
            channels = width * 2**stage
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]
    return nn.Sequential(*layers)


def torch_data(problem):
    """The problem's standardised images as NCHW, and its labels."""
    import torch

    images = np.array(problem.inputs(jnp.arange(len(problem.labels))))
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(np.array(problem.labels)).long()


def torch_epoch(net, batches: Callable, *, channels_last: bool = False):
    """A training epoch: SGD with momentum over what `batches()` yields."""
    import torch

    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    net.train()
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
    )
    loss_fn = torch.nn.CrossEntropyLoss()

    def run():
        for images, labels in batches():
            if channels_last:
                images = images.to(memory_format=torch.channels_last)
            optimizer.zero_grad()
            loss_fn(net(images), labels).backward()
            optimizer.step()

    return run


def torch_batches(images, labels, batch_size: int):
    """Shuffled batches of tensors in memory."""
    import torch

    for chosen in torch.randperm(len(labels)).split(batch_size):
        yield images[chosen], labels[chosen]


# The comparisons


def training_rows(config):
    """conv 32 - conv 64 - pool - dense 128 on 28x28."""
    options = {"widths": config.train.widths, "pool": "last"}
    model = models.create("cnn", CLASSES, **options)
    problem = random_problem(model, config.train.examples, (28, 28, 1))
    for batch_size in config.train.batch_sizes:
        candidates = epoch_candidates(model, problem, batch_size, loop=True)
        if has_torch():
            from torch.utils.data import DataLoader, TensorDataset

            images, labels = torch_data(problem)
            loader = DataLoader(
                TensorDataset(images, labels), batch_size=batch_size, shuffle=True
            )
            sources = {
                "PyTorch eager, DataLoader": functools.partial(iter, loader),
                "PyTorch eager, tensors in memory": functools.partial(
                    torch_batches, images, labels, batch_size
                ),
            }
            targets = {128: 1.15, 256: 1.4}
            for name, batches in sources.items():
                run_epoch = torch_epoch(torch_cnn(**options, image_size=28), batches)
                target = targets.get(batch_size) if "DataLoader" in name else None
                candidates.append(
                    Candidate(name, run_epoch, len(labels), target=target)
                )
        name = f"training epoch, CNN 28x28, batch {batch_size}"
        yield from alternate(name, candidates, config.rounds)


def resnet_rows(config):
    """ResNet-18 with BatchNorm, steps at batch 128."""
    width, batch_size = config.resnet.width, config.resnet.batch_size
    dtype = config.resnet.dtype
    model = models.create("resnet18", CLASSES, width=width, dtype=dtype)
    size = config.resnet.steps * batch_size
    problem = random_problem(model, size, (32, 32, 3))
    candidates = epoch_candidates(model, problem, batch_size, loop=False)
    if has_torch() and dtype == "float32":
        images, labels = torch_data(problem)
        for name, channels_last in (("NCHW", False), ("channels_last", True)):
            run_epoch = torch_epoch(
                torch_resnet18(width),
                lambda: torch_batches(images, labels, batch_size),
                channels_last=channels_last,
            )
            target = None if channels_last else 1.1
            candidates.append(
                Candidate(f"PyTorch eager, {name}", run_epoch, size, target=target)
            )
    name = f"training step, ResNet-18 32x32, batch {batch_size}, {dtype}"
    yield from alternate(name, candidates, config.rounds)


def evaluation_rows(config):
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
            problem.images,
            problem.mean,
            problem.std,
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
    if has_torch():
        import torch

        images, labels = torch_data(problem)
        for name, layout, target in (
            ("NCHW", torch.contiguous_format, 2.5),
            ("channels_last", torch.channels_last, None),
        ):
            net = torch_cnn(**options, image_size=28).eval().to(memory_format=layout)

            @torch.inference_mode()
            def run(net=net, layout=layout):
                for x, y in zip(
                    images.split(batch_size), labels.split(batch_size), strict=True
                ):
                    x = x.to(memory_format=layout)
                    torch.nn.functional.cross_entropy(net(x), y, reduction="none")

            candidates.append(Candidate(f"PyTorch, {name}", run, size, target=target))
    yield from alternate(
        f"evaluation pass, {size} images 28x28", candidates, config.rounds
    )


def fisher_rows(config):
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
    if has_torch():
        import torch
        from torch.func import functional_call, grad, vmap

        images, labels = (part[:few] for part in torch_data(problem))
        net = torch_cnn(**options, image_size=28).eval()
        params = dict(net.named_parameters())
        loss_fn = torch.nn.CrossEntropyLoss()

        def one_by_one():
            total = [torch.zeros_like(p) for p in params.values()]
            for i in range(few):
                net.zero_grad()
                loss_fn(net(images[i : i + 1]), labels[i : i + 1]).backward()
                for t, p in zip(total, params.values(), strict=True):
                    t += p.grad**2

        def loss(params, image, label):
            return loss_fn(functional_call(net, params, image[None]), label[None])

        gradients = vmap(grad(loss), (None, 0, 0))
        detached = {name: p.detach() for name, p in params.items()}

        def vmapped():
            total = {name: torch.zeros_like(p) for name, p in detached.items()}
            for x, y in zip(images.split(64), labels.split(64), strict=True):
                for name, g in gradients(detached, x, y).items():
                    total[name] += (g**2).sum(0)

        note = f"{few} examples"
        candidates += [
            Candidate(f"PyTorch, batch size 1, {note}", one_by_one, few, target=7.0),
            Candidate(f"torch.func.vmap, {note}", vmapped, few, target=5.0),
        ]
    name = f"Fisher diagonal, CNN 28x28, {size} examples"
    yield from alternate(name, candidates, config.rounds)


def models_rows(config):
    """Many small nets trained by `devices.map_models`, beside one net alone.

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

    def many(way):
        return devices.map_models(one, keys, problem, way=way)

    candidates = []
    ways = dict.fromkeys((devices.choose_way(), *devices.WAYS))
    for way in ways:
        how = many(way)[1]
        name = f"unlearn, {way} on {how.devices} devices, {how.chunk} a program"
        run_many = functools.partial(many, way)
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
    if has_torch():
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        images, labels = (part.to(device) for part in torch_data(problem))

        def one_in_torch():
            net = torch_cnn(**options, image_size=28).to(device)
            epoch = torch_epoch(net, lambda: torch_batches(images, labels, batch_size))
            for _ in range(config.models.epochs):
                epoch()
            return next(net.parameters()).cpu()

        target = 10.0 if device == "cuda" else None
        name = f"PyTorch eager, one after another, {device}"
        candidates.append(Candidate(name, one_in_torch, 1, target=target))
    name = f"{len(keys)} nets of {size} images 28x28, {recipe.epochs} epochs"
    for row in alternate(name, candidates, config.rounds):
        yield row._replace(unit="models/s")


def audit_rows(config):
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


def startup_rows(config):
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
    "resnet": resnet_rows,
    "evaluation": evaluation_rows,
    "fisher": fisher_rows,
    "models": models_rows,
    "audit": audit_rows,
    "startup": startup_rows,
}


# The table


def line(row: Row) -> str:
    cells = [row.comparison, row.candidate, number(row.value), row.unit]
    if row.ratio is not None:
        cells.append(f"ratio {row.ratio:.2f}")
    return "  ".join([*cells, row.target])


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def markdown(rows: list[Row]) -> str:
    """The table, with a line on the machine and its settings."""
    head = "| comparison | candidate | value | ours is × | target | compile, s |"
    lines = [head, "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells = (
            row.comparison,
            row.candidate,
            f"{number(row.value)} {row.unit}",
            ratio,
            row.target,
            number(row.compile_seconds),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", settings(), ""])


def settings() -> str:
    facts = devices.describe()
    versions = facts["versions"]
    text = (
        f"jax {versions['jax']}, flax {versions['flax']}, {facts['backend']}, "
        f"{facts['cpus']} cores, XLA_FLAGS '{facts['xla_flags']}', "
        "float32 if nothing else is said."
    )
    if not has_torch():
        return f"{text} PyTorch is not installed: no peer rows."
    import torch

    tuned = ("LD_PRELOAD", "MALLOC_", "OMP_")
    chosen = [f"{k}={v}" for k, v in os.environ.items() if k.startswith(tuned)]
    return (
        f"{text} PyTorch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"allocator and OpenMP settings: {' '.join(chosen) or 'the default'}."
    )
