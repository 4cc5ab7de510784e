"""Many models for the audits that need them, made by `devices.map_models`.

Studies are of one kind: S models are trained, each asked to forget a set of its own,
and each answered by retraining, by every method, and by controls.

- *shadow*: every target example is, at random, out of a third of the models' training
  sets, retained by a third and forgotten by a third. For the per-example attacks. The
  examples that the run is asked to forget come first among them, unless it is asked
  for whole classes.
- *request*: all models are asked to forget the run's forget set and differ in their
  seeds. For the distributional audits.
- *harder*: as request, one study for each of some forget sets that are harder than a
  random one, and one for ten requests after each other.

What is measured of each model is kept in the run folder a chunk at a time; the same
command goes on with the next chunk.
"""

import functools
import itertools
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unlearn import (
    controls,
    devices,
    forget_sets,
    methods,
    pipeline,
    store,
    training,
)
from unlearn.errors import InputError
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.metrics.membership import spread
from unlearn.problem import Problem, withhold

REFERENCES = ("original", "retrain", "oracle")
"""Trained from scratch; `oracle` is a second retrained model, for the floors."""
CONTROLS = ("no_op", "head_distill", "constant_margin", "collapsed")


class Study(NamedTuple):
    """S models and what each of them is asked to forget."""

    name: str
    run: pipeline.Run
    problem: Problem  # its labels are those trained with, mislabelled canaries included
    targets: np.ndarray  # int[T], the first of those measured
    forget: np.ndarray  # int32[S, F]
    retain: np.ndarray  # int32[S, R]
    images: (
        jax.Array
    )  # uint8[M, H, W, C], measured: the targets come first, then others
    labels: jax.Array  # int32[M]
    sets: dict  # slices of the measured: targets, rest (of the training set), test
    # One after another: equal parts of the forget set, in order. Those still to come
    # are retained; retained ones fill the places of those gone, all turns being one
    # program, and are seen twice.
    requests: int = 1
    states: np.ndarray | None = None  # int[S, T]: OUT, RETAIN or FORGET
    canary: np.ndarray | None = None  # bool[T]
    requested: np.ndarray | None = None  # bool[T], the run is asked to forget these
    asked: "Study | None" = None  # whose originals are asked, if not its own

    @property
    def folder(self) -> Path:
        return self.run.folder / "studies" / self.name

    @property
    def models(self) -> int:
        return len(self.forget)


FORMAT = 3  # of the models kept; another number makes old ones useless
NO_CLASSES = np.zeros(0, np.int32)

SMALLEST = {"models": 12, "chunk": 12, "targets": 60, "canaries": 15}
"""Of the section `audit`, for smoke presets: seconds, and nothing is decided."""


def default_audit(preset: str):
    """The section `audit` of an experiment's config."""
    from ml_collections import ConfigDict

    return ConfigDict(
        {
            # Models of each kind in a study, and how many one program makes.
            "models": 128,
            "chunk": 32,
            # Shadow study: examples that change roles between models, those of them
            # that are mislabelled, and the share of the other examples trained with.
            "targets": 300,
            "canaries": 75,
            "background": 1.0,
            "seed": 0,
            # At most so many examples of a set are measured.
            "examples": 1000,
            # Harder forget sets: models each (0: leave this out), size, and the
            # requests in turn with the share of the training set that one asks for.
            "harder": {"models": 12, "count": 60, "requests": 10, "fraction": 0.01},
            # What counts as equal to retraining: an AUC so near to 0.5, a test
            # accuracy so little lower.
            "auc_tolerance": 0.05,
            "utility_tolerance": 0.01,
            # Probe, IDI and relearning: how many seeds, examples and steps.
            "layers": {
                "seeds": 2,
                "examples": 500,
                "relearning": {"steps": 100, "batch_size": 32, "learning_rate": 0.05},
            },
            # For the page: why the examples must go.
            "reason": "not stated",
            "preset": preset,
        }
    )


class Measured(NamedTuple):
    """What the audits see of S models; M examples as in `Study.sets`."""

    margins: np.ndarray  # float32[S, M]: z_y - logsumexp of the other logits
    predictions: np.ndarray  # int32[S, M]
    seconds: float  # of all models, compilation apart


