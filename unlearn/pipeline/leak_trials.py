"""Trials of tuning judged by attacks: how much of the original's leak is left?

Few shadow models (`tune.models`) of each request that is tuned on. Of a random request
each example is forgotten by half of the models and was never seen by the other half;
among those that are forgotten every sixth is another example with a wrong label, the
deepest trace there is. Of whole classes all models forget the class, and unlearned
models are told from retrained ones. The attacks are those of an audit: on single
examples, on a model's whole forgotten set, on the planted examples.

`leak` is the mean of what is left by each of these, as a share of what the original
leaks: 0 is retraining, 1 is doing nothing. Shares are taken of the distance in standard
deviations that an AUC stands for. An attack that does not see through the original says
nothing and is left out. Attacks on whole classes see through nearly everything: an AUC
of .99 and more is all the same to them, so how far the margins are from those of
retrained models counts as a third. Accuracy is that of the validation split, less the
forgotten classes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unlearn import methods, parallel, store, training
from unlearn.errors import InputError
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.lira import FORGET, OUT
from unlearn.metrics.set_level import separation, set_level
from unlearn.metrics.strongest import EFFICACY, MEMBERSHIP, attack_all, largest
from unlearn.pipeline.budgets import saved_section
from unlearn.pipeline.method_programs import run_method
from unlearn.pipeline.setup import Run
from unlearn.pipeline.stages import key_of
from unlearn.problem import Problem, joined, rows, withhold
from unlearn.shadows import balanced_states, measure, measured_trainer

LEAST_MODELS = 12
FEW = 20  # of fewer requested examples an attack cannot be told from chance
PLANTED = 5  # requested examples a planted one
MEASURES = "single", "whole", "planted"
OF_CLASSES = "single", "whole", "distance"


class Shadows(NamedTuple):
    """S models of a request that is tuned on, and what retraining answers."""

    run: Run
    seed: int
    problem: Problem  # its labels are those trained with, planted ones included
    states: np.ndarray  # int[S, T], of those measured: OUT or FORGET; of classes FORGET
    planted: np.ndarray  # bool[T]
    forget: np.ndarray  # int32[S, F]
    retain: np.ndarray  # int32[S, R]
    examples: Any  # [T + V, ...]: the targets, then the validation split
    labels: jax.Array  # int32[T + V]

    @property
    def of_classes(self) -> bool:
        return len(self.problem.forget_classes) > 0

    def keys(self, name: str) -> jax.Array:
        """Returns a key of its own for each model of a kind."""
        key = key_of(self.seed, f"{self.run.folder.name} {name}")
        return jax.random.split(key, len(self.states))


def judge(runs: Sequence[Run]) -> Callable[[str, Sequence[dict]], list[dict]]:
    """Makes the shadow models of each run; returns what measures a method's trials.

    Raises:
      InputError: a request of fewer than 20 examples, or no leak to tune by.
    """
    drawn = [shadows_of(run) for run in runs]
    of_runs = [_prepared(shadows) for shadows in drawn]
    of = {
        "forget_sets": " ".join(run.folder.name for run in runs),
        "models": runs[0].config.tune.models,
    }

    def measured(name: str, points: Sequence[dict]) -> list[dict]:
        found = [trials(shadows, name, points) for shadows, _, _ in of_runs]
        scored = []
        for number, point in enumerate(points):
            each = []
            for many, parts in zip(found, of_runs, strict=True):
                one = {key: many[key][:, number] for key in many}
                shadows, retrain, ends = parts
                each.append(score(shadows, one, retrain, ends))
            row = {key: float(np.mean([r[key] for r in each])) for key in each[0]}
            feasible = bool(row["lost"] <= runs[0].config.tune.utility)
            head = {"method": name, "trial": number} | of | {"chosen": False}
            misses = "diverged" if np.isnan(row["test_accuracy"]) else ""
            head |= {"feasible": feasible, "misses": misses}
            scored.append(head | row | point)
        return scored

    return measured


def _prepared(shadows: Shadows) -> tuple[Shadows, dict, dict[str, tuple[float, float]]]:
    """Returns the shadow models, the retrained ones, and the ends of each scale."""
    original, retrain = (trained(shadows, name) for name in ("original", "retrain"))
    other = trained(shadows, "oracle") if shadows.of_classes else retrain
    worst = attacked(shadows, original["margins"], retrain["margins"])
    best = attacked(shadows, other["margins"], retrain["margins"])
    ends = {
        key: (worst[key].value, best[key].value)
        for key in worst
        if worst[key].low > max(0.5, best[key].value)
    }
    if shadows.of_classes:
        apart = functools.partial(distance, shadows, retrained=retrain["margins"])
        most, least = apart(original["margins"]), apart(other["margins"])
        ends |= {"distance": (most, least)} if most > least else {}
    if not {"single", "whole"} & set(ends):
        raise InputError(
            "no attack sees through the originals that are tuned on, so there is no "
            "leak to tune by: raise tune.models, or choose another tune.objective"
        )
    return shadows, retrain, ends


def shadows_of(run: Run) -> Shadows:
    """Draws what each model is requested to forget, and who of these is measured.

    Raises:
      InputError: a request of fewer than 20 examples.
    """
    problem, settings = run.alone, run.config.tune
    draw = np.random.default_rng([settings.first_seed, run.config.forget.seed])
    asked = draw.permutation(np.asarray(problem.forget))
    others, labels = np.asarray(problem.retain), np.array(problem.labels)
    if len(asked) < FEW:
        raise InputError(
            f"tune.objective=audit attacks the examples that are forgotten, and of "
            f"fewer than {FEW} an attack cannot be told from chance; there are "
            f"{len(asked)}: request more, or choose another tune.objective"
        )
    if len(problem.forget_classes):
        targets, wrong = asked, asked[:0]
        states = np.full((settings.models, len(asked)), FORGET)
        forget = np.tile(np.asarray(problem.forget), (settings.models, 1))
        retain = np.tile(others, (settings.models, 1))
    else:
        asked = asked[: len(asked) // 2 * 2]
        planted = min(len(asked) // PLANTED, len(others) // 3) // 2 * 2
        wrong = draw.permutation(others)[:planted]
        shift = draw.integers(1, problem.num_classes, len(wrong))
        labels[wrong] = (labels[wrong] + shift) % problem.num_classes
        targets = np.concatenate([asked, wrong])
        states = np.concatenate(
            [
                balanced_states(draw, settings.models, len(part), (OUT, FORGET))
                for part in (asked, wrong)
            ],
            axis=1,
        )
        forget = np.stack([targets[row == FORGET] for row in states])
        retain = np.tile(np.setdiff1d(others, wrong), (settings.models, 1))
    held_out, places = problem.validation, np.arange(len(targets))
    assert held_out is not None
    planted = places >= len(asked)
    measured = (places < settings.examples) | planted
    targets, states, planted = targets[measured], states[:, measured], planted[measured]
    return Shadows(
        run,
        settings.first_seed,
        problem.replace(labels=jnp.asarray(labels)),
        states,
        planted,
        forget.astype(np.int32),
        retain.astype(np.int32),
        joined(rows(problem.examples, targets), held_out.examples),
        jnp.concatenate(
            [jnp.asarray(labels[targets]), jnp.asarray(held_out.labels, jnp.int32)]
        ),
    )


def trained(shadows: Shadows, name: str) -> dict:
    """Returns models that are trained from scratch, or were kept, and what they answer.

    `variables`, `margins` and `predictions`, with a leading axis of models.
    `original@E` are the originals after E epochs.
    """
    run = shadows.run
    return run.remember(f"shadows {name}", None, lambda: _trained(shadows, name))


def _trained(shadows, name):
    kind, _, epochs = name.partition("@")
    sets = [shadows.retain] if kind != "original" else [shadows.forget, shadows.retain]
    config, folder = shadows.run.config, shadows.run.folder / "shadows" / name
    section = saved_section(config)
    of = {"run": shadows.run.fingerprint, "tune": section, "model": name}

    def keep(first, count, compute):
        path = folder / f"{first:05d}_{count}.npz"
        part = of | {"first": first, "count": count}
        if not store.is_kept(path):
            store.save_kept(path, flatten_dict(compute()[0], sep="/"), part)
        return store.load_kept(path, part)

    recipe = training.Recipe(**config.train)
    results, _ = parallel.map_models(
        measured_trainer(recipe, int(epochs) if epochs else None),
        (shadows.keys(kind), np.concatenate(sets, axis=1)),
        shadows.problem,
        shadows.examples,
        shadows.labels,
        keep=keep,
        progress=functools.partial(_tick, shadows, name),
    )
    return unflatten_dict(results, sep="/")


def _tick(shadows, name, done):
    count, run = len(shadows.states), shadows.run
    run.progress.tick(
        f"shadow models of {run.folder.name}  {name}  model {done}/{count}",
        share=done / count,
    )


def trials(shadows: Shadows, name: str, points: Sequence[dict]) -> dict:
    """Answers every model's request by each trial of a method, in one program.

    Returns: `margins` float32[S, trials, M] and `predictions` int32[S, trials, M].
    """
    settings, info = dict(shadows.run.config.methods[name]), methods.METHODS[name]
    fixed = {key: value for key, value in settings.items() if key not in points[0]}
    floats = {key: jnp.array([point[key] for point in points]) for key in points[0]}
    originals = trained(shadows, "original")["variables"]
    models = shadows.keys(name), originals, shadows.forget, shadows.retain
    if epochs := info.early_epochs(settings):
        early = {e: trained(shadows, f"original@{e}")["variables"] for e in epochs}
        models = *models, early
    found, _ = parallel.map_models(
        _answerer(info.fn, info.needs, tuple(fixed.items())),
        models,
        shadows.problem,
        shadows.examples,
        shadows.labels,
        floats,
        progress=functools.partial(_tick, shadows, name),
    )
    return found


@functools.lru_cache(maxsize=64)
def _answerer(fn: Callable, needs: tuple[str, ...], fixed: tuple) -> Callable:
    def answer(model, problem, examples, labels, floats):
        key, variables, forget, retain, *early = model
        seen = withhold(problem.replace(forget=forget, retain=retain), needs)
        if early:
            seen = seen.replace(early=early[0])

        def one(point):
            constants = dict(fixed) | point
            after, _ = run_method(fn, key, variables, seen, **constants)
            return measure(problem, after, examples, labels)

        return jax.lax.map(one, floats)

    return answer


# What is left


def attacked(
    shadows: Shadows, margins: np.ndarray, retrained: np.ndarray
) -> dict[str, Estimate]:
    """Returns the AUC of each attack, with intervals: `single`, `whole`, `planted`.

    Args:
      margins: float[S, M] of the models that are attacked.
      retrained: float[S, M]: what they are told from, where whole classes go.
    """
    count, states = len(shadows.planted), shadows.states
    margins = np.asarray(margins, np.float64)
    if shadows.of_classes:
        margins = np.concatenate([margins, np.asarray(retrained, np.float64)])
        states = np.concatenate([states, np.full_like(states, OUT)])
    attacks = EFFICACY if shadows.of_classes else MEMBERSHIP

    def strongest(chosen):
        own, population = margins[:, :count][:, chosen], margins[:, count:]
        found = attack_all(own, states[:, chosen], population, attacks).values()
        return largest(Estimate(one.auc, *one.auc_interval) for one in found)

    asked = ~shadows.planted
    found = {
        "single": strongest(asked),
        "whole": set_level(margins[:, :count][:, asked], states[:, asked]),
    }
    if shadows.planted.any():
        found["planted"] = strongest(shadows.planted)
    return found


def left(value: float, original: float, retrained: float) -> float:
    """Returns what an AUC leaves of the original's leak: 0 as retrained, 1 as original.

    Below what retraining leaks is nothing.
    """
    return _share(*map(separation, (value, original, retrained)))


def _share(value: float, original: float, retrained: float) -> float:
    return max(0.0, (value - retrained) / (original - retrained))


def distance(shadows: Shadows, margins: np.ndarray, retrained: np.ndarray) -> float:
    """Returns how far mean margins are from those of retrained models, in nats.

    The mean over the forgotten examples; `margins` and `retrained` are float[S, M].
    """
    count = len(shadows.planted)
    means = [np.asarray(m, np.float64)[:, :count].mean(0) for m in (margins, retrained)]
    return float(np.abs(means[0] - means[1]).mean())


def accuracy(shadows: Shadows, predictions: np.ndarray) -> float:
    """Returns the models' mean accuracy on the validation split; int[S, M]."""
    labels = np.asarray(shadows.labels)[len(shadows.planted) :]
    stays = ~np.isin(labels, np.asarray(shadows.problem.forget_classes))
    own = np.asarray(predictions)[:, len(shadows.planted) :]
    return float((own == labels)[:, stays].mean())


def score(shadows: Shadows, found: Mapping, retrain: Mapping, ends: Mapping) -> dict:
    """Returns the columns of a trial on one request; NaN where it diverged.

    Args:
      found, retrain: `margins` and `predictions` of the models.
      ends: for each measure that counts its value for the original and for retraining.
    """
    kept = accuracy(shadows, found["predictions"])
    measures = OF_CLASSES if shadows.of_classes else MEASURES
    row = dict.fromkeys(("leak", *measures, "lost", "test_accuracy"), np.nan)
    if not np.isfinite(found["margins"]).all():
        return row
    leaks = attacked(shadows, found["margins"], retrain["margins"])
    row |= {key: estimate.value for key, estimate in leaks.items()}
    shares = [left(row[key], *ends[key]) for key in leaks if key in ends]
    if "distance" in ends:
        row["distance"] = distance(shadows, found["margins"], retrain["margins"])
        shares.append(_share(row["distance"], *ends["distance"]))
    row["leak"] = float(np.mean(shares))
    row["lost"] = accuracy(shadows, retrain["predictions"]) - kept
    return row | {"test_accuracy": kept}
