"""Deploying: a model is trained, or imported, into a folder that answers requests."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

import unlearn
from unlearn import methods, metrics, models, pipeline, store, training_time
from unlearn.data.splits import DataConfig
from unlearn.errors import InputError
from unlearn.pipeline.checks import as_kept, check_constants, check_rewinding
from unlearn.pipeline.imported import input_notes, net_options
from unlearn.problem import Problem, Variables
from unlearn.report.progress import Progress
from unlearn.requests import deployment as deployments
from unlearn.requests import ledger, matching, states, strategies, weights
from unlearn.requests.deployment import Deployment, describe_code, now
from unlearn.requests.resolve import TEST, TRAIN
from unlearn.requests.strategies import Strategy
from unlearn.surgery import feature_model

if TYPE_CHECKING:
    from ml_collections import ConfigDict

APPROXIMATE = "an approximate method, such as newton_head"


def default_config() -> "ConfigDict":
    """Returns the settings of a deployment: the sections that it needs of a run's.

    All training examples are trained on (`data.validation` is 0). `model.weights` is a
    file with trained weights, which are then taken in the place of training, or by
    `certified` as a frozen extractor of features; `model.trained_on` says in words what
    these were trained on.
    """
    from ml_collections import ConfigDict

    whole = pipeline.default_config().to_dict()
    config = {name: whole[name] for name in ("data", "model", "train", "methods")}
    for option in ("examples", "resident"):
        config["data"].pop(option)
    config["data"]["validation"] = 0.0
    config["model"]["trained_on"] = ""
    return ConfigDict(config).lock()


def deploy(
    config: "ConfigDict",
    folder: Path | str,
    method: str,
    *,
    data_dir: str | None = None,
    shards: Sequence[int] = (),
    progress: Progress | None = None,
) -> dict | None:
    """Trains or imports a model, and stores it with what requests will need.

    The same call continues what was stopped, to the same bits.

    Args:
      config: see `default_config`.
      folder: the folder of the deployment; it is made.
      method: answers the requests: one of `methods.METHODS`, a chain of them such as
        `influence+finetune`, or one of `training_time.METHODS`.
      data_dir: where prepared data sets lie.
      shards: of `sisa`: those that this process trains, while others train others. The
        one that finds all of them trained completes the deployment.
      progress: default: to standard output.

    Returns:
      The first line of the ledger; None while shards are missing.

    Raises:
      InputError: bad input, before anything is trained; the folder holds something
        else; the training diverged.
    """
    progress, folder = progress or Progress(), Path(folder)
    settings = make_settings(config, method, data_dir)
    check_shards(settings, shards)
    check_apart(folder, settings["data"]["name"])
    if folder.exists():
        store.refuse_if_locked(folder)
    if deployments.is_deployed(folder):
        made = deployments.open_deployment(folder)
        deployments.check_settings(made, settings)
        progress.say(f"{folder} is deployed already, by {method}")
        return made.lines()[0]
    dataset = matching.load_dataset(settings, data_dir)
    told = *dataset.notes, *input_notes(config, dataset), *matching.group_notes(dataset)
    for note in told:
        progress.say(note)
    settings["class_names"] = [str(name) for name in dataset.class_names]
    examples = matching.describe_examples(dataset, settings["data"]["validation"])
    draft = Deployment(folder.resolve(), settings, examples, b"")
    loaded, rows = matching.load(draft, (), dataset=dataset), examples.of(TRAIN)
    problem = loaded.problem(settings, rows)
    strategy = strategies.make(settings, draft.training(0), draft.slices, progress)
    strategy.check(problem, lambda: loaded.problem(settings, rows, [0]))
    imported = import_weights(settings, problem, method)
    if imported is not None and method == "certified":
        check_features(problem, imported)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise store.cannot_write(folder, error) from error
    with deployments.hold(folder):
        made = deployments.create(folder, settings, examples)
        if made.lines():  # another process was faster
            progress.say(f"{folder} is deployed already, by {method}")
            return made.lines()[0]
        if not shards:
            return complete(made, strategy, problem, loaded, imported, progress)
    assert isinstance(strategy, strategies.TrainingTime)
    missing = strategy.fit_shards(made.key(0), problem, shards)
    if missing:
        rest = ",".join(map(str, missing))
        progress.say(
            f"shards that are not trained yet: {rest}; whoever trains the last of them "
            "completes the deployment"
        )
        return None
    with deployments.hold(folder):
        if made.lines():
            progress.say(f"{folder} is deployed already, by {method}")
            return made.lines()[0]
        return complete(made, strategy, problem, loaded, None, progress)


def complete(
    made: Deployment,
    strategy: Strategy,
    problem: Problem,
    loaded: matching.Loaded,
    imported: Variables | None,
    progress: Progress,
) -> dict:
    """Makes version 0 and writes the first line of the ledger."""
    folder, settings = made.state(0), made.settings
    if folder.exists():
        state = states.load(folder, problem)
    else:
        state = strategy.start(made.key(0), problem, imported)
        states.save(folder, state)
    store.delete(made.folder / "training")
    weights.save(made.weights(0), strategy.weights(state))
    files = [made.weights(0), *states.files(folder)]
    record = made.request(0) / "files.json"
    store.write_json(record, {made.path(f): store.file_hash(f) for f in files})
    accuracy = test_accuracy(made, strategy, state, problem, loaded)
    code = describe_code()
    entry = {
        "kind": "deploy",
        "number": 0,
        "version": 0,
        "completed": now(),
        "method": made.method,
        "constants": settings["methods"],
        "seed": {"secret": made.seed, "counter": 0},
        "state": {"before": "", "after": states.hash_of(folder)},
        "weights": {"before": "", "after": store.file_hash(made.weights(0))},
        "fixed": deployments.fixed_files(made),
        "files": store.file_hash(record),
        "package": unlearn.__version__,
        "revision": code["revision"],
        "code": code,
    }
    lines = ledger.append(made.folder, [entry])
    left = len(made.examples.of(TRAIN))
    progress.say(
        f"deployed in {made.folder}: {made.method}, {left:,} training examples, test "
        f"accuracy {accuracy:.2%}"
    )
    return lines[0]


def test_accuracy(
    made: Deployment,
    strategy: Strategy,
    state: Any,
    problem: Problem,
    loaded: matching.Loaded,
) -> float:
    """Returns the accuracy on the test split; NaN if it is empty."""
    rows = made.examples.of(TEST)
    if not len(rows):
        return float("nan")
    logits = strategy.predict(state, problem, loaded.rows[rows])
    return metrics.accuracy(logits, made.examples.labels[rows])


def import_weights(settings: dict, problem: Problem, method: str) -> Variables | None:
    """Returns the variables of the user's file, if there is one.

    To `certified` what depends on the number of classes, the last layer, is not used:
    the file may have it of other classes, or not at all.

    Raises:
      InputError: it is not one of this model.
    """
    path = settings["model"]["weights"]
    if not path:
        return None
    like, unused = pipeline.template(problem), set()
    if method == "certified":
        more = settings | {"class_names": [*settings["class_names"], "one more"]}
        other = problem.replace(model=matching.make_model(more))
        unused = models.differing(like, pipeline.template(other))
    found = models.load_weights(path, like, unused=unused)
    return jax.tree.map(np.asarray, found)


def check_features(problem: Problem, variables: Variables) -> None:
    """Traces the features of an imported net: they are there now or never.

    Raises:
      InputError: the model does not show what its layers see.
    """
    seen, net = problem.inputs(problem.retain[:1]), feature_model(problem.model)
    jax.eval_shape(net.apply, variables, seen)


# Settings


def make_settings(config: "ConfigDict", method: str, data_dir: str | None) -> dict:
    """Checks a config and returns what `deployment.json` keeps of it.

    Paths become absolute: later commands may be given elsewhere.

    Raises:
      InputError: the first setting that does not fit.
    """
    parts = check_method(config, method)
    DataConfig(**config.data.to_dict()).check()
    check_constants("train", config.train)
    model = config.model.to_dict()
    name = model["name"]
    kept = {"name": name, "weights": "", "sha256": {}}
    if model["trained_on"].strip():
        kept["trained_on"] = model["trained_on"].strip()
    if name in model:
        kept[name] = model[name]
    net_options(config)
    for field, off in (("dtype", "float32"), ("test_flip", False)):
        if model[field] != off:
            kept[field] = model[field]
    if models.is_path(name):
        path, _, function = name.rpartition(":")
        kept["name"] = f"{Path(path).expanduser().absolute()}:{function}"
        kept["sha256"]["source"] = models.source_hash(name)
    if model["weights"]:
        path = Path(model["weights"]).expanduser().absolute()
        kept["sha256"]["weights"] = models.weights_hash(path)
        kept["weights"] = str(path)
    section = config.data.to_dict()
    section["name"] = matching.absolute(section["name"])
    if not section["alternate_flip"]:  # as in deployments from before it was there
        del section["alternate_flip"]
    return {
        "format": deployments.FORMAT,
        "key_bits": deployments.SECURE,
        "created": now(),
        "method": method,
        "methods": {part: constants_of(config, part) for part in parts},
        "data": section,
        "data_dir": str(Path(data_dir).expanduser().absolute()) if data_dir else None,
        "model": kept,
        "train": config.train.to_dict(),
    }


def constants_of(config: "ConfigDict", part: str) -> dict:
    """Returns the constants of a method; retraining has those of `train`."""
    constants = config.methods[part].to_dict() if part in config.methods else {}
    return as_kept(part, constants)


def check_method(config: "ConfigDict", method: str) -> list[str]:
    """Returns the parts of a method that can answer requests.

    Raises:
      InputError: it is unknown or cannot.
    """
    parts = pipeline.split_chain(method)
    known = [*methods.METHODS, *training_time.METHODS]
    for part in parts:
        if part not in known:
            close = difflib.get_close_matches(part.lower(), known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InputError(
                f"there is no method {part!r}: {hint}choose from {', '.join(known)}"
            )
        if len(parts) > 1 and part in (*strategies.ANEW, *training_time.METHODS):
            raise InputError(f"{part} trains a model of its own: it cannot be chained")
        if part in methods.METHODS and methods.METHODS[part].scope == "class":
            raise InputError(
                f"{part} forgets whole classes, and requests name examples: choose "
                "another method"
            )
        if part in config.methods:
            section = config.methods[part]
            check_constants(f"methods.{part}", section)
            for option in ("rewind", "early_stopping"):
                if section.get(option) and not config.data.validation:
                    raise InputError(
                        f"{part} needs a validation set for {option}: give "
                        f"data.validation=0.1, or set methods.{part}.{option}=False"
                    )
    for part in strategies.early(method):
        check_rewinding(config, part)
    if method == "certified" and config.methods.certified.past_budget == "refuse":
        raise InputError(
            "an erasure must not be refused: set "
            "methods.certified.past_budget='retrain'"
        )
    if method == "certified":
        check_extractor(config)
    elif config.model.trained_on.strip():
        raise InputError(
            "model.trained_on is of the features of certified: leave it out, or choose "
            "that method"
        )
    elif config.model.weights and method in training_time.METHODS:
        raise InputError(
            f"{method} trains in its own way, so it cannot take over weights: leave "
            f"model.weights out, or choose {APPROXIMATE}"
        )
    if config.model.weights and config.data.validation:
        raise InputError(
            "with model.weights, data.validation must be 0: it cannot be known which "
            "examples these weights were not trained on"
        )
    return parts


def check_extractor(config: "ConfigDict") -> None:
    """Refuses features that may remember what requests will erase.

    Raises:
      InputError: it is not said what they were trained on, or that was these data.
    """
    trained_on, name = config.model.trained_on.strip(), config.data.name
    if not config.model.weights:
        if trained_on:
            raise InputError(
                "model.trained_on is of weights that are imported: give model.weights "
                "as well"
            )
        return
    if not trained_on:
        raise InputError(
            "certified holds of features that have seen nothing that can be erased: "
            "say with model.trained_on what model.weights was trained on, or choose "
            f"{APPROXIMATE}"
        )
    place = Path(name.partition(":")[2])
    if plain(trained_on) in {plain(x) for x in (name, place, place.name, place.stem)}:
        raise InputError(
            f"model.weights was trained on {trained_on}, and these are the data: "
            f"features remember them, so nothing is certified; choose {APPROXIMATE}"
        )


def plain(name: Path | str) -> str:
    """Returns the letters and digits of a name, for comparison."""
    return "".join(filter(str.isalnum, str(name).casefold()))


def check_apart(folder: Path, name: str) -> None:
    """Refuses a deployment inside the folder of the data, whose files it would be."""
    kind, _, place = name.partition(":")
    within = kind in ("folder", "table") and Path(place).resolve()
    if within and folder.resolve().is_relative_to(within):
        raise InputError(f"{folder} lies in the folder of the data: choose one outside")


def check_shards(settings: dict, shards: Sequence[int]) -> None:
    """Refuses shards that are not there."""
    if not shards:
        return
    if settings["method"] != "sisa":
        raise InputError(f"shards are of sisa; the method is {settings['method']}")
    count = settings["methods"]["sisa"]["shards"]
    wrong = [s for s in shards if not 0 <= s < count]
    if wrong:
        raise InputError(f"there is no shard {wrong[0]}: they are 0..{count - 1}")