def shadow_study(this: pipeline.Run, test_labels) -> Study:
    """Targets in a random third of the roles each; some of them mislabelled."""
    config, problem = this.config.audit, this.problem
    size, targets = len(problem.labels), config.targets
    if targets % 3 or not 3 <= targets < size:
        raise InputError(
            f"audit.targets must be a multiple of 3 in 3..{size - 1}, less than the "
            f"training set; it is {targets}"
        )
    if not 0 <= config.canaries <= targets:
        raise InputError(
            f"audit.canaries must lie in 0..{targets}, the targets; "
            f"it is {config.canaries}"
        )
    draw = np.random.default_rng(config.seed)
    order = draw.permutation(size)
    asked = np.isin(order, problem.forget) & (len(problem.forget_classes) == 0)
    order = order[np.argsort(~asked, kind="stable")]
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
        this,
        problem.replace(labels=jnp.asarray(labels), forget_classes=NO_CLASSES),
        np.array(forget, np.int32),
        np.array(retain, np.int32),
        chosen,
        test_labels,
        states=states,
        canary=np.arange(targets) < config.canaries,
        requested=np.isin(chosen, order[: asked.sum()]),
    )


def balanced_states(draw, models: int, targets: int) -> np.ndarray:
    """int[models, targets]: of every three models each target is OUT of one, RETAIN in
    one and FORGET in one, and every model has a third of the targets in each state.

    With states drawn independently, examples that are easier to be called members may
    be so more often, which attacks would take for a leak.
    """
    roles = np.array([OUT, RETAIN, FORGET])
    states = []
    for _ in range(-(-models // 3)):
        first = draw.permutation(np.arange(targets) % 3)
        states += [roles[(first + turn) % 3] for turn in range(3)]
    return np.stack(states[:models])


def request_study(this: pipeline.Run, test_labels) -> Study:
    """The run's own request, answered by many models."""
    forget, models = np.asarray(this.problem.forget), this.config.audit.models
    return fixed_study("request", this, test_labels, forget, models)


def fixed_study(
    name, this, test_labels, forget, models, *, labels=None, requests=1, asked=None
) -> Study:
    """One forget set, indices int[F], for all models; `labels` replace the run's.

    `asked`: a study of as many models or more, trained on the same labels: its first
    originals are asked.
    """
    problem, count = this.problem, this.config.audit.examples
    if labels is not None:
        problem = problem.replace(labels=jnp.asarray(labels, jnp.int32))
    forget = np.asarray(forget, np.int32)
    if set(forget) != set(np.asarray(problem.forget)):
        problem = problem.replace(forget_classes=NO_CLASSES)
    retain = np.setdiff1d(np.arange(len(problem.labels), dtype=np.int32), forget)
    return _study(
        name,
        this,
        problem,
        np.tile(forget, (models, 1)),
        np.tile(retain, (models, 1)),
        forget[spread(len(forget), min(len(forget), count))],
        test_labels,
        requests=requests,
        asked=asked,
    )


def harder_sets(this: pipeline.Run, shadow: Study) -> dict[str, tuple]:
    """`{name: (forget indices int[F], labels or None)}`, all of one size.

    They come from the original models of the shadow study and its correctly labelled
    targets. The size is `audit.harder.count`, or less if there are fewer.
    """
    config, problem = this.config.audit, this.problem
    targets = shadow.sets["targets"]
    chosen, clean = shadow.targets, np.flatnonzero(~shadow.canary)
    before = measured(shadow, "original").margins[:, targets][:, clean]
    states = shadow.states[:, clean]
    memorized = np.nan_to_num(forget_sets.memorization(before, states))
    order = np.argsort(memorized, kind="stable")
    classes, counts = np.unique(np.asarray(problem.labels), return_counts=True)
    pair = classes[np.argsort(-counts, kind="stable")[:2]]
    members = int(np.sort(counts)[-2])
    count = min(config.harder.count, len(clean) // 2, 2 * members)
    count = min(count, config.canaries) if config.canaries else count
    count -= count % 2
    if count < 2:
        raise InputError("audit.harder.count is too small, or there are few targets")
    clean = chosen[clean]
    draw = np.random.default_rng(config.seed)
    labels = np.asarray(problem.labels)
    exchanged, confused = forget_sets.confused_pair(
        labels, *pair, count=count // 2, seed=config.seed
    )
    sets = {
        "random": (draw.choice(len(labels), count, replace=False), None),
        "not memorised": (clean[order[:count]], None),
        "memorised": (clean[order[-count:]], None),
        "worst case": (clean[forget_sets.worst_case(before, states, count)], None),
        "influence": (
            clean[forget_sets.influence_direction(before, states, count)],
            None,
        ),
        "confused pair": (confused, exchanged),
    }
    if config.canaries:
        mislabelled = np.asarray(shadow.problem.labels)
        sets["mislabelled"] = (chosen[:count], mislabelled)
    return sets


def _study(name, this, problem, forget, retain, first, test_labels, **more) -> Study:
    """Measured are `first`, and samples of the other training and of the test set."""
    if len(forget) < 12:
        raise InputError(f"audit.models must be at least 12; it is {len(forget)}")
    fixed = (forget == forget[:1]).all()
    known = np.union1d(first, forget[0]) if fixed else first
    rest = np.setdiff1d(np.arange(len(problem.labels)), known)
    count = this.config.audit.examples
    rest = rest[spread(len(rest), min(count, len(rest)))]
    test = spread(len(test_labels), min(count, len(test_labels)))
    train = np.concatenate([first, rest])
    ends = np.cumsum([0, len(first), len(rest), len(test)])
    names = "targets", "rest", "test"
    study = Study(
        name,
        this,
        problem,
        first,
        forget,
        retain,
        jnp.concatenate([problem.images[train], this.test_images[test]]),
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
    """The models in a study's folder must be those of its sets, in this format."""
    sets = study.forget, study.retain, np.asarray(study.problem.labels), study.targets
    told = {"format": FORMAT, "sha256": store.array_hash(*sets)}
    path = study.folder / "sets.json"
    if path.exists() and store.read_json(path) != told:
        raise InputError(
            f"{study.folder} holds models of other sets, made by another version: use "
            "another --workdir, or delete that folder"
        )
    store.write_json(path, told)


# Making the models


def measured(study: Study, name: str) -> Measured:
    """The models of a reference, a control or a method."""
    if name == "constant_margin":
        return controls.constant_margin(measured(study, "original"), study.labels)
    if name == "collapsed":
        return controls.collapsed(
            measured(study, "original"), study.problem.num_classes
        )
    borrowed = name == "original" and study.asked is not None
    if name in REFERENCES and not borrowed:
        return _trained(study, name)[0]
    return _answered(study, "no_op" if borrowed else name)[0]


def _trained(study: Study, name: str):
    """Models from scratch: on all they may see, or on the retain set."""
    sets = [study.retain] if name != "original" else [study.forget, study.retain]
    indices = np.concatenate(sets, axis=1)
    recipe = training.Recipe(**study.run.config.train)
    models = _keys(study, name), indices
    return _map(study, name, _trainer(recipe), models)


@functools.cache
def _trainer(recipe):
    def train(model, problem, images, labels):
        key, indices = model
        variables, _ = training.train(key, problem, indices, recipe)
        return {"variables": variables} | measure(problem, variables, images, labels)

    return train


def _answered(study: Study, name: str):
    """The originals after a method or a control."""
    variables = trained_variables(study.asked or study, "original", study.models)
    models = _keys(study, name), variables, study.forget, study.retain
    if name == "head_distill":
        models = *models, trained_variables(study, "retrain", study.models)
    constants = tuple(dict(study.run.config.methods.get(name, {})).items())
    return _map(study, name, _answerer(name, constants, study.requests), models)


@functools.cache
def _answerer(name, constants, requests):
    def answer(model, problem, images, labels):
        key, variables, forget, retain, *teacher = model
        parts = forget.reshape(requests, -1)
        later = forget[parts.shape[1] :]
        spare = jnp.resize(retain, later.shape)

        def one(variables, request):
            key, turn, part = request
            gone = jnp.arange(len(later)) < turn * len(part)
            stays = jnp.concatenate([retain, jnp.where(gone, spare, later)])
            asked = problem.replace(forget=part, retain=stays)
            if name == "no_op":
                return variables, None
            if name == "head_distill":
                return controls.head_distill(variables, asked, *teacher), None
            seen = withhold(asked, methods.METHODS[name].needs)
            options = dict(constants)
            return pipeline.run_method(name, key, variables, seen, **options)[0], None

        in_turn = jax.random.split(key, requests), jnp.arange(requests), parts
        variables, _ = jax.lax.scan(one, variables, in_turn)
        return measure(problem, variables, images, labels)

    return answer


def measure(problem: Problem, variables, images, labels) -> dict:
    scale = problem.mean, problem.std
    logits = training.predict(problem.model, variables, images, *scale)
    own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)
    margins = jnp.sum(jnp.where(own, logits, 0), axis=-1) - others
    return {"margins": margins, "predictions": jnp.argmax(logits, axis=-1)}


def _keys(study: Study, name: str):
    """A key for each model, other than those of the run's own models.

    Studies of one family, such as `harder/...`, are paired: they have the same keys.
    """
    family = study.name.split("/")[0]
    study_key = jax.random.key(zlib.crc32(family.encode()))
    key = jax.random.fold_in(study_key, zlib.crc32(name.encode()))
    return jax.random.split(key, study.models)


class Kept:
    """A leaf of the variables of many models, `float[models, ...]`, that stays on disk.

    Indexed with numbers of models it reads the files that hold them: all may not fit in
    memory.
    """

    def __init__(self, files: dict[Path, range], name: str, models: int):
        self.files, self.name, self.models = files, name, models

    def __len__(self) -> int:
        return self.models

    def __getitem__(self, numbers) -> np.ndarray:
        found = {}
        for path, inside in self.files.items():
            if wanted := set(numbers) & set(inside):
                (values,) = store.load_arrays(path, self.name.__eq__).values()
                found |= {number: values[inside.index(number)] for number in wanted}
        return np.stack([found[number] for number in numbers])


def trained_variables(study: Study, name: str, models: int):
    """Variables of the first models trained from scratch: a tree of `Kept`."""
    _, files = _trained(study, name)
    template = {"variables": pipeline.template(study.problem)}
    paths = flatten_dict(template, sep="/")
    leaves = {path: Kept(files, path, models) for path in paths}
    return unflatten_dict(leaves, sep="/")["variables"]


def _map(study: Study, name: str, fn, models) -> tuple[Measured, dict[Path, range]]:
    """What is measured of the models, and the files of their chunks."""
    folder, progress = study.folder / name, study.run.progress
    files = {}

    def keep(first, count, compute):
        path = folder / f"{first:05d}_{count}.npz"
        files[path] = range(first, first + count)
        if not path.exists():
            results, took = compute()
            if name == "oracle":
                del results["variables"]  # only measured
            results["seconds"] = np.full(count, took / count)
            store.save_arrays(path, flatten_dict(results, sep="/"))
        return store.load_arrays(path, Measured._fields.__contains__)

    def say(done):
        progress.tick(f"{study.name} study  {name}  model {done}/{study.models}")

    weights = sum(
        np.prod(leaf.shape, dtype=int)
        for leaf in jax.tree.leaves(pipeline.template(study.problem))
    )
    results, how = devices.map_models(
        fn,
        models,
        study.problem,
        study.images,
        study.labels,
        way=devices.choose_way(weights),
        chunk=study.run.config.audit.chunk,
        keep=keep,
        progress=say,
    )
    if how.seconds:
        progress.say(
            f"{study.name} study  {name}  {study.models} models  {how.seconds:.1f} s "
            f"+ {how.compile_seconds:.1f} s compile  ({WORDS[how.way]} on "
            f"{how.devices} devices)"
        )
    seconds = results.pop("seconds").sum()
    return Measured(**results, seconds=float(seconds)), files


WORDS = {"map": "one after another", "vmap": "vectorised"}
