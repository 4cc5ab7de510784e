"""Benchmark: one training whose batches are spread over more and more devices.

On CPUs a process has a device for each core. Eight to see that the losses stay what
they are, not how fast they come:

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python launch.py \
        --experiment=speed --config.parts=devices
"""

from collections.abc import Iterator

import jax
import numpy as np

from unlearn import devices, models, spread, training
from unlearn.problem import on_devices

from ._epoch import random_problem
from ._timing import Candidate, Row, alternate
from ._torch_peers import CLASSES

COUNTS = 1, 2, 4, 8


def rows(config) -> Iterator[Row]:
    """How fast a training is on more devices, and how far its losses are from one's."""
    settings = config.devices
    counts = [count for count in COUNTS if count <= jax.device_count()]
    for kind, widths, shape, rate in settings.nets:
        model = models.create(kind, CLASSES, widths=tuple(widths))
        problem = random_problem(model, settings.steps * settings.batch_size, shape)
        recipe = training.Recipe(
            epochs=1, batch_size=settings.batch_size, learning_rate=rate
        )
        name = f"{settings.steps} steps, {kind} {shape[0]}x{shape[1]}"
        name += f", batch {settings.batch_size}"
        losses, candidates = {}, []
        for count in counts:
            losses[count], candidate = spread_over(count, problem, recipe)
            candidates.insert(0, candidate)
        yield from alternate(f"{name}, spread", candidates, config.rounds)
        for count in counts[1:]:
            apart = np.max(np.abs(losses[count] / losses[1] - 1))
            yield Row(
                f"{name}, spread",
                f"losses on {count} devices, farthest from one device's",
                1e6 * float(apart),
                "millionths",
            )


def spread_over(count: int, problem, recipe: training.Recipe):
    """Returns the losses of a training on so many devices, and it as a candidate."""
    mesh = spread.make_mesh(count) if count > 1 else None
    problem, key = on_devices(problem, mesh), jax.random.key(0)

    def train(key, problem):
        return training.train(key, problem, problem.retain, recipe)

    execute, seconds = devices.compiled(train, key, problem)
    _, losses = execute(key, problem)
    candidate = Candidate(
        f"{count} devices" if count > 1 else "one device",
        lambda: jax.block_until_ready(execute(key, problem)),
        len(problem.labels),
        seconds,
    )
    return np.ravel(jax.device_get(losses)), candidate
