"""Data, original, retrain, methods, metrics, report: one resumable run.

`run(config, folder)` is what `launch.py` calls; `default_config` documents the fields.
"""

import dataclasses
import functools
import inspect
import math
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import data, devices, exact, methods, metrics, models, store, training
from unlearn import problem as problems
from unlearn.errors import InputError
from unlearn.problem import Problem
from unlearn.report.progress import Progress

APPROXIMATE = tuple(name for name in methods.METHODS if name != "retrain")
ANY_SCOPE = tuple(n for n in APPROXIMATE if methods.METHODS[n].scope == "both")


def default_config():
    """Every field of a run, with its default; experiments change some of them."""
    from ml_collections import ConfigDict

    return ConfigDict(
        {
            # The data set, as `unlearn.data.load` names it, and the share of its
            # training split that is held out for choosing hyper-parameters.
            # flip, crop (pixels), rotate (degrees) and jitter augment the training.
            # image_size: 0, or the side that images of differing sizes are resized to.
            # examples: 0, or how many random training examples are used.
            "data": {
                "name": "digits",
                "validation": 0.1,
                "examples": 0,
                "flip": False,
                "crop": 0,
                "rotate": 0.0,
                "jitter": 0.0,
                "image_size": 0,
            },
            # kind: random (fraction, or count if given), class (classes, class_fraction
            # of each) or indices (a tuple, or a file of them) into the training split.
            "forget": {
                "kind": "random",
                "fraction": 0.1,
                "count": 0,
                "classes": (),
                "class_fraction": 1.0,
                "indices": (),
                "file": "",
                "seed": 0,
            },
            # The net, and the options of each that can be chosen.
            "model": {"name": "cnn"} | models.options(),
            "train": training.Recipe()._asdict(),
            # Keyword arguments of each method (of `fit`, if it is one of
            # `unlearn.exact`), and those that are run. A method that
            # needs the retain set has retain_examples as well: 0, or the size of the
            # random part of the retain set that it gets.
            "methods": {
                name: method_defaults(name) for name in (*APPROXIMATE, *exact.EXACT)
            },
            "run": ANY_SCOPE,
            # Training seeds: each trains its own original and retrained model.
            "seeds": 5,
            # Largest sample of the support vector attack; 0: no limit.
            "attack_examples": 0,
            # For --tune: see `unlearn.tuning`.
            "tune": {
                "trials": 16,
                "seeds": 1,
                "examples": 2000,
                "utility": 0.05,
                "objective": "avg_gap",
                "classes": (),
            },
            # For `unlearn.rotation`: classes forgotten in turn with the best methods,
            # those first that have this speed-up over retraining.
            "rotate": {"classes": (), "best": 5, "seeds": 1, "speedup": 10.0},
        }
    )


def method_defaults(name: str) -> dict:
    info = methods.METHODS.get(name) or exact.EXACT[name]
    fn = info.fit if name in exact.EXACT else info.fn
    parameters = inspect.signature(fn).parameters.values()
    defaults = {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not None
    }
    if name in methods.METHODS and "retain" in info.needs:
        defaults["retain_examples"] = 0
    return defaults


# Problem


class Split(NamedTuple):
    """Indices into the data set's training split."""

    train: np.ndarray
    validation: np.ndarray
    forget: np.ndarray
    classes: tuple[int, ...]  # forgotten as a whole


