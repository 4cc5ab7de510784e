"""Federations of which one client leaves: what `mnist_federated` measures.

For each number of clients and each alpha one program makes a federation, one that never
had the client, and what every method makes of the first; it runs once a seed, for the
client's own images, for a backdoor and for wrong labels.

`rounds` are those of all clients: where some of them take part, so many times more are
drawn, so that clients train as often.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unlearn import data, make_problem, models, parallel, shadows, store
from unlearn.errors import InputError
from unlearn.federated import (
    FEDERATED,
    Clients,
    Recipe,
    Request,
    audit,
    by_label,
    federate,
    leave,
    train,
)
from unlearn.federated.registry import size_in_bytes
from unlearn.metrics.membership import spread
from unlearn.problem import Problem
from unlearn.report.progress import Progress
from unlearn.training import predict

from . import _federated_report as report
from ._constants import check_least

TARGET = 0  # what the backdoor's stamp makes of an image
CHUNK = 4  # federations a call: of all variants, so that one program does them all
VARIANTS = "clean", "backdoor", "wrong labels"


class Setting(NamedTuple):
    """A split into clients, and who leaves."""

    name: str
    title: str
    data: str  # hash of images, labels and who holds them
    problem: Problem
    clients: Clients
    leaving: int
    request: Request
    recipe: Recipe
    longer: int  # rounds for one of all clients
    test: dict  # examples, stamped ones, labels


def recipe(**changes: Any) -> dict:
    """Returns the section `train` of the config."""
    return Recipe(**changes)._asdict()


def constants_of(name: str) -> dict:
    """Returns the constants of a method with their defaults."""
    fn = FEDERATED[base(name)].fn
    return {
        p.name: p.default
        for p in inspect.signature(fn).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }


def base(name: str) -> str:
    """Returns the method of a name such as `retrain__short`."""
    return name.partition("__")[0]


def run(config, folder: Path | str, *, data_dir: str | None = None):
    """Measures every setting; continues where it stopped."""
    check(config)
    folder, progress = Path(folder), Progress()
    claimed = config.to_dict()
    claimed.pop("tune")
    store.check_claim(folder, claimed)
    settings = list(settings_of(config, data_dir))
    lock = store.claim(folder, claimed)
    found = []
    for setting in settings:
        progress.say(f"{setting.title}: client {setting.leaving} leaves")
        measured = {
            variant: federations(config, folder, setting, variant, progress)
            for variant in VARIANTS
        }
        found.append(report.setting_of(config, setting, measured))
        progress.say(report.markdown(found[-1]))
    report.write(folder, config, found)
    progress.say(f"The page is {folder / 'federated.html'}")
    lock.release()
    return found


def check(config) -> None:
    """Refuses a config before anything is read.

    Raises:
      InputError: in one line.
    """
    for name in config.run:
        if base(name) not in FEDERATED:
            raise InputError(
                f"there is no federated method {base(name)!r}: choose from "
                f"{', '.join(FEDERATED)}"
            )
        if name not in config.methods:
            raise InputError(f"methods.{name} has no constants in this experiment")
    if "retrain" not in config.run:
        raise InputError("methods are compared with retrain: add it to the methods")
    if not config.clients or min(config.clients) < 2:
        raise InputError(f"clients must be 2 or more each; they are {config.clients}")
    if not config.alphas or min(config.alphas) <= 0:
        raise InputError(f"alphas must be above 0; they are {config.alphas}")
    check_least(config, seeds=3, planted_seeds=2)
    Recipe(**config.train).check()
    for name in config.run:
        for constant, value in config.methods[name].items():
            least = 0 if constant in ("rounds", "clients") else 1
            if isinstance(value, int) and value < least:
                raise InputError(
                    f"methods.{name}.{constant} must be at least {least}; it is {value}"
                )
            if isinstance(value, float) and not 0 < value < float("inf"):
                raise InputError(
                    f"methods.{name}.{constant} must be above 0; it is {value}"
                )


def check_sizes(config, train_size: int, test_size: int) -> None:
    """Refuses more examples than there are.

    Raises:
      InputError: in one line.
    """
    wanted = config.data
    spare = train_size - max(wanted.server, 0)
    for name, value, least, most in (
        ("server", wanted.server, 1, train_size - 1),
        ("examples", wanted.examples, 0, spare),
        ("test", wanted.test, 0, test_size),
    ):
        if not least <= value <= most:
            raise InputError(
                f"data.{name} must be from {least} to {most}; it is {value}"
            )


def settings_of(config, data_dir: str | None, *, of_tuning: bool = False):
    """Yields every split into clients of the same examples.

    Args:
      of_tuning: another client leaves, and the test images are of the training set, of
        those that nobody has.

    Raises:
      InputError: fewer examples than the settings ask for.
    """
    dataset = data.load(config.data.name, data_dir=data_dir)
    check_sizes(config, len(dataset.train_labels), len(dataset.test_labels))
    draw = np.random.default_rng(0)
    order = draw.permutation(len(dataset.train_labels))
    server, order = np.split(order, [config.data.server])
    count = config.data.test or len(dataset.test_labels)
    if of_tuning:
        aside, order = np.split(order, [count])
        if len(order) < max(config.data.examples, 1):
            raise InputError(
                f"tuning sets {count} training images aside (data.test), and "
                f"{len(order)} are left, too few: set data.examples or data.test lower"
            )
        images, labels = dataset.train_images[aside], dataset.train_labels[aside]
    else:
        chosen = spread(len(dataset.test_labels), count)
        images, labels = dataset.test_images[chosen], dataset.test_labels[chosen]
    mine = np.sort(order[: config.data.examples or None])
    images = np.asarray(images)
    test = {
        "examples": jnp.asarray(images),
        "stamped": jnp.asarray(audit.stamp(images)),
        "labels": jnp.asarray(labels),
    }
    problem = make_problem(
        dataset.train_images[mine],
        dataset.train_labels[mine],
        [],
        models.create(
            config.model.name, len(dataset.class_names), widths=config.model.widths
        ),
        mean=dataset.mean,
        std=dataset.std,
        validation=(dataset.train_images[server], dataset.train_labels[server]),
    )
    hashed = [np.asarray(x) for x in (problem.examples, problem.labels, images)]
    for count, alpha in itertools.product(config.clients, config.alphas):
        clients = by_label(dataset.train_labels[mine], count, alpha, least=1)
        sizes = np.asarray(clients.sizes)
        nearest = np.argsort(np.abs(sizes - np.median(sizes)), kind="stable")
        leaving = int(nearest[int(of_tuning)])
        asked = min(config.train.participants or count, count)
        longer = -(-count // asked)
        recipe = Recipe(**config.train)
        yield Setting(
            f"{count}_clients_alpha_{alpha:g}",
            f"{count} clients, alpha {alpha:g}",
            store.array_hash(*hashed, np.asarray(clients.indices), sizes),
            problem,
            clients,
            leaving,
            leave(clients, leaving),
            recipe._replace(participants=asked % count, rounds=longer * recipe.rounds),
            longer,
            test,
        )


def variant_of(setting: Setting, variant: str) -> Problem:
    """Returns the problem with what the client that leaves is said to have."""
    own = setting.clients.of(setting.leaving)
    if variant == "backdoor":
        return audit.with_backdoor(setting.problem, own, TARGET)
    if variant == "wrong labels":
        return audit.with_wrong_labels(setting.problem, own)
    return setting.problem


def federations(config, folder, setting, variant, progress) -> dict:
    """Returns what was measured of every model, with a leading axis of federations."""
    count = config.seeds if variant == "clean" else config.planted_seeds
    names = tuple(config.run)
    constants = tuple(tuple(scaled(config, name, setting).items()) for name in names)
    program = program_of(names, constants, setting.recipe)
    results, how = mapped(program, folder, setting, variant, count, progress)
    if how.seconds:
        progress.say(
            f"  {variant}: {count} federations in {how.seconds:.1f} s "
            f"+ {how.compile_seconds:.1f} s compile"
        )
    return results


def mapped(
    program: Callable,
    folder: Path,
    setting: Setting,
    variant: str,
    count: int,
    progress: Progress,
    *more: Any,
    seed: int = 0,
) -> tuple[dict, parallel.Mapped]:
    """Runs a program once a federation, keeps what it gives, and returns both.

    Args:
      program: of a key, the problem, clients, request, the client's own examples, the
        test set and `more`; returns nested dicts of arrays.
      seed: of the federations' keys.
    """
    place = folder / "federations" / setting.name / variant.replace(" ", "_")

    def keep(first, size, compute):
        path = place / f"{first:05d}_{size}.npz"
        of = {"setting": setting.name, "variant": variant, "first": first}
        of["data"] = setting.data
        if not store.is_kept(path):
            arrays = flatten_dict(jax.tree.map(np.asarray, compute()[0]), sep="/")
            store.save_kept(path, arrays, of)
        return store.load_kept(path, of)

    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(
        jnp.arange(count)
    )
    results, how = parallel.map_models(
        program,
        keys,
        variant_of(setting, variant),
        setting.clients,
        setting.request,
        jnp.asarray(setting.clients.of(setting.leaving)),
        setting.test,
        *more,
        chunk=CHUNK,
        keep=keep,
        progress=lambda done: progress.tick(
            f"{setting.title}  {variant}  federation {done}/{count}", share=done / count
        ),
    )
    return unflatten_dict(results, sep="/"), how


def scaled(config, name: str, setting: Setting) -> dict:
    """Returns a method's constants, with as many more rounds as fewer take part."""
    constants = dict(config.methods[name])
    if "rounds" in constants:
        constants["rounds"] *= setting.longer
    return constants


