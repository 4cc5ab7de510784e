"""Benchmark: what an accelerator is to reach, on the data set of `config.data`."""

import functools
import statistics
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import data, metrics, models, parallel, training
from unlearn.data.augment import augmentation
from unlearn.pipeline.evaluation import predict_examples
from unlearn.problem import Problem, make_problem

from ._epoch import initial, random_problem
from ._timing import Row, compiled
from ._torch_peers import CLASSES


def accuracy_rows(config) -> Iterator[Row]:
    """Trains with each recipe of `config.fast` to its accuracy; seconds of training.

    Each model is tested twice: as it is, and by its mean over mirror images.
    """
    dataset = load(config)
    for name, settings in config.fast.items():
        problem = _setting(config, dataset, settings)
        recipe = training.Recipe(**settings.train)
        indices = jnp.arange(len(problem.labels))
        fit = functools.partial(train, recipe=recipe)
        executable, compiling = compiled(fit, jax.random.key(0), problem, indices)
        mirrored = problem.replace(model=models.mirrored(problem.model))
        seconds, found, of_both = [], [], []
        for seed in range(config.trainings):
            started = time.perf_counter()
            key = jax.random.key(seed)
            variables = jax.block_until_ready(executable(key, problem, indices))
            seconds.append(time.perf_counter() - started)
            found.append(_accuracy(problem, variables, dataset))
            of_both.append(_accuracy(mirrored, variables, dataset))
        what, target = f"{dataset.name}, {name}", f">= {settings.accuracy:g}"
        for words, shares in (("", found), (", mean over mirror images", of_both)):
            title = f"test accuracy{words}, {len(shares)} trainings"
            yield Row(what, title, 100 * np.mean(shares), "%", target=target)
            deviation = np.std(shares, ddof=min(1, len(shares) - 1))
            yield Row(what, f"standard deviation{words}", 100 * deviation, "points")
        yield Row(
            what,
            f"a training of {recipe.epochs} epochs",
            statistics.median(seconds),
            "s",
            target=f"<= {settings.seconds:g}",
            compile_seconds=compiling,
        )


def shadow_rows(config) -> Iterator[Row]:
    """Trains many models, each on a random half of the data, in every mode."""
    dataset, wanted = load(config), config.shadows
    for name, settings in wanted.nets.items():
        problem = _setting(config, dataset, settings)
        recipe = training.Recipe(**settings.train)
        keys = jax.random.split(jax.random.key(0), wanted.count)
        half = len(problem.labels) // 2

        def one(key, problem, recipe=recipe, half=half):
            key_half, key = jax.random.split(key)
            size = len(problem.labels)
            chosen = jax.random.choice(key_half, size, (half,), replace=False)
            return train(key, problem, chosen.astype(jnp.int32), recipe)

        for mode in wanted.modes:
            trained, how = parallel.map_models(one, keys, problem, mode=mode)
            last = jax.tree.map(lambda leaf: leaf[-1], trained)
            what = f"shadow models of {half} images, {name}, {mode}"
            yield Row(
                what,
                f"{wanted.count} models, {how.chunk} a program",
                3600 * wanted.count / how.seconds,
                "models/h",
                target=f">= {wanted.target:g}",
                compile_seconds=how.compile_seconds,
            )
            share = 100 * _accuracy(problem, last, dataset)
            yield Row(what, "test accuracy of one", share, "%")


def mode_rows(config) -> Iterator[Row]:
    """Trains models vectorised and one after another: what `choose_mode` rests on."""
    settings = config.modes
    for net, options, shape, batch_size in settings.nets:
        model = models.create(net, CLASSES, **options)
        size = settings.steps * batch_size
        problem = random_problem(model, size, shape)
        recipe = training.Recipe(1, batch_size, warmup_epochs=0)
        keys = jax.random.split(jax.random.key(0), settings.count)

        def one(key, problem, recipe=recipe, size=size):
            return train(key, problem, jnp.arange(size), recipe)

        seconds = {mode: [] for mode in parallel.MODES}
        compiling = {}
        for _ in range(config.rounds + 1):
            for mode in parallel.MODES:
                _, how = parallel.map_models(one, keys, problem, mode=mode)
                seconds[mode].append(how.seconds)
                compiling.setdefault(mode, how.compile_seconds)
        weights = models.parameter_count(jax.eval_shape(initial, problem))
        ours = statistics.median(seconds["vmap"][1:])
        for mode, times in seconds.items():
            median = statistics.median(times[1:])
            yield Row(
                f"{settings.count} models, {net} of {weights:,} weights",
                f"{mode}, batch {batch_size}",
                settings.count * settings.steps / median,
                "model steps/s",
                median / ours,
                compile_seconds=compiling[mode],
            )


def load(config) -> data.Dataset:
    return _load(config.data.name, config.data.folder or None)


@functools.lru_cache(maxsize=1)
def _load(name: str, folder: str | None) -> data.Dataset:
    return data.load(name, data_dir=folder)


def train(key, problem, indices, recipe) -> dict:
    return training.train(key, problem, indices, recipe)[0]


def _setting(config, dataset: data.Dataset, settings) -> Problem:
    options = dict(settings.options)
    model = models.create(settings.net, len(dataset.class_names), **options)
    return make_problem(
        dataset.train_images,
        dataset.train_labels,
        [0],
        model,
        num_classes=len(dataset.class_names),
        mean=config.data.mean,
        std=config.data.std,
        augment=augmentation(**settings.augment),
    )


def _accuracy(problem: Problem, variables: dict, dataset: data.Dataset) -> float:
    logits = predict_examples(problem, variables, dataset.test_images)
    return metrics.accuracy(logits, dataset.test_labels)