def split(labels: np.ndarray, num_classes: int, config, groups=None) -> Split:
    """Validation and forget set; a given forget set is never held out.

    `groups`, int[N] or None: examples of one group are all held out, or none is.

    Raises:
      InputError: see `unlearn.problem`; and a share held out that is not in [0, 1).
    """
    forget, held_out = config.forget, config.data.validation
    settings = {"class": ("classes",), "indices": ("indices", "file")}
    for kind, names in settings.items():
        for name in names:
            if forget[name] and forget.kind != kind:
                raise InputError(
                    f"forget.{name} is given, but forget.kind is {forget.kind!r}: "
                    f"add --config.forget.kind={kind}, or empty forget.{name}"
                )
    if forget.indices and forget.file:
        raise InputError("give forget.indices or forget.file, not both")
    if not all(isinstance(c, int) for c in forget.classes):
        raise InputError(f"forget.classes must be numbers; they are {forget.classes}")
    if not 0 <= held_out < 1:
        raise InputError(f"data.validation must lie in [0, 1); it is {held_out}")
    everything = np.arange(len(labels))
    given = np.zeros(0, np.int32)
    if forget.kind == "indices":
        given = (
            problems.read_indices(forget.file) if forget.file else list(forget.indices)
        )
        given = problems.check_forget_indices(given, len(labels))
    free = np.setdiff1d(everything, given)
    if groups is not None:
        free = free[~np.isin(groups[free], groups[given])]
    count = round(held_out * len(labels))
    if count >= len(free):
        raise InputError(
            f"{len(given)} examples to forget and {count} held out for validation "
            "leave nothing to retain: forget fewer, or lower data.validation"
        )
    order = np.random.default_rng([forget.seed, 1]).permutation(free)
    validation = np.sort(hold_out(order, count, groups))
    train = np.setdiff1d(everything, validation)
    if config.data.examples:
        train = some(train, given, config.data.examples, config.forget.seed)
    classes = ()
    if forget.kind == "indices":
        chosen = np.searchsorted(train, given)
    elif forget.kind == "random":
        if forget.count < 0:
            raise InputError(f"forget.count must not be negative; it is {forget.count}")
        fraction = 0.0 if forget.count else forget.fraction
        chosen = problems.forget_random(
            labels[train], fraction=fraction, count=forget.count, seed=forget.seed
        )
    elif forget.kind == "class":
        if not forget.classes:
            raise InputError(
                "forget.kind=class needs classes, such as --config.forget.classes=(7,)"
            )
        chosen = problems.forget_class(
            labels[train],
            forget.classes,
            num_classes=num_classes,
            fraction=forget.class_fraction,
            seed=forget.seed,
        )
        if forget.class_fraction == 1:
            classes = tuple(sorted(set(forget.classes)))
    else:
        raise InputError(
            f"unknown forget.kind {forget.kind!r}: random, class or indices"
        )
    return Split(train, validation, chosen.astype(np.int32), classes)


def some(train: np.ndarray, given, count: int, seed: int) -> np.ndarray:
    """A random `count` of the training examples, all that are to be forgotten in it."""
    if not len(given) < count <= len(train):
        raise InputError(
            f"data.examples must lie in {len(given) + 1}..{len(train)}, more than the "
            f"examples to forget; it is {count}"
        )
    others = np.setdiff1d(train, given)
    draw = np.random.default_rng([seed, 2])
    return np.union1d(given, draw.choice(others, count - len(given), replace=False))


def hold_out(order: np.ndarray, count: int, groups) -> np.ndarray:
    """The first `count` of `order`; of groups, the first ones that fit in whole."""
    if groups is None:
        return order[:count]
    _, first, group, sizes = np.unique(
        groups[order], return_index=True, return_inverse=True, return_counts=True
    )
    turns = np.argsort(first)
    fit = turns[np.cumsum(sizes[turns]) <= count]
    return order[np.isin(group, fit)]


def make_problem(dataset, parts: Split, model, config) -> Problem:
    images, labels = dataset.train_images, dataset.train_labels
    held_out = parts.validation
    return problems.make_problem(
        images[parts.train],
        labels[parts.train],
        parts.forget,
        model,
        num_classes=len(dataset.class_names),
        forget_classes=parts.classes,
        mean=dataset.mean,
        std=dataset.std,
        augment=data.augmentation(
            **{name: config.data[name] for name in ("flip", "crop", "rotate", "jitter")}
        ),
        validation=(images[held_out], labels[held_out]) if len(held_out) else None,
    )


