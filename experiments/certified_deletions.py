"""A thousand deletions with a certificate: logistic heads on features of a net.

    python launch.py --experiment=certified_deletions
    python launch.py --experiment=certified_deletions --config.data.name=cifar10

The net that makes the features is trained on the first `data.public` images, which
nobody can ask to have erased; the heads are trained on the others, and these are
deleted one after another. Shown are the budget that is spent, what a deletion takes
beside fitting again, and the accuracy of heads that are fitted to who is left. It ends
in `summary.md`, `deletions.csv` and `figures/budget.png`.
"""

import time
from collections.abc import Mapping
from pathlib import Path


def get_config(preset: str):
    from ml_collections import ConfigDict

    from unlearn.training import Recipe

    config = ConfigDict(
        {
            "data": {"name": "mnist", "public": 20_000},
            "model": {"name": "poolnet", "widths": (16, 32, 64)},
            "train": Recipe(epochs=5, learning_rate=0.1)._asdict(),
            "certified": {"epsilon": 1.0, "delta": 1e-5, "sigma": 10.0, "l2": 1e-3},
            "deletions": 1000,
        }
    )
    if preset == "full":
        config.model.widths = (64, 128, 256)
        config.train.epochs = 20
    if preset == "smoke":
        config.data.update(name="synthetic:8x8x1,classes=3,train=1200,test=60")
        config.data.public = 100
        config.model.widths = (4,)
        config.train.update(epochs=1, batch_size=50, warmup_epochs=0)
        config.certified.update(sigma=100.0, l2=0.05)
        config.deletions = 10
    return config


def run(config, folder: Path | str, *, data_dir: str | None = None) -> dict:
    """Trains the net and the heads, deletes; writes the table and the figure."""
    import jax
    import numpy as np

    from unlearn import data, store, training
    from unlearn.report import csv_files, plotting
    from unlearn.report.progress import Progress
    from unlearn.training_time import certified

    folder, progress = Path(folder), Progress()
    claimed = config.to_dict()
    store.check_claim(folder, claimed)
    dataset = data.load(config.data.name, data_dir=data_dir)
    known, erasable = problems(config, dataset)
    settings = certified.Settings(**config.certified, past_budget="retrain")
    certified.check_settings(settings)
    lock = store.claim(folder, claimed)
    progress.say(f"the net is trained on {len(known.labels):,} public images")
    recipe = training.Recipe(**config.train)
    train = jax.jit(training.train, static_argnums=3)
    net, _ = train(jax.random.key(0), known, known.retain, recipe)
    net = jax.tree.map(np.asarray, net)
    progress.say(f"heads are fitted to {len(erasable.labels):,} others")
    options = dict(config.certified) | {"variables": net}
    state = certified.prepare(certified.fit(jax.random.key(1), erasable, **options))
    test = certified.extract(state.problem, net, dataset.test_images)
    before = accuracy(state.head.weights, test, dataset)
    order = np.random.default_rng(0).permutation(len(erasable.labels))
    rows = []
    for number, one in enumerate(order[: config.deletions], 1):
        started = time.perf_counter()
        state, info = certified.forget(None, state, [one])
        seconds = time.perf_counter() - started
        told = "spent", "residual_bound", "retrained"
        spent = {k: float(info[k]) for k in told}
        rows.append({"deletion": number, "seconds": seconds} | spent)
        progress.tick(f"deletion {number}", share=number / config.deletions)
    found = {"before": before} | measured(state, rows, test, dataset)
    csv_files.write_csv(folder / "deletions.csv", rows)
    store.write_text(folder / "summary.md", markdown(config, found))
    plotting.save(figure(config, rows), folder / "figures" / "budget.png")
    progress.say(markdown(config, found))
    lock.release()
    return found


