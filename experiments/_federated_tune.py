"""Floats of federated methods, chosen by attacks on a client that no table shows.

As `unlearn.pipeline.tune` with the objective `audit`: each method gets the same number
of trials, the constants that it has and points of one Sobol sequence over the floats of
its `search`. `leak` is what attacks leave of what they find of the original (0: as a
federation that never had the client), the mean over single images, all of them
together, and wrong labels, over every setting. Of the trials that lose at most
`tune.utility` of accuracy the one with the least leak is chosen, and if there is none
the most accurate one. Another client than in the tables leaves, seeds are others, and
accuracy is that on training images which no client has.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import shadows, store
from unlearn.errors import InputError
from unlearn.federated import FEDERATED, Recipe, audit, federate, train
from unlearn.pipeline.leak_trials import left
from unlearn.pipeline.tune import choose, points, say_chosen
from unlearn.report import csv_files
from unlearn.report.progress import Progress
from unlearn.training import predict

from . import _federated as federated
from ._constants import check_least

VARIANTS = "clean", "wrong labels"


def run(config, folder: Path | str, *, data_dir: str | None = None) -> dict[str, dict]:
    """Tunes the methods in `config.run`: `{method: {constant: value}}`, best trials.

    Raises:
      InputError: a setting that makes no sense; a folder that was tuned with others.
    """
    federated.check(config)
    settings = config.tune
    check_least(settings, trials=1, seeds=3)
    searches = {name: FEDERATED[federated.base(name)].search for name in config.run}
    tried = {
        name: points(search, config.methods[name], settings.trials)
        for name, search in searches.items()
        # Retraining in all rounds is what others are compared with.
        if search and name != "retrain"
    }
    if not tried:
        raise InputError("no method to tune: none in `run` names floats in its search")
    folder, progress = Path(folder) / "tuning", Progress()
    claimed = config.to_dict()
    store.check_claim(folder, claimed)
    of_settings = list(federated.settings_of(config, data_dir, of_tuning=True))
    lock = store.claim(folder, claimed)
    found = [measured(config, folder, one, tried, progress) for one in of_settings]
    rows = []
    for name, trials in tried.items():
        mine = [
            row_of(config, name, number, point, found)
            for number, point in enumerate(trials)
        ]
        best = choose(mine, "audit")
        best["chosen"] = True
        rows += mine
        beyond = "" if best["feasible"] else ", beyond the utility limit"
        progress.say(
            f"{name:<18} leak {best['leak']:.3f}, {mine[0]['leak']:.3f} before; lost "
            f"{100 * best['lost']:.1f} points, {100 * mine[0]['lost']:.1f} before: "
            f"trial {best['trial']}{beyond}"
        )
    csv_files.write_csv(folder / "tuning.csv", rows)
    chosen = {
        row["method"]: {key: row[key] for key in searches[row["method"]]}
        for row in rows
        if row["chosen"]
    }
    say_chosen(progress, folder / "tuning.csv", chosen)
    lock.release()
    return chosen


def row_of(config, name: str, number: int, point: Mapping, found: Sequence) -> dict:
    """Returns a trial's row of `tuning.csv`: means over settings, NaN if it diverged.

    Raises:
      InputError: no attack sees through any original.
    """
    kept, never = (
        np.mean([one["clean"][model]["accuracy"][:, at].mean() for one in found])
        for model, at in ((name, number), ("never", ...))
    )
    row = dict.fromkeys(("leak", "lost", "test_accuracy"), np.nan)
    margins = [one[v][name]["margins"][:, number] for one in found for v in VARIANTS]
    if all(np.isfinite(values).all() for values in margins):
        shares = [share for one in found for share in leaks(one, name, number)]
        if not shares:
            raise InputError(
                "no attack sees through the originals that are tuned on, so there is "
                "no leak to tune by: raise tune.seeds or train.rounds"
            )
        row = {"leak": float(np.mean(shares)), "lost": float(never - kept)}
        row["test_accuracy"] = float(kept)
    feasible = bool(row["lost"] <= config.tune.utility)
    head = {"method": name, "trial": number, "chosen": False, "feasible": feasible}
    return head | row | point


def leaks(measured: Mapping, name: str, number: int) -> list[float]:
    """Returns what each attack that sees the original leaves of that in a setting."""
    found = []
    for variant, kinds in zip(
        VARIANTS, (("single", "whole"), ("single",)), strict=True
    ):
        models = measured[variant]
        mine, most, least = (
            audit.client_attack(margins, models["never"]["margins"])
            for margins in (
                models[name]["margins"][:, number],
                models["original"]["margins"],
                models["again"]["margins"],
            )
        )
        for kind in kinds:
            value, worst, best = (getattr(x, kind) for x in (mine, most, least))
            if worst.low > max(0.5, best.value):
                found.append(left(value.value, worst.value, best.value))
    return found


def measured(config, folder: Path, setting, tried: Mapping, progress) -> dict:
    """Returns margins and accuracies of all trials: `{variant: {model: ...}}`."""
    fixed = {
        name: tuple(
            (key, value)
            for key, value in federated.scaled(config, name, setting).items()
            if key not in trials[0]
        )
        for name, trials in tried.items()
    }
    floats = {
        name: {key: jnp.array([t[key] for t in trials]) for key in trials[0]}
        for name, trials in tried.items()
    }
    program = program_of(tuple(fixed.items()), setting.recipe)
    given = config.tune.seeds, progress, floats
    return {
        variant: federated.mapped(program, folder, setting, variant, *given, seed=1)[0]
        for variant in VARIANTS
    }


@functools.cache
def program_of(fixed: tuple[tuple[str, tuple], ...], recipe: Recipe):
    """Returns a program of one federation that measures all trials of all methods."""

    def program(key, problem, clients, request, own, test, floats):
        def measure(variables):
            logits = predict(
                problem.model, variables, test["examples"], problem.preprocess
            )
            hits = jnp.argmax(logits, axis=-1) == test["labels"]
            asked = shadows.measure(
                problem, variables, problem.examples[own], problem.labels[own]
            )
            return {"accuracy": jnp.mean(hits), "margins": asked["margins"]}

        key_train, key_never, key_again, *keys = jax.random.split(key, 3 + len(fixed))
        made = train(key_train, problem, clients, recipe)
        bare = recipe._replace(keep_every=0)
        never, again = (
            measure(federate(key, problem, request.left, bare)[0])
            for key in (key_never, key_again)
        )
        found = {"original": measure(made.variables), "never": never, "again": again}
        for (name, constants), key in zip(fixed, keys, strict=True):
            fn = FEDERATED[federated.base(name)].fn

            def one(point, fn=fn, key=key, constants=constants):
                return measure(fn(key, made, request, **dict(constants), **point)[0])

            found[name] = jax.lax.map(one, floats[name])
        return found

    return program