# The run


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What the stages of one run share."""

    folder: Path
    config: object
    problem: Problem
    test_images: jax.Array
    log: store.Log
    progress: Progress

    def checkpoints(self, model: str, seed: int) -> Path:
        return self.folder / "checkpoints" / model / str(seed)

    def evaluation_path(self, model: str, seed: int) -> Path:
        return self.folder / "evaluations" / model / f"{seed}.npz"

    def evaluation(self, model: str, seed: int) -> dict[str, np.ndarray]:
        return store.load_arrays(self.evaluation_path(model, seed))


class Diverged(InputError):
    """A loss or a weight that is not finite.

    `summary` is that of the run if only methods diverged, and all else is reported.
    """

    def __init__(self, message: str, info: dict | None = None, summary=None):
        super().__init__(message)
        self.info, self.summary = info or {}, summary


def run(config, folder, *, data_dir=None, progress=None, originals=None) -> list[dict]:
    """Runs or continues an experiment in `folder`; returns the summary.

    Args:
      config: see `default_config`.
      folder: the run folder; a run with another config in it is refused.
      data_dir: where prepared data sets lie.
      progress: a `Progress`; default: to standard output.
      originals: the folder of a run of which this one takes the original models: one
        with the same data, model and training, and another class to forget.

    Raises:
      InputError: bad input, in one line; `Diverged` at the end if a method diverged
        (the others are done and reported).
    """
    from unlearn.report import figures, tables

    names = tuple(n for n in dict.fromkeys(config.run) if n != "retrain")
    this, context = prepare(config, folder, names, data_dir, progress or Progress())
    folder = this.folder
    if originals:
        copy_originals(originals, folder, config.seeds)
    rows, stopped = make_rows(this, context, names)
    if any(row["model"] == "retrain" for row in rows):
        summary = tables.summarize(rows)
        tables.write_csv(folder / "summary.csv", summary)
        store.write_text(folder / "summary.md", tables.summary_markdown(summary))
        figures.write_all(folder / "figures", rows, summary, context, this.evaluation)
        tables.print_table(summary)
        this.progress.say(f"Everything is in {folder}")
    if stopped:
        raise stopped
    diverged = [f"{r['model']} (seed {r['seed']})" for r in rows if is_diverged(r)]
    if diverged:
        raise methods_diverged(diverged, summary)
    return summary


def methods_diverged(names, summary) -> Diverged:
    """What a run ends with if all else is reported."""
    return Diverged(
        f"{', '.join(names)} diverged: the loss or a weight is not finite; "
        "lower --config.methods.<method>.learning_rate (use another --workdir); "
        "everything else is reported",
        summary=summary,
    )


def copy_originals(source, target, seeds: int) -> None:
    """Copies the original models of one run folder to another."""
    for seed in range(seeds):
        final = Path("checkpoints", "original", str(seed), "final")
        store.copy_checkpoint(Path(source) / final, Path(target) / final)


def prepare(config, folder, names, data_dir, progress):
    """The run's shared things and what its figures need; claims the folder."""
    from unlearn.report import figures

    check(config, names)
    saved = config.to_dict() | {"run": names}
    del saved["tune"], saved["rotate"]
    saved.get("audit", {}).pop("reason", None)
    saved["model"] = {k: saved["model"][k] for k in ("name", config.model.name)}
    parts = {part for name in names for part in links(name)}
    saved["methods"] = {name: saved["methods"][name] for name in sorted(parts)}
    folder = Path(folder)
    store.check_claim(folder, saved)
    dataset = data.load(
        config.data.name, data_dir=data_dir, image_size=config.data.image_size or None
    )
    classes = len(dataset.class_names)
    parts = split(dataset.train_labels, classes, config, dataset.train_groups)
    net = config.model.name
    model = models.create(net, classes, **config.model[net])
    problem = make_problem(dataset, parts, model, config)
    check_sizes(problem, config, names)
    store.claim(folder, saved)
    write_manifest(folder, dataset, parts, problem)
    test_images = jnp.asarray(dataset.test_images)
    log = store.Log(folder / "log.jsonl")
    context = figures.Context(
        train_labels=np.asarray(problem.labels),
        test_labels=dataset.test_labels,
        forget=parts.forget,
        retain=np.asarray(problem.retain),
        class_names=dataset.class_names,
        forget_classes=parts.classes,
        title=folder.name,
    )
    return Run(folder, config, problem, test_images, log, progress), context


