"""Noisy fine-tuning beside retraining, and attacked: what `certificates` measures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import brentq

from unlearn import data, forget_sets, make_problem, models, store, training
from unlearn.errors import InputError
from unlearn.methods import noisy_steps
from unlearn.methods.noisy_steps import Steps
from unlearn.metrics.empirical_epsilon import empirical_epsilon, largest
from unlearn.pipeline import checks
from unlearn.problem import Problem, Variables
from unlearn.report import csv_files, plotting
from unlearn.report.progress import Progress
from unlearn.report.summary import interval

from ._constants import check_least

HUNDREDTH = 0.01  # of the noise is what the broken mechanism adds
NOISY = "end", "early"
STARTS = "nothing", *NOISY, "no noise"


class Kind(NamedTuple):
    """A way to a model without the request."""

    name: str
    epsilon: float  # that is claimed; 0 of retraining, infinite of fine-tuning
    start: str  # of STARTS
    share: float = 1.0  # of the noise that epsilon needs


class Originals(NamedTuple):
    """One training, at three times."""

    nothing: Variables
    early: Variables
    end: Variables


def run(config, folder: Path | str, *, data_dir: str | None = None) -> list[dict]:
    """Trains, unlearns, attacks; writes the table and the figure."""
    check(config)
    folder, progress = Path(folder), Progress()
    claimed = config.to_dict()
    store.check_claim(folder, claimed)
    problem, test = setting_of(config, data_dir)
    lock = store.claim(folder, claimed)
    everything = jnp.arange(len(problem.labels))
    found: dict[tuple[str, int], list[float]] = {}
    kinds = kinds_of(config)
    programs = {
        (start, epochs): unlearner(config, start, epochs)
        for start in {kind.start for kind in kinds}
        for epochs in config.epochs
    }
    hows = {kind.name: how_of(config, kind) for kind in kinds}
    for seed in range(config.seeds):
        progress.tick(f"seed {seed}", share=seed / config.seeds)
        original = originals(config, jax.random.key(seed), problem, everything)
        for kind in kinds:
            for epochs in config.epochs:
                key = jax.random.fold_in(jax.random.key(100 + seed), epochs)
                program = programs[kind.start, epochs]
                model = program(key, hows[kind.name], original, problem)
                found.setdefault((kind.name, epochs), []).append(
                    float(accuracy(model, problem, *test))
                )
    progress.say("the attack")
    attacks = {start: attacker(config, start) for start in NOISY}
    with_it, without = (
        originals(config, jax.random.key(0), problem, who)
        for who in (everything, problem.retain)
    )
    rows = [
        {"model": kind.name, "claimed": kind.epsilon}
        | {f"test_{epochs}": float(np.mean(x)) for epochs, x in own.items()}
        | {f"interval_{epochs}": interval(x) for epochs, x in own.items()}
        | attacked(config, kind, hows[kind.name], attacks, problem, with_it, without)
        for kind in kinds
        for own in [{e: found[kind.name, e] for e in config.epochs}]
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
    checks.check_constants("train", config.train)
    for name in ("epsilons", "epochs"):
        values = config[name]
        if not values or len(set(map("{:g}".format, values))) < len(values):
            raise InputError(f"{name} must be one or more, and none twice: {values}")
    if min(config.epochs) < 1:
        raise InputError(f"epochs must be 1 or more; they are {config.epochs}")
    check_least(config, seeds=2, runs=20)
    if not 0 < config.rewound.epoch <= config.train.epochs:
        raise InputError(
            f"rewound.epoch must be from 1 to the {config.train.epochs} of train.epochs"
            f"; it is {config.rewound.epoch}"
        )
    for name in ("noise", "learning_rate"):
        if not config[name] > 0:
            raise InputError(f"{name} must be above 0; it is {config[name]}")
    for kind in kinds_of(config):
        if kind.start in NOISY:
            plan_of(config, kind.start).check(kind.epsilon, config.delta)
            how_of(config, kind)


def setting_of(config, data_dir: str | None) -> tuple[Problem, tuple]:
    """Returns the problem with its request, and the test set."""
    dataset = data.load(config.data.name, data_dir=data_dir)
    size, number = len(dataset.train_labels), len(dataset.class_names)
    kept = config.data.examples or size
    if not 1 < kept <= size:
        raise InputError(f"data.examples must be from 2 to {size}; it is {kept}")
    labels = dataset.train_labels[:kept]
    problem = make_problem(
        dataset.train_images[:kept],
        labels,
        forget_sets.forget_random(labels, fraction=config.request),
        models.create(config.model.name, number, widths=config.model.widths),
        mean=dataset.mean,
        std=dataset.std,
    )
    return problem, (jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels))


def kinds_of(config) -> list[Kind]:
    """Returns every kind of model."""
    epsilons = sorted(config.epsilons)
    return [
        Kind("retraining", 0.0, "nothing"),
        *(Kind(f"noisy, epsilon {e:g}", e, "end") for e in epsilons),
        *(Kind(f"rewound, noisy, epsilon {e:g}", e, "early") for e in epsilons),
        Kind("a hundredth of the noise", config.broken, "end", HUNDREDTH),
        Kind("fine-tuning", np.inf, "no noise"),
    ]


def originals(config, key, problem: Problem, who) -> Originals:
    """Trains on `who`, and keeps what it was at first and early on."""
    recipe = training.Recipe(**config.train)
    train = jax.jit(training.train, static_argnums=(3, 4))
    times = 0, config.rewound.epoch, None
    return Originals(*(train(key, problem, who, recipe, t)[0] for t in times))


def plan_of(config, start: str, kept: float | jax.Array = 0.0) -> Steps:
    """Returns how the noisy steps go."""
    radius = config.rewound.radius if start == "early" else config.radius
    return Steps(**config.noisy, kept=kept, radius=radius)


def how_of(config, kind: Kind) -> tuple[float, float]:
    """Returns what is kept, and sigma: all that kinds of one start differ in.

    As large a share of the way is kept as noise of the configured size can hide; both
    are 0 of who takes no noisy steps.

    Raises:
      InputError: it does not even hide the gradients of the noisy steps.
    """
    if kind.start not in NOISY:
        return 0.0, 0.0
    hidden = config.noise * float(noisy_steps.separation(kind.epsilon, config.delta))

    def excess(kept):
        return float(plan_of(config, kind.start, kept).apart()) - hidden

    if excess(0.0) > 0:
        raise InputError(
            f"noise {config.noise:g} in a weight hides a distance of {hidden:.2g} at "
            f"epsilon {kind.epsilon:g}, and the noisy steps alone go "
            f"{excess(0.0) + hidden:.2g}: take a smaller noisy.rate or noisy.limit, or "
            "more noise"
        )
    kept = 1.0 if excess(1.0) < 0 else float(brentq(excess, 0.0, 1.0))
    plan = plan_of(config, kind.start, kept)
    needed = noisy_steps.sigma_for(plan, kind.epsilon, config.delta)
    return kept, kind.share * float(needed)


def aim(start: str, key, original: Originals, problem: Problem) -> Variables:
    """Returns what the noisy steps go towards: no example has had a part in it.

    Who starts early goes towards the weights that the training started from.
    """
    if start == "early":
        return original.nothing
    return problem.model.init(key, problem.inputs(problem.retain[:1]))


def noisy(config, start: str, key, how, original: Originals, problem) -> dict:
    """Returns the weights right after the noise; `how` is what is kept, and sigma."""
    kept, sigma = how
    key_fresh, key_steps = jax.random.split(key)
    return noisy_steps.take(
        key_steps,
        getattr(original, start)["params"],
        aim(start, key_fresh, original, problem),
        problem,
        training.classification(problem.model),
        plan_of(config, start, kept),
        sigma,
        config.train.batch_size,
    )


def unlearner(config, start: str, epochs: int):
    """Returns the compiled `(key, how, original, problem) -> variables`."""
    recipe = training.Recipe(**config.train)
    recipe = recipe._replace(epochs=epochs, learning_rate=config.learning_rate)

    @jax.jit
    def one(key, how, original, problem):
        key_noisy, key_fit = jax.random.split(key)
        begun = original.end
        if start == "nothing":
            begun = aim(start, key_noisy, original, problem)
        elif start in NOISY:
            params = noisy(config, start, key_noisy, how, original, problem)
            begun = {**original.nothing, "params": params}
        return training.fit(
            key_fit,
            begun,
            problem,
            problem.retain,
            recipe.objective(problem.model),
            recipe.optimizer(len(problem.retain)),
            epochs=epochs,
            batch_size=recipe.batch_size,
        )[0]

    return one


@jax.jit
def accuracy(variables, problem: Problem, images, labels) -> jax.Array:
    """Returns the share of test images that a model is right about."""
    logits = training.predict(problem.model, variables, images, problem.preprocess)
    return jnp.mean(jnp.argmax(logits, axis=-1) == labels)


def attacker(config, start: str):
    """Returns the compiled scores of runs, `(keys, how, original, line, problem)`.

    A score is where the weights after the noise lie along a line, from what they went
    towards, which is known.
    """

    @jax.jit
    def scores(keys, how, original, line, problem):
        def one(key):
            weights = noisy(config, start, key, how, original, problem)
            known = aim(start, jax.random.split(key)[0], original, problem)["params"]
            return (ravel_pytree(weights)[0] - ravel_pytree(known)[0]) @ line

        return jax.lax.map(one, keys)

    return scores


def attacked(config, kind: Kind, how, attacks, problem, with_it, without) -> dict:
    """Tells runs with the request from runs without, by the weights after the noise.

    The line is from one original to the other.
    """
    if kind.start not in NOISY:
        return {"shown": np.nan, "noise": np.nan, "kept": np.nan}
    sides = [getattr(o, kind.start)["params"] for o in (with_it, without)]
    flat = [ravel_pytree(side)[0] for side in sides]
    found = [
        attacks[kind.start](
            jax.random.split(jax.random.key(seed), config.runs),
            how,
            original,
            flat[0] - flat[1],
            problem,
        )
        for seed, original in enumerate((with_it, without))
    ]
    positive = np.arange(2 * config.runs) < config.runs
    order = np.random.default_rng(0).permutation(2 * config.runs)
    scores, positive = np.concatenate(found)[order, None], positive[order, None]
    bound = empirical_epsilon(scores, positive, ~positive, delta=config.delta)
    kept, sigma = how
    noise = float(plan_of(config, kind.start, kept).noise_at_end(sigma))
    return {"shown": bound.epsilon, "noise": noise, "kept": kept}


# What it comes to


def markdown(config, rows: Sequence[Mapping]) -> str:
    """Writes the table in Markdown."""
    heads = ["Model", "Claimed ε", "Shown ε ≥", "Noise of a weight", "Kept, %"]
    heads += [f"Test after {epochs}, %" for epochs in config.epochs]
    lines = [" | ".join(heads), " | ".join([":--"] + ["--:"] * (len(heads) - 1))]
    for row in rows:
        cells = [
            row["model"] + " †" * bool(row["shown"] > row["claimed"]),
            f"{row['claimed']:g}" if np.isfinite(row["claimed"]) else "–",
            f"{row['shown']:.2f}" if np.isfinite(row["shown"]) else "–",
            f"{row['noise']:.4f}" if np.isfinite(row["noise"]) else "–",
            f"{100 * row['kept']:.2f}" if np.isfinite(row["kept"]) else "–",
        ]
        for epochs in config.epochs:
            mean, around = row[f"test_{epochs}"], row[f"interval_{epochs}"]
            cells.append(f"{100 * mean:.1f} ± {100 * around:.1f}")
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def write(folder: Path, config, rows: Sequence[dict]) -> None:
    """Writes `results.csv`, `summary.md` and the figure."""
    csv_files.write_csv(folder / "results.csv", rows)
    most = largest(config.runs // 2, config.runs // 2, delta=config.delta)
    text = f"""# What a certificate costs on {config.data.name}

