"""Studies: many models, and what each of them is requested to forget.

Studies are of one kind: S models are trained, each is requested to forget a set of its
own, and each is answered by retraining, by every method, and by controls.

- *shadow*: each of the requested examples is, at random, out of the training sets of a
  half of the models and forgotten by the other half: forgotten, or never seen? Other
  examples are out of a half and kept in the other: kept, or never seen? Not of requests
  of whole classes.
- *request*: all models are requested to forget the run's forget set and differ in their
  seeds. For what is left of the accuracy, for the distributional audits, and for
  requests of whole classes: unlearned, or retrained?
- *stress*: training examples with a wrong label, which only a model that saw them
  answers with. Each is out of a third of the training sets, kept in a third and
  forgotten in a third.
- *harder*: as request, one study for each of some forget sets that are harder than a
  random one (`hard_sets`), and one for ten requests one after another.

`shadow_models` makes and measures the models.
"""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import store
from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.metrics.membership import spread
from unlearn.pipeline import Run
from unlearn.problem import Problem, joined, rows
from unlearn.shadows import balanced_states

FORMAT = 4  # of the models kept; another number makes old ones useless
NO_CLASSES = np.zeros(0, np.int32)
FEW = 20  # of fewer requested examples an attack's AUC says nothing
ENOUGH = 144 * 129  # models times examples, of which retraining passes its own audit