def make_rows(this: Run, context, names) -> tuple[list[dict], Diverged | None]:
    """The rows of `results.csv`: those that are there, and the others computed.

    If an original or a retrained model diverges, the rows of the seeds before it and
    the exception.
    """
    from unlearn.report import tables

    path, done, rows = this.folder / "results.csv", {}, []
    if path.exists():
        done = {(row["model"], row["seed"]): row for row in tables.read_csv(path)}
    for seed in range(this.config.seeds):
        for name in ("original", "retrain", *names):
            row = done.get((name, seed))
            evaluated = this.evaluation_path(name, seed).exists()
            if row is None or not (evaluated or is_diverged(row)):
                try:
                    row = make_row(this, context, name, seed)
                except Diverged as error:
                    rows = [row for row in rows if row["seed"] < seed]
                    if rows:
                        tables.write_csv(path, rows)
                    return rows, error
                tables.write_csv(path, [*rows, row])
                this.progress.say(progress_line(row, this.config.seeds))
            rows.append(row)
    return rows, None


LEAST = {"epochs": 1, "batch_size": 1, "forget_batch_size": 1, "group": 1}
LEAST |= {"max_epochs": 0, "warmup_epochs": 0, "retain_examples": 0}
CHOICES = {"schedule": training.SCHEDULES, "decay": training.SCHEDULES}
CHOICES |= {"optimizer": tuple(training.OPTIMIZERS)}


def check(config, names: tuple[str, ...]) -> None:
    """What can be checked before the data is there."""
    if config.seeds < 1:
        raise InputError(f"--seeds must be at least 1; it is {config.seeds}")
    parts = list(dict.fromkeys(part for name in names for part in links(name)))
    for name in names:
        if "+" in name and set(links(name)) & exact.EXACT.keys():
            raise InputError(
                f"{name} cannot be a chain: {', '.join(exact.EXACT)} train a model of "
                "their own, so run them alone"
            )
    for name in parts:
        if name not in config.methods:
            raise InputError(
                f"unknown method {name!r}: choose from {', '.join(config.methods)}, "
                "or a chain such as influence+finetune"
            )
        whole = config.forget.kind == "class" and config.forget.class_fraction == 1
        info = methods.METHODS.get(name)
        if info and info.scope == "class" and not whole:
            raise InputError(
                f"{name} forgets whole classes only: leave it out of --methods, or "
                "add --config.forget.kind=class --config.forget.classes=..."
            )
    if config.model.name not in models.NETS:
        raise InputError(
            f"there is no model {config.model.name!r}: "
            f"choose from {', '.join(models.NETS)}"
        )
    if config.attack_examples < 0:
        raise InputError("attack_examples must be 0 (no limit) or more")
    sections = {f"methods.{name}": config.methods[name] for name in parts}
    for section, constants in (sections | {"train": config.train}).items():
        for key, value in constants.items():
            if key in LEAST and value < LEAST[key]:
                raise InputError(
                    f"{section}.{key} must be at least {LEAST[key]}; it is {value}"
                )
            if key in CHOICES and value not in CHOICES[key]:
                raise InputError(
                    f"unknown {section}.{key} {value!r}: "
                    f"choose from {', '.join(CHOICES[key])}"
                )


def check_sizes(problem: Problem, config, names: tuple[str, ...]) -> None:
    """What can be checked once the sets are known."""
    available = len(problem.retain)
    if config.train.batch_size > available:
        raise InputError(
            f"train.batch_size is {config.train.batch_size}, but only {available} "
            "examples are retained: lower --config.train.batch_size"
        )
    for part in sorted({part for name in names for part in links(name)}):
        for option in ("rewind", "early_stopping"):
            if config.methods[part].get(option) and problem.validation is None:
                raise InputError(
                    f"{part} needs a validation set for {option}: "
                    f"give data.validation, or --config.methods.{part}.{option}=False"
                )


def write_manifest(folder: Path, dataset, parts: Split, problem: Problem) -> None:
    """Versions, device and hashes; from the run's first start, kept when it goes on.

    Raises:
      InputError: the run was made from other data or of another forget set.
    """
    sets = {
        "forget": parts.train[parts.forget],
        "retain": parts.train[np.asarray(problem.retain)],
        "validation": parts.validation,
    }
    record = {
        "data": {
            "name": dataset.name,
            "sha256": data.fingerprint(dataset),
            "train": len(parts.train),
            "validation": len(parts.validation),
            "test": len(dataset.test_labels),
        },
        "forget": {
            "examples": len(parts.forget),
            "classes": list(parts.classes),
            "sha256": store.array_hash(sets["forget"].astype(np.int64)),
        },
    }
    path = folder / "manifest.json"
    if path.exists():
        saved = store.read_json(path)
        for part, what in (("data", "data"), ("forget", "forget set")):
            if saved.get(part, {}).get("sha256") != record[part]["sha256"]:
                raise InputError(
                    f"the {what} is not the one that {folder} was made with: "
                    "use another --workdir"
                )
        return
    store.save_arrays(folder / "split.npz", sets)
    git = {"git_revision": store.git_revision()}
    store.write_json(path, devices.describe() | git | record)


