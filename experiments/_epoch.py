"""A training epoch as a candidate of the benchmark."""

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import training
from unlearn.problem import make_problem

from ._timing import Candidate, compiled
from ._torch_peers import CLASSES


def random_problem(model, size: int, shape: tuple[int, int, int]):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size, *shape), np.uint8)
    labels = rng.integers(0, CLASSES, size)
    return make_problem(images, labels, [0], model, num_classes=CLASSES)


def initial(problem):
    return problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))


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