def problems(config, dataset) -> tuple:
    """Returns the public examples, and those that may be erased.

    Raises:
      InputError: sizes that do not fit.
    """
    from unlearn import make_problem, models
    from unlearn.errors import InputError

    public, size = config.data.public, len(dataset.train_labels)
    if not 0 < public < size - config.deletions or config.deletions < 1:
        raise InputError(
            f"data.public must be above 0 and leave more than the deletions of the "
            f"{size:,} training examples; they are {public} and {config.deletions}"
        )
    net, classes = config.model, len(dataset.class_names)
    model = models.create(net.name, classes, widths=net.widths)
    return tuple(
        make_problem(
            dataset.train_images[part],
            dataset.train_labels[part],
            [],
            model,
            mean=dataset.mean,
            std=dataset.std,
        )
        for part in (slice(public), slice(public, None))
    )


def accuracy(weights, features, dataset) -> float:
    """Returns the share of test images that heads [K, D] are right about."""
    found = (features @ weights.T).argmax(axis=-1)
    return float((found == dataset.test_labels).mean())


def measured(state, rows, test, dataset) -> dict:
    """Compares heads after deletions with heads that are fitted to who is left."""
    import numpy as np

    from unlearn.training_time import certified, logistic

    head, nothing = state.head, np.zeros_like(state.head.weights)
    objective, seconds = certified.objective(state, head.noise), []
    for _ in range(3):
        started = time.perf_counter()
        same, _ = logistic.solve(objective, nothing)
        seconds.append(time.perf_counter() - started)
    plain, _ = logistic.solve(certified.objective(state), nothing)
    return {
        "after": accuracy(head.weights, test, dataset),
        "refitted": accuracy(same, test, dataset),
        "without_noise": accuracy(plain, test, dataset),
        "spent": rows[-1]["spent"],
        "solved": sum(row["retrained"] for row in rows),
        "deletion_seconds": float(np.mean([row["seconds"] for row in rows])),
        "median_seconds": float(np.median([row["seconds"] for row in rows])),
        "refit_seconds": float(np.median(seconds)),
        "residual": float(np.linalg.norm(logistic.gradients(head.weights, objective))),
        "bound": rows[-1]["residual_bound"],
    }


def markdown(config, found: Mapping) -> str:
    """Writes what came out."""
    own, faster = config.certified, found["refit_seconds"] / found["deletion_seconds"]
    lines = {
        "test accuracy before, %": f"{100 * found['before']:.2f}",
        f"after {config.deletions:,} deletions, %": f"{100 * found['after']:.2f}",
        "heads fitted to who is left, the same noise, %": (
            f"{100 * found['refitted']:.2f}"
        ),
        "and without noise, not certified, %": f"{100 * found['without_noise']:.2f}",
        "budget spent, %": f"{100 * found['spent']:.1f}",
        "times it was spent, and the heads were solved on": f"{found['solved']:.0f}",
        "a deletion, mean and median, ms": (
            f"{1000 * found['deletion_seconds']:.2f}, "
            f"{1000 * found['median_seconds']:.2f}"
        ),
        "fitting again, s": f"{found['refit_seconds']:.2f}",
        "a deletion is faster, times": f"{faster:.0f}",
        "residual at the end, its bound": (
            f"{found['residual']:.3g}, {found['bound']:.3g}"
        ),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in lines.items())
    return f"""| {config.data.name}, epsilon {own.epsilon:g}, delta {own.delta:g} | |
| :-- | --: |
{table}

The certificate is of the heads, for requests that nobody chose by looking at weights; \
it does not cover the net, which was trained on {config.data.public:,} other images, \
nor whoever saw the heads before.
"""


def figure(config, rows):
    """Draws the budget by deletion."""
    from unlearn.report import plotting

    drawn = plotting.new_figure(6.0, 3.4)
    panel = drawn.add_subplot()
    panel.plot(
        [row["deletion"] for row in rows],
        [100 * row["spent"] for row in rows],
        color=plotting.MODELS["retrain"],
    )
    panel.set_ylim(0, 105)
    panel.axhline(100, color="0.6", linewidth=0.8)
    plotting.style(panel, "Budget spent", "deletions", "per cent", grid="y")
    plotting.add_title(drawn, "Deletions with a certificate", config.data.name)
    return drawn