{markdown(config, rows)}

Test accuracy after so many epochs without noise, means over {config.seeds} seeds, \
95 % intervals. *Claimed*: whoever sees the model, and not the weights on the way, can \
hardly tell (by a factor of exp(ε), but for δ {config.delta:g}) whether the original \
had the request, however large that is; if the key is secret, which that of a seed is \
not. Not covered: whoever saw the version before. *Shown*: what ε is at least, by an \
attack on the weights right after the noise, right in 95 % of studies; one that never \
errs would show {most:.1f}. *Kept*: of the way from where the noisy steps go to where \
they start. †: refuted.
"""
    store.write_text(folder / "summary.md", text)
    plotting.save(figure(config, rows), folder / "figures" / "certificates.png")


def figure(config, rows: Sequence[Mapping]):
    """Draws accuracy by epochs."""
    drawn = plotting.new_figure(6.4, 3.6)
    panel = drawn.add_subplot()
    for number, row in enumerate(rows):
        aside = 0.05 * (number - len(rows) / 2)  # intervals beside each other
        panel.errorbar(
            [epochs + aside for epochs in config.epochs],
            [100 * row[f"test_{epochs}"] for epochs in config.epochs],
            yerr=[100 * row[f"interval_{epochs}"] for epochs in config.epochs],
            label=row["model"],
            marker="o",
            linestyle="-" if row["claimed"] else "--",
            capsize=2,
        )
    panel.set_xticks(config.epochs)
    panel.legend(fontsize=7, frameon=False)
    title = "Test accuracy", "epochs on retained data, after the noise", "per cent"
    plotting.style(panel, *title, grid="y")
    plotting.add_title(drawn, "What a certificate for a net costs", config.data.name)
    return drawn
