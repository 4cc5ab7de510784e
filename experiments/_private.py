"""Private models of one data set: what `mnist_private` measures."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import data, make_problem, models, parallel, shadows, store
from unlearn.errors import InputError
from unlearn.metrics import one_run, roc
from unlearn.metrics.membership import spread
from unlearn.privacy import dp_sgd
from unlearn.privacy.dp_sgd import Budget, Recipe
from unlearn.problem import Problem
from unlearn.report import csv_files, plotting
from unlearn.report.progress import Progress
from unlearn.report.summary import interval
from unlearn.training import predict

from ._constants import check_least

TENTH = 0.1  # of the noise is what the broken mechanism adds


class Kind(NamedTuple):
    """How a model is trained, and what is claimed of it."""

    name: str
    claimed: float  # epsilon; infinite: nothing
    noise: float  # the multiplier


class Setting(NamedTuple):
    """What all models share."""

    problem: Problem  # labels of canaries are wrong
    indices: np.ndarray  # int32[N]: trained on
    canaries: np.ndarray  # int32[M]
    included: np.ndarray  # bool[M]
    test: tuple[Any, jax.Array]


def recipe(**changes: Any) -> dict:
    """Returns the section `train` of the config."""
    return Recipe(**changes)._asdict()


def run(config, folder: Path | str, *, data_dir: str | None = None) -> list[dict]:
    """Trains, attacks, and writes the tables; continues where it stopped."""
    check(config)
    folder, progress = Path(folder), Progress()
    claimed = config.to_dict()
    store.check_claim(folder, claimed)
    trained, setting = Recipe(**config.train), setting_of(config, data_dir)
    kinds = kinds_of(config, len(setting.indices), trained)
    lock = store.claim(folder, claimed)
    found, seconds = models_of(config, folder, setting, trained, kinds, progress)
    rows = [
        row_of(config, kind, {key: x[i] for key, x in found.items()}, setting)
        | {"seconds": seconds / len(kinds) / config.seeds}
        for i, kind in enumerate(kinds)
    ]
    write(folder, config, rows)
    progress.say(markdown(config, rows))
    lock.release()
    return rows


def check(config) -> None:
    """Refuses a config before anything is read.

    Raises:
      InputError: in one line.
    """
    dp_sgd.require()
    if not config.epsilons:
        raise InputError("name at least one epsilon in epsilons")
    check_least(config, seeds=2, canaries=10, request=1)
    if not config.train.learning_rate > 0:
        raise InputError(
            f"train.learning_rate must be above 0; it is {config.train.learning_rate}"
        )


def setting_of(config, data_dir: str | None) -> Setting:
    """Draws the canaries, and the coins that say which of them are trained on."""
    dataset = data.load(config.data.name, data_dir=data_dir)
    images, labels = dataset.train_images, np.array(dataset.train_labels)
    draw, number = np.random.default_rng(0), len(dataset.class_names)
    size = config.data.examples or len(labels)
    if not 2 * config.canaries <= size <= len(labels):
        raise InputError(
            f"there are {len(labels)} training examples: data.examples must be at most "
            f"that, and canaries at most half of it; they are {config.data.examples} "
            f"and {config.canaries}"
        )
    chosen = draw.permutation(len(labels))[:size]
    canaries, others = np.split(chosen.astype(np.int32), [config.canaries])
    if not 0 <= config.data.test <= len(dataset.test_labels):
        raise InputError(
            f"data.test must be from 0 to {len(dataset.test_labels)}; it is "
            f"{config.data.test}"
        )
    shift = draw.integers(1, number, len(canaries))
    labels[canaries] = (labels[canaries] + shift) % number
    included = draw.random(len(canaries)) < 0.5
    tested = spread(
        len(dataset.test_labels), config.data.test or len(dataset.test_labels)
    )
    options = {name: x for name, x in config.model.items() if name != "name" and x}
    problem = make_problem(
        images,
        labels,
        [],
        models.create(config.model.name, number, **options),
        mean=dataset.mean,
        std=dataset.std,
    )
    return Setting(
        problem,
        np.sort(np.concatenate([others, canaries[included]])),
        canaries,
        included,
        (
            jnp.asarray(dataset.test_images[tested]),
            jnp.asarray(dataset.test_labels[tested]),
        ),
    )


def kinds_of(config, size: int, trained: Recipe) -> list[Kind]:
    """Returns every kind of model, the least private first."""
    budgets = {e: Budget(e, config.delta) for e in (*config.epsilons, config.broken)}
    noise = {e: dp_sgd.noise_for(b, size, trained) for e, b in budgets.items()}
    return [
        Kind("clipped, no noise", np.inf, 0.0),
        Kind("a tenth of the noise", config.broken, TENTH * noise[config.broken]),
        *(
            Kind(f"epsilon {epsilon:g}", epsilon, noise[epsilon])
            for epsilon in sorted(config.epsilons, reverse=True)
        ),
    ]


def models_of(config, folder, setting, trained, kinds, progress):
    """Returns what is measured, `{what: array[kinds, seeds, ...]}`, and seconds."""
    data_hash = hash_of(setting)
    each = len(kinds), config.seeds
    numbers = jnp.arange(each[0] * each[1])
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(0)))(numbers)
    noises = jnp.repeat(jnp.array([kind.noise for kind in kinds]), config.seeds)
    spent = []

    def keep(first, count, compute):
        path = folder / "models" / f"{first:05d}_{count}.npz"
        part = {"data": data_hash, "first": first}
        if not store.is_kept(path):
            results, seconds = compute()
            arrays = {key: np.asarray(x) for key, x in results.items()}
            store.save_kept(path, arrays | {"seconds": np.array(seconds)}, part)
        kept = dict(store.load_kept(path, part))
        spent.append(float(kept.pop("seconds")))
        return kept

    results, _ = parallel.map_models(
        trainer(trained),
        (keys, noises),
        setting.problem,
        jnp.asarray(setting.indices),
        jnp.asarray(setting.canaries),
        setting.test,
        mode="map",
        chunk=1,
        keep=keep,
        progress=lambda done: progress.tick(
            f"model {done}/{len(numbers)}", share=done / len(numbers)
        ),
    )
    return {k: x.reshape(*each, *x.shape[1:]) for k, x in results.items()}, sum(spent)


def hash_of(setting: Setting) -> str:
    """Returns a hash of all images and labels, and of who is trained on."""
    problem, (images, labels) = setting.problem, setting.test
    return store.array_hash(
        *map(np.asarray, (problem.examples, problem.labels, images, labels)),
        setting.indices,
        setting.canaries,
    )


@functools.cache
def trainer(trained: Recipe):
    """Returns what trains and attacks one model of `(key, noise)`."""

    def one(model, problem, indices, canaries, test):
        key, noise = model
        variables, _ = dp_sgd.train(key, problem, indices, trained, noise)
        images, labels = test
        logits = predict(problem.model, variables, images, problem.preprocess)
        inputs = problem.examples[canaries], problem.labels[canaries]
        return {
            "test": jnp.mean(jnp.argmax(logits, axis=-1) == labels),
            "margins": shadows.measure(problem, variables, *inputs)["margins"],
        }

    return one


# What it comes to


def confidence_of(count: int) -> float:
    """Returns the confidence of each bound, where the largest of `count` is shown."""
    return 1 - 0.05 / count


def row_of(config, kind: Kind, found: Mapping, setting: Setting) -> dict:
    """Returns a row of the table: means over models, and the bound of all of them."""
    margins, included = np.asarray(found["margins"], float), setting.included
    count = len(margins)
    strict = confidence_of(count)
    whole = np.isfinite(margins).all()
    bounds = [
        one_run.one_run_epsilon(one, included, delta=config.delta, confidence=strict)
        for one in (margins if whole else ())
    ]
    coins = np.tile(included, (count, 1))
    shown = max((bound.epsilon for bound in bounds), default=np.nan)
    row = {
        "model": kind.name,
        "claimed": kind.claimed,
        "noise": kind.noise,
        "test": float(np.mean(found["test"])),
        "test_interval": interval(np.asarray(found["test"], float)),
        "auc": roc.auc(margins, coins, ~coins, balanced=False) if whole else np.nan,
        "measured": shown,
        "refuted": shown > kind.claimed,
        "diverged": not whole,
    }
    if np.isfinite(kind.claimed):
        of_request = Budget(kind.claimed, config.delta).of(config.request)
        row |= {"request_epsilon": of_request.epsilon}
        row |= {"request_delta": of_request.delta}
    return row


HEADS = (
    "Model",
    "Claimed ε",
    "Measured ε ≥",
    "Test, %",
    "Canaries told, AUC",
    "A request's ε, δ",
    "Noise",
    "Seconds",
)


def markdown(config, rows: Sequence[Mapping]) -> str:
    """Writes the table in Markdown."""
    lines = [" | ".join(HEADS), " | ".join([":--"] + ["--:"] * (len(HEADS) - 1))]
    for row in rows:
        none = not np.isfinite(row["claimed"])
        cells = (
            row["model"] + " †" * row["refuted"] + " (diverged)" * row["diverged"],
            "–" if none else f"{row['claimed']:g}",
            f"{row['measured']:.2f}",
            f"{100 * row['test']:.1f} ± {100 * row['test_interval']:.1f}",
            f"{row['auc']:.3f}",
            "–" if none else f"{row['request_epsilon']:g}, {row['request_delta']:.2g}",
            f"{row['noise']:.3f}",
            f"{row['seconds']:.0f}",
        )
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def write(folder: Path, config, rows: Sequence[dict]) -> None:
    """Writes `results.csv`, `summary.md` and the figure."""
    csv_files.write_csv(folder / "results.csv", [dict(row) for row in rows])
    strict = confidence_of(config.seeds)
    most = one_run.largest(config.canaries, delta=config.delta, confidence=strict)
    blind = (
        f" The control claims {config.broken:g}: with so few canaries it cannot be "
        "found out, and a low bound says nothing of the others."
    ) * (most <= config.broken)
    text = f"""# Private training on {config.data.name}

