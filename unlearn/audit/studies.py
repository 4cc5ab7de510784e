"""Studies: many models, and what each of them is requested to forget.

Studies are of one kind: S models are trained, each is requested to forget a set of its
own, and each is answered by retraining, by every method, and by controls.

- *shadow*: every target example is, at random, out of a third of the models' training
  sets, retained by a third and forgotten by a third. For the per-example attacks. The
  examples that the run is requested to forget come first among them, unless whole
  classes are requested.
- *request*: all models are requested to forget the run's forget set and differ in their
  seeds. For the distributional audits.
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
from unlearn.metrics.lira import FORGET, RETAIN
from unlearn.metrics.membership import spread
from unlearn.pipeline import Run
from unlearn.problem import Problem, joined, rows
from unlearn.shadows import balanced_states

FORMAT = 3  # of the models kept; another number makes old ones useless
NO_CLASSES = np.zeros(0, np.int32)


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
    canary: np.ndarray | None = None  # bool[T]
    requested: np.ndarray | None = None  # bool[T]: in the run's forget set
    source: "Study | None" = None  # whose originals are used, if not its own

    @property
    def folder(self) -> Path:
        return self.run.folder / "studies" / self.name

    @property
    def models(self) -> int:
        return len(self.forget)

    def roles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns `(states, canary, requested)`, which a shadow study has."""
        states, canary, requested = self.states, self.canary, self.requested
        assert states is not None
        assert canary is not None
        assert requested is not None
        return states, canary, requested


def shadow_study(run: Run) -> Study:
    """Draws targets and, for each, a random third of the models for each role.

    Some of the targets are mislabelled.
    """
    config, problem = run.config.audit, run.problem
    size, targets = len(problem.labels), config.targets
    if targets >= size:
        raise InputError(
            f"audit.targets must be less than the training set, {size}; it is {targets}"
        )
    draw = np.random.default_rng(config.seed)
    order = draw.permutation(size)
    requested = np.isin(order, problem.forget) & (len(problem.forget_classes) == 0)
    order = order[np.argsort(~requested, kind="stable")]
    order, canaries = np.split(order, [size - config.canaries])
    clean, others = np.split(order, [targets - config.canaries])
    chosen = np.concatenate([canaries, clean])
    labels = np.array(problem.labels)
    shift = draw.integers(1, problem.num_classes, len(canaries))
    labels[canaries] = (labels[canaries] + shift) % problem.num_classes
    states = balanced_states(draw, config.models, targets)
    background = round(config.background * len(others))
    forget = [chosen[row == FORGET] for row in states]
    retain = [
        np.concatenate([chosen[row == RETAIN], draw.permutation(others)[:background]])
        for row in states
    ]
    return _study(
        "shadow",
        run,
        problem.replace(labels=jnp.asarray(labels), forget_classes=NO_CLASSES),
        np.array(forget, np.int32),
        np.array(retain, np.int32),
        chosen,
        states=states,
        canary=np.arange(targets) < config.canaries,
        requested=np.isin(chosen, order[: requested.sum()]),
    )


def request_study(run: Run) -> Study:
    """Returns the run's own request, answered by many models."""
    forget, models = np.asarray(run.problem.forget), run.config.audit.models
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
    problem, count = run.problem, run.config.audit.examples
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
