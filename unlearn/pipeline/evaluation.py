"""Logits of the models of a run, and what is measured on them."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn import devices, metrics, training
from unlearn.pipeline.setup import Run
from unlearn.problem import Model, Problem, Variables


def predict_images(
    problem: Problem, variables: Variables, images: jax.Array
) -> np.ndarray:
    """Returns the logits float32[N, K] of uint8[N, H, W, C] images."""
    args = variables, images, problem.mean, problem.std
    execute, _ = devices.compiled(predictor(problem.model), *args)
    return np.asarray(execute(*args))


@functools.lru_cache(maxsize=64)
def predictor(model: Model) -> Callable[..., jax.Array]:
    """Returns `training.predict` of a model, always the same function."""
    return functools.partial(training.predict, model)


def evaluate(
    run: Run, predict: Callable[[jax.Array], ArrayLike]
) -> dict[str, np.ndarray]:
    """Computes logits on training, test and validation set, by name of the set."""
    sets = {"train_logits": run.problem.images, "test_logits": run.test_images}
    if run.problem.validation is not None:
        sets["validation_logits"] = run.problem.validation.images
    logits = predict(jnp.concatenate(list(sets.values())))
    ends = np.cumsum([len(images) for images in sets.values()])[:-1]
    parts = np.split(np.asarray(logits), ends)
    return dict(zip(sets, parts, strict=True))


def measure(run: Run, logits: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Computes the standard metrics from `train_logits` and `test_logits`."""
    sets = run.sets
    return metrics.measure(
        logits["train_logits"],
        sets.train_labels,
        sets.forget,
        sets.retain,
        logits["test_logits"],
        sets.test_labels,
        forget_classes=sets.forget_classes,
        attack_examples=run.config.attack_examples,
    )