def make_row(this: Run, context, name: str, seed: int) -> dict:
    """Trains or unlearns one model of one seed and measures it."""
    row = {"model": name, "seed": seed}
    try:
        if name in exact.EXACT:
            predict, info = fit_and_forget(this, name, seed)
        else:
            variables, info = make_model(this, name, seed)
            predict = functools.partial(predict_images, this.problem, variables)
        this.progress.tick(f"{place(this, seed)}  {name}  measuring")
        logits = evaluate(this, name, seed, predict)
        if not all(np.isfinite(values).all() for values in logits.values()):
            raise Diverged(f"{name} (seed {seed}) diverged: not finite", info)
    except Diverged as error:
        if name in ("original", "retrain"):
            raise
        this.progress.say(str(error))
        blank = dict.fromkeys(metrics.COLUMNS, math.nan)
        return row | blank | timing(error.info) | {"status": "diverged"}
    measured = measure(this, context, logits)
    if this.problem.validation is not None:
        labels = np.asarray(this.problem.validation.labels)
        measured["validation_accuracy"] = metrics.accuracy(
            logits["validation_logits"], labels
        )
    row |= {name: measured.pop(name) for name in metrics.COLUMNS}
    return row | timing(info) | {"status": "ok"} | measured


def measure(this: Run, context, logits) -> dict:
    """What the literature reports, from `train_logits` and `test_logits`."""
    return metrics.measure(
        logits["train_logits"],
        context.train_labels,
        context.forget,
        context.retain,
        logits["test_logits"],
        context.test_labels,
        forget_classes=context.forget_classes,
        attack_examples=this.config.attack_examples,
    )


def timing(info: dict) -> dict:
    names = "seconds", "compile_seconds", "fit_seconds"
    return {key: info[key] for key in names if key in info}


def place(this: Run, seed: int) -> str:
    return f"seed {seed + 1}/{this.config.seeds}"


def progress_line(row: dict, seeds: int) -> str:
    if is_diverged(row):
        return f"seed {row['seed'] + 1}/{seeds}  {row['model']:<16} diverged"
    return (
        f"seed {row['seed'] + 1}/{seeds}  {row['model']:<16}"
        f" forget {row['forget_accuracy']:7.2%}"
        f"  retain {row['retain_accuracy']:7.2%}  test {row['test_accuracy']:7.2%}"
        f"  {row['seconds']:8.2f} s + {row['compile_seconds']:.1f} s compile"
    )


def is_diverged(row: dict) -> bool:
    return row["status"] == "diverged"


# Models


def key_of(seed: int, name: str):
    """A key of its own for each model of each seed, whatever else is run."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))


def make_model(this: Run, name: str, seed: int):
    """`(variables, info)`, from the checkpoint if there is one."""
    final = this.checkpoints(name, seed) / "final"
    if final.exists():
        delete_siblings(final)
        return store.load_checkpoint(final, template(this.problem))
    make = train if name in ("original", "retrain") else unlearn
    variables, info = make(this, name, seed)
    store.save_checkpoint(final, variables, info)
    delete_siblings(final)
    return variables, info


def delete_siblings(final: Path) -> None:
    """Checkpoints of single epochs, and what a kill left of them."""
    store.delete(*(path for path in final.parent.iterdir() if path != final))


@functools.lru_cache(maxsize=1)
def original(this: Run, seed: int):
    return make_model(this, "original", seed)[0]


@functools.lru_cache(maxsize=4)
def withheld(this: Run, needs: tuple[str, ...]) -> Problem:
    return problems.withhold(this.problem, needs)


def template(problem: Problem):
    """Shapes and dtypes of the model's variables."""
    image = jax.ShapeDtypeStruct((1, *problem.image_shape), jnp.float32)
    return jax.eval_shape(problem.model.init, jax.random.key(0), image)