@functools.cache
def program_of(
    names: Sequence[str], constants: Sequence[tuple], recipe: Recipe
) -> Callable:
    """Returns `(key, problem, clients, request, own, test) -> {model: measured}`."""

    def program(key, problem, clients, request, own, test):
        def predicted(variables, examples):
            logits = predict(problem.model, variables, examples, problem.preprocess)
            return jnp.argmax(logits, axis=-1)

        def accuracy(variables):
            return jnp.mean(predicted(variables, test["examples"]) == test["labels"])

        def measure(variables):
            found = audit.per_client(variables, problem, clients)
            others = test["labels"] != TARGET
            fooled = (predicted(variables, test["stamped"]) == TARGET) & others
            asked = shadows.measure(
                problem, variables, problem.examples[own], problem.labels[own]
            )
            hits = asked["predictions"] == problem.labels[own]
            return {
                "test": accuracy(variables),
                "own": jnp.mean(hits),
                "backdoor": jnp.sum(fooled) / jnp.sum(others),
                "losses": found.losses,
                "margins": asked["margins"],
            }

        key_train, key_never, *keys = jax.random.split(key, 2 + len(names))
        made = train(key_train, problem, clients, recipe, watch=accuracy)
        bare = recipe._replace(keep_every=0)
        never, seen = federate(key_never, problem, request.left, bare, watch=accuracy)
        found = {
            "original": measure(made.variables) | {"by_round": made.history.watched},
            "never": measure(never) | {"by_round": seen.watched},
        }
        for name, key, options in zip(names, keys, constants, strict=True):
            method = FEDERATED[base(name)].fn
            variables, info = method(key, made, request, **dict(options))
            costs = {k: info[k] for k in ("rounds", "messages", "passes")}
            found[name] = measure(variables) | costs
        return found

    return program