class Study(NamedTuple):
    """S models and what each of them is requested to forget."""

    name: str
    run: Run
    problem: Problem  # its labels are those trained with, mislabelled canaries included
    targets: np.ndarray  # int[T], the first of those measured
    forget: np.ndarray  # int32[S, F]
    retain: np.ndarray  # int32[S, R]
    examples: Any  # [M, ...], measured: first the targets, then others
    labels: jax.Array  # int32[M]
    sets: dict  # slices of the measured: targets, rest (of the training set), test
    # Sequential requests: equal parts of the forget set, in order. Those still to come
    # are retained; retained ones fill the places of those gone, so that all requests
    # are one program, and are seen twice.
    requests: int = 1
    states: np.ndarray | None = None  # int[S, T]: OUT, RETAIN or FORGET
    requested: np.ndarray | None = None  # bool[T]: in the run's forget set
    source: "Study | None" = None  # whose originals are used, if not its own

    @property
    def folder(self) -> Path:
        return self.run.folder / "studies" / self.name

    @property
    def models(self) -> int:
        return len(self.forget)

    def roles(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns `(states, requested)`, which a shadow and a stress study have."""
        states, requested = self.states, self.requested
        assert states is not None
        assert requested is not None
        return states, requested

    @property
    def of_classes(self) -> bool:
        """Says whether whole classes are to be forgotten."""
        return len(self.problem.forget_classes) > 0


def shadow_study(run: Run) -> Study:
    """Draws the requested examples, and others that are kept or out.

    At most `audit.targets` of the requested ones, in even numbers. Where fewer than
    `FEW` are requested, which cannot be judged, others fill the places, as far as they
    go; at most a third of the others are kept or out.

    Raises:
      InputError: fewer than 6 examples are not requested.
    """
    config, problem = run.config.audit, run.alone
    draw = np.random.default_rng(config.seed)
    asked = draw.permutation(np.asarray(problem.forget))[: config.targets]
    others = draw.permutation(np.asarray(problem.retain))
    wanted = config.targets if len(asked) < FEW else len(asked)
    wanted += wanted % 2
    if len(others) < 6:
        raise InputError(
            f"a shadow study needs 6 training examples that are not requested; there "
            f"are {len(others)}: request fewer examples, or leave the audit out"
        )
    number = min(config.kept, len(others) // 6 * 2)
    wanted = min(wanted, len(asked) + len(others) - number - 1) // 2 * 2
    if config.harder.membership:  # sets that are so many requests
        wanted = wanted // (2 * config.harder.requests) * 2 * config.harder.requests
        asked = asked[:wanted]
        if not wanted:
            raise InputError(
                f"{config.harder.requests} requests one after another need "
                f"{2 * config.harder.requests} examples to be requested: lower "
                "audit.harder.requests"
            )
    filled, others = np.split(others, [wanted - len(asked)])
    kept, others = np.split(others, [number])
    models = config.models
    states = np.concatenate(
        [
            balanced_states(draw, models, wanted, (OUT, FORGET)),
            balanced_states(draw, models, number, (OUT, RETAIN)),
        ],
        axis=1,
    )
    targets = np.concatenate([asked, filled, kept])
    return _with_states(
        "shadow", run, problem, targets, others, states, np.isin(targets, asked), draw
    )


def stress_study(run: Run) -> Study:
    """Draws examples that are not requested, and gives them a wrong label.

    At most a third of those that are there.

    Raises:
      InputError: fewer than 9 examples are not requested.
    """
    config, problem = run.config.audit, run.alone
    draw = np.random.default_rng([config.seed, 1])
    others = draw.permutation(np.asarray(problem.retain))
    if len(others) < 9:
        raise InputError(
            "a stress study needs 9 training examples that are not requested; there "
            f"are {len(others)}: set audit.canaries to 0 to leave it out"
        )
    number = min(config.canaries, len(others) // 9 * 3)
    canaries, others = np.split(others, [number])
    others = np.concatenate([others, np.asarray(problem.forget)])
    labels = np.array(problem.labels)
    shift = draw.integers(1, problem.num_classes, len(canaries))
    labels[canaries] = (labels[canaries] + shift) % problem.num_classes
    states = balanced_states(draw, config.stress_models, len(canaries))
    problem = problem.replace(labels=jnp.asarray(labels))
    none = np.zeros(len(canaries), bool)
    return _with_states("stress", run, problem, canaries, others, states, none, draw)


def _with_states(name, run, problem, targets, others, states, requested, draw) -> Study:
    """Trains on the targets that are not OUT, and on a part of the others."""
    background = max(1, round(run.config.audit.background * len(others)))
    forget = [targets[row == FORGET] for row in states]
    retain = [
        np.concatenate([targets[row == RETAIN], draw.permutation(others)[:background]])
        for row in states
    ]
    return _study(
        name,
        run,
        problem.replace(forget_classes=NO_CLASSES),
        np.array(forget, np.int32),
        np.array(retain, np.int32),
        targets,
        states=states,
        requested=requested,
    )


def models_needed(examples: int) -> int:
    """Returns how many models show that nothing is left, of so many examples.

    Retraining passed its own audit of models x examples, against the least tolerances,
    in 0 % of studies of 144 x 20, 12 % of 144 x 40, 56 % of 144 x 60 and 93 % of 144 x
    129. A multiple of 6, which the roles are dealt out in.
    """
    return 6 * -(-ENOUGH // (6 * max(examples, 1)))


def too_few(models: int, examples: int) -> bool:
    """Says whether so many models can hardly show that nothing is left."""
    return models * examples < 0.9 * ENOUGH


def small(study: Study) -> str:
    """Says of a shadow study that is too small to pass what it would take, if it is.

    It still finds what leaks; a study that judges no requested example is not said.
    """
    examples = int(study.roles()[1].sum())
    if examples < FEW or not too_few(study.models, examples):
        return ""
    return (
        f"note: {study.models} models of {examples} requested examples can find a "
        "leak, but hardly show that there is none: retraining may not pass its own "
        f"audit; about {models_needed(examples):,} would (audit.models)"
    )


def request_study(run: Run) -> Study:
    """Returns the run's own request, answered by many models."""
    forget = np.asarray(run.problem.forget)
    models = run.config.audit.request_models
    return fixed_study("request", run, forget, models)


def fixed_study(
    name: str,
    run: Run,
    forget: np.ndarray,
    models: int,
    *,
    labels: np.ndarray | None = None,
    requests: int = 1,
    source: Study | None = None,
) -> Study:
    """Returns a study of one forget set, indices int[F], for all models.

    Args:
      labels: replace the run's.
      requests: how many sequential requests the forget set is.
      source: a study of as many models or more, trained on the same labels, whose first
        originals are used.
    """
    problem, count = run.alone, run.config.audit.examples
    if labels is not None:
        problem = problem.replace(labels=jnp.asarray(labels, jnp.int32))
    forget = np.asarray(forget, np.int32)
    if set(forget) != set(np.asarray(problem.forget)):
        problem = problem.replace(forget_classes=NO_CLASSES)
    retain = np.setdiff1d(np.arange(len(problem.labels), dtype=np.int32), forget)
    return _study(
        name,
        run,
        problem,
        np.tile(forget, (models, 1)),
        np.tile(retain, (models, 1)),
        forget[spread(len(forget), min(len(forget), count))],
        requests=requests,
        source=source,
    )


def one_by_one(shadow: Study, name: str, requests: int) -> Study:
    """Returns a shadow study whose forget sets are so many requests, one after another.

    Its originals and retrained models are those of `shadow`.
    """
    study = shadow._replace(name=name, requests=requests, source=shadow)
    _claim(study)
    return study


def _study(name, run: Run, problem, forget, retain, first, **more) -> Study:
    """Measures `first`, and samples of the other training and of the test set.

    Where all models forget the same set, none of it is among those other examples.
    """
    test_labels = run.sets.test_labels
    fixed = (forget == forget[:1]).all()
    known = np.union1d(first, forget[0]) if fixed else first
    rest = np.setdiff1d(np.arange(len(problem.labels)), known)
    count = run.config.audit.examples
    rest = rest[spread(len(rest), min(count, len(rest)))]
    test = spread(len(test_labels), min(count, len(test_labels)))
    train = np.concatenate([first, rest])
    ends = np.cumsum([0, len(first), len(rest), len(test)])
    names = "targets", "rest", "test"
    study = Study(
        name,
        run,
        problem,
        first,
        forget,
        retain,
        joined(rows(problem.examples, train), rows(run.test_examples, test)),
        jnp.concatenate(
            [problem.labels[train], jnp.asarray(test_labels[test], jnp.int32)]
        ),
        {
            n: slice(*pair)
            for n, pair in zip(names, itertools.pairwise(ends), strict=True)
        },
        **more,
    )
    _claim(study)
    return study


def _claim(study: Study) -> None:
    """Checks that the models in a study's folder are those of its sets.

    Raises:
      InputError: they are of other sets, or in the format of another version.
    """
    sets = study.forget, study.retain, np.asarray(study.problem.labels), study.targets
    record = {
        "run": study.run.fingerprint,
        "format": FORMAT,
        "sha256": store.array_hash(*sets),
    }
    path = study.folder / "sets.json"
    if path.exists() and store.read_json(path) != record:
        raise InputError(
            f"{study.folder} holds models of other sets or of another version: use "
            "another folder, or delete that one"
        )
    store.write_json(path, record)