CHECKPOINT_SECONDS = 1.0
"""Epochs shorter than this share a checkpoint: writing one takes about 0.05 s, and an
epoch of `digits_forget` 0.015 s."""


def train(this: Run, name: str, seed: int):
    """Trains the original or the retrained model; a checkpoint an epoch.

    Epochs that follow each other within a second share one.
    """
    problem, indices = this.problem, jnp.arange(len(this.problem.labels))
    if name == "retrain":
        problem = withheld(this, methods.METHODS[name].needs)
        indices = problem.retain
    recipe = training.Recipe(**this.config.train)
    begin, advance = train_functions(problem.model, recipe, len(indices))
    key_init, key_fit = jax.random.split(key_of(seed, name))
    keys = training.epoch_keys(key_fit, recipe.epochs)

    begin, compile_begin = devices.compiled(begin, key_init, problem)
    state = begin(key_init, problem)
    advance, compile_advance = devices.compiled(
        advance, keys[0], state, problem, indices
    )
    folder, seconds, done = this.checkpoints(name, seed), 0.0, 0
    saved = store.epoch_checkpoints(folder)
    if saved:
        done, path = saved[-1]
        state, info = store.load_checkpoint(path, state)
        seconds = info["seconds"]
    this.log.rewind(
        lambda line: (
            (line["stage"], line["seed"]) != (name, seed) or line["epoch"] <= done
        )
    )
    last_saved = time.perf_counter()
    for number in range(done + 1, recipe.epochs + 1):
        started = time.perf_counter()
        state, loss = advance(keys[number - 1], state, problem, indices)
        loss = float(loss)
        took = time.perf_counter() - started
        seconds += took
        accuracy = validation_accuracy(this.problem, state.variables)
        this.log.add(
            stage=name,
            seed=seed,
            epoch=number,
            loss=loss,
            accuracy=accuracy,
            seconds=took,
        )
        if not math.isfinite(loss):
            raise Diverged(
                f"{name} (seed {seed}) diverged in epoch {number}: the loss is "
                f"{loss}; lower --config.train.learning_rate (and use another "
                "--workdir)",
            )
        this.progress.tick(
            f"{place(this, seed)}  {name}  epoch {number}/{recipe.epochs}"
            f"  loss {loss:.4f}  accuracy {accuracy:.2%}  {took:.2f} s"
        )
        elapsed = time.perf_counter() - last_saved
        if number < recipe.epochs and elapsed > CHECKPOINT_SECONDS:
            path = folder / f"epoch_{number:04d}"
            store.save_checkpoint(path, state, {"seconds": seconds})
            store.delete(*(old for _, old in store.epoch_checkpoints(folder)[:-1]))
            last_saved = time.perf_counter()
    info = {"seconds": seconds, "compile_seconds": compile_begin + compile_advance}
    return state.variables, info


@functools.cache
def train_functions(model, recipe: training.Recipe, examples: int):
    """`begin(key, problem) -> state`, `advance(key, state, ...) -> (state, loss)`."""
    optimizer = recipe.optimizer(examples)
    objective = training.classification(model)

    def begin(key, problem):
        variables = model.init(key, problem.inputs(jnp.zeros(1, jnp.int32)))
        return training.start(variables, optimizer)

    def advance(key, state, problem, indices):
        state, losses = training.shuffled_epoch(
            key,
            state,
            problem,
            indices,
            objective,
            optimizer,
            batch_size=recipe.batch_size,
            balance=recipe.balance,
        )
        return state, losses.sum() * recipe.batch_size / examples

    return begin, advance


def validation_accuracy(problem: Problem, variables) -> float:
    """On the validation set; without one, on the first 1,000 training examples."""
    held_out = problem.validation or problem.replace(
        images=problem.images[:1000], labels=problem.labels[:1000]
    )
    logits = predict_images(held_out, variables, held_out.images)
    return metrics.accuracy(logits, np.asarray(held_out.labels))