{markdown(config, rows)}

Means over {config.seeds} models, 95 % intervals; delta {config.delta:g}. *Claimed*: \
of one example that is added or taken away, whoever sees the weights, if the noise is \
of a secret key; here it is that of a seed, so that the table can be repeated, and the \
claim of a tenth of the noise is false on purpose. *Measured*: what an attack on \
{config.canaries:,} canaries shows epsilon to be at least, right in 95 % of studies \
for each row; an attack that never errs would show {most:.1f}.{blind} †: refuted, \
more was shown than is claimed. *A request*: the budget of {config.request} examples \
together; a delta near 1 says nothing. Constants were not tuned privately.
"""
    store.write_text(folder / "summary.md", text)
    plotting.save(figure(config, rows), folder / "figures" / "privacy.png")


def figure(config, rows: Sequence[Mapping]):
    """Draws accuracy, and claimed beside measured epsilon."""
    drawn = plotting.new_figure(7.0, 1.6 + 0.35 * len(rows))
    left, right = drawn.subplots(1, 2, sharey=True)
    places, names = np.arange(len(rows)), [row["model"] for row in rows]
    left.errorbar(
        [100 * row["test"] for row in rows],
        places,
        xerr=[100 * row["test_interval"] for row in rows],
        fmt="o",
        color=plotting.MODELS["original"],
        capsize=2,
    )
    claimed = [(row["claimed"], i) for i, row in enumerate(rows)]
    shown = [(value, i) for value, i in claimed if np.isfinite(value)]
    right.scatter(*zip(*shown, strict=True), marker="|", s=160, color="0.2")
    right.barh(
        places,
        [row["measured"] for row in rows],
        color=plotting.MODELS["retrain"],
        height=0.5,
    )
    right.set_xlim(left=0)
    plotting.name_ticks(left.yaxis, names)
    left.invert_yaxis()
    plotting.style(left, "Test accuracy", "per cent", grid="x")
    title = "Epsilon: | claimed, bar: at least"
    plotting.style(right, title, "of one example", grid="x")
    plotting.add_title(drawn, "What a private training costs", config.data.name)
    return drawn