def bytes_of(setting: Setting) -> tuple[int, int]:
    """Returns the bytes of a model, and of what is kept of the training."""
    problem, recipe = setting.problem, setting.recipe
    like = jax.eval_shape(
        problem.model.init, jax.random.key(0), problem.inputs(jnp.arange(1))
    )
    model = size_in_bytes(like)
    kept = recipe.rounds // recipe.keep_every if recipe.keep_every else 0
    return model, kept * (recipe.participants or setting.clients.number) * model


def summary(measured: Mapping[str, Mapping], setting: Setting, run: Sequence[str]):
    """Returns a row a model: means over federations, and the attack on the client."""
    clean, planted, wrong = (measured[variant] for variant in VARIANTS)
    model, kept = bytes_of(setting)
    others = np.arange(setting.clients.number) != setting.leaving
    full = float(np.mean(clean["retrain"]["passes"]))
    rows = []
    for name in ("original", *run):
        mine, stores = clean[name], name != "original" and FEDERATED[base(name)].stores
        broken = [diverged(of[name]) for of in (clean, planted, wrong)]
        leak = None
        if not broken[0]:
            leak = audit.client_attack(mine["margins"], clean["never"]["margins"])
        more = (mine["losses"] - clean["never"]["losses"])[:, others]
        more = np.nanmean(more, axis=0)
        costs = name != "original"
        rows.append(
            {
                "setting": setting.name,
                "model": name,
                "test": _cell(mine["test"]),
                "own": _cell(mine["own"]),
                "backdoor": _cell(planted[name]["backdoor"]),
                "wrong": _cell(wrong[name]["own"]),
                "whole": leak and leak.whole,
                "single": leak and leak.single,
                "others": float(more.mean()),
                "worst": float(more.max()),
                "rounds": float(mine["rounds"].mean()) if costs else None,
                "passes": float(mine["passes"].mean()) / full if costs else None,
                "sent": float(mine["messages"].mean()) * model if costs else None,
                "kept": kept if stores else 0,
                "diverged": sum(broken),
            }
        )
    return rows


def diverged(measured: Mapping) -> int:
    """Counts the federations of which a model answers with what is no number."""
    return int((~np.isfinite(measured["margins"])).any(axis=1).sum())


def _cell(values: np.ndarray) -> report.Cell:
    from unlearn.report.summary import interval

    return report.Cell(float(np.mean(values)), interval(np.asarray(values, float)))