def unlearn(this: Run, name: str, seed: int):
    """Runs a method on the original, or `first+second` one after the other.

    Each sees what it declared to need, no more.
    """
    variables, key, parts = original(this, seed), key_of(seed, name), links(name)
    keys = [key] if len(parts) == 1 else jax.random.split(key, len(parts))
    spent = {"seconds": 0.0, "compile_seconds": 0.0}
    self, infos = (name, seed), {}
    this.log.rewind(lambda line: (line["stage"], line["seed"]) != self)
    for part, key in zip(parts, keys, strict=True):
        problem = withheld(this, methods.METHODS[part].needs)
        fn = method_function(part, tuple(this.config.methods[part].items()))
        execute, compile_seconds = devices.compiled(fn, key, variables, problem)
        this.progress.tick(f"{place(this, seed)}  {name}")
        started = time.perf_counter()
        variables, info = jax.block_until_ready(execute(key, variables, problem))
        seconds = time.perf_counter() - started
        spent["seconds"] += seconds
        spent["compile_seconds"] += compile_seconds
        infos |= jax.tree.map(np.asarray, info)
        losses = np.asarray(info.get("loss", np.zeros((0, 1))))
        for number, loss in enumerate(losses.mean(-1), 1):
            this.log.add(
                stage=name,
                seed=seed,
                epoch=number,
                loss=float(loss),
                accuracy=None,
                seconds=seconds / len(losses),
            )
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables)):
        raise Diverged(f"{name} (seed {seed}) diverged: weights are not finite", spent)
    scalars = {k: v.item() for k, v in infos.items() if v.ndim == 0}
    return variables, spent | scalars


def links(name: str) -> list[str]:
    """The methods of a chain such as `influence+finetune`."""
    return name.split("+")


@functools.cache
def method_function(name: str, constants: tuple):
    """The method with its constants; `retain_examples` is ours, not the method's."""
    return functools.partial(run_method, name, **dict(constants))


def fit_and_forget(this: Run, name: str, seed: int):
    """An exact method: trained on everything, then asked to forget.

    Returns how it predicts, and `info`: `seconds` are those of forgetting, done twice
    to tell them from compilation, and `fit_seconds` those of the training before, which
    takes the place of the original's.
    """
    method, problem = exact.EXACT[name], this.problem
    key_fit, key_forget = jax.random.split(key_of(seed, name))
    this.progress.tick(f"{place(this, seed)}  {name}  training")
    started = time.perf_counter()
    constants = dict(this.config.methods[name])
    if name == "amnesiac":  # it stores the updates of examples that may be asked for
        constants["sensitive"] = np.asarray(problem.forget)
    trained = method.fit(key_fit, problem, **constants)
    marks = [time.perf_counter()]
    for _ in range(2):
        this.progress.tick(f"{place(this, seed)}  {name}  forgetting")
        state, info = method.forget(key_forget, trained, np.asarray(problem.forget))
        jax.block_until_ready(jax.tree.leaves(state))
        marks.append(time.perf_counter())
    cold, seconds = np.diff(marks).tolist()
    timed = {"seconds": seconds, "compile_seconds": max(0.0, cold - seconds)}
    timed["fit_seconds"] = marks[0] - started
    info = {key: np.asarray(value).item() for key, value in info.items()}
    return functools.partial(method.predict, state), timed | info


def run_method(name, key, variables, problem, *, retain_examples=0, **constants):
    if retain_examples:
        key, key_sample = jax.random.split(key)
        problem = problems.sample_retain(key_sample, problem, retain_examples)
    return methods.METHODS[name].fn(key, variables, problem, **constants)


# Evaluation


def predict_images(problem: Problem, variables, images) -> np.ndarray:
    """Logits of uint8 images."""
    args = variables, images, problem.mean, problem.std
    execute, _ = devices.compiled(predictor(problem.model), *args)
    return np.asarray(execute(*args))


@functools.cache
def predictor(model):
    return functools.partial(training.predict, model)


def evaluate(this: Run, name: str, seed: int, predict) -> dict[str, np.ndarray]:
    """Logits on training, test and validation set; kept in the run folder."""
    sets = {"train_logits": this.problem.images, "test_logits": this.test_images}
    if this.problem.validation is not None:
        sets["validation_logits"] = this.problem.validation.images
    logits = predict(jnp.concatenate(list(sets.values())))
    ends = np.cumsum([len(images) for images in sets.values()])[:-1]
    parts = np.split(np.asarray(logits), ends)
    arrays = dict(zip(sets, parts, strict=True))
    store.save_arrays(this.evaluation_path(name, seed), arrays)
    return arrays
