"""The commands of a deployment: the words that come first on the command line."""

import difflib
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearn.errors import InputError
from unlearn.launcher import flags

if TYPE_CHECKING:
    from absl.flags import FlagValues
    from ml_collections import ConfigDict


class Command(NamedTuple):
    """What a word does and which flags it takes."""

    summary: str
    needed: tuple[str, ...]
    others: tuple[str, ...] = ()


DATA = "data", "data_dir"
COMMANDS = {
    "deploy": Command(
        "train a model, or import one, that answers requests to erase",
        ("deployment", "method"),
        ("shards", "data_dir", "config.SETTING", "print_config"),
    ),
    "request": Command(
        "erase examples from it",
        ("deployment", "ids", "reason"),
        (
            *("reference", "column", "dry_run", "skip_unknown", "keep_groups"),
            *("queue", "batch", *DATA),
        ),
    ),
    "status": Command("say how it stands", ("deployment",)),
    "verify": Command(
        "check every record, and one answer by repeating it",
        ("deployment",),
        ("shard", "known", *DATA),
    ),
    "export": Command("write the weights in use", ("deployment", "to"), DATA),
    "purge": Command(
        "delete what still depends on erased examples", ("deployment",), DATA
    ),
}
FLAGS = {
    "deployment": "FOLDER: of the deployment",
    "method": "NAME: answers the requests; --list_methods; A+B is A, then B",
    "shards": "N,N: of sisa, those that this process trains",
    "ids": "FILE: ids of the examples, a line each or a column of a table",
    "reason": "TEXT: why, for the record",
    "reference": "TEXT: the requester's, for the record",
    "column": "NAME: of the ids in the file",
    "dry_run": "say what would happen; change nothing",
    "skip_unknown": "leave out ids that name nothing",
    "keep_groups": "the named examples alone, not the rest of their groups",
    "queue": "store the request for later",
    "batch": "answer all stored requests together (no ids)",
    "shard": "N: of sisa, the one to train again",
    "known": "HASH: of a line of the ledger, noted elsewhere, that must be there",
    "to": "FILE: .safetensors, .npz, .msgpack",
    "data": "NAME: where the data lie now, if they were moved",
    "data_dir": "FOLDER: prepared data",
    "print_config": "print the settings, as flags to paste",
}
SWITCHES = "dry_run", "skip_unknown", "keep_groups", "queue", "batch", "print_config"
LISTS, NUMBERS = ("shards",), ("shard",)


def help_text(command: str) -> str:
    """Lists the commands and their flags."""
    lines = [f"{command} {name}: {c.summary}" for name, c in COMMANDS.items()]
    for name, one in COMMANDS.items():
        needed = " ".join(f"--{flag}=…" for flag in one.needed)
        others = " ".join(f"[--{flag}]" for flag in one.others)
        lines += ["", f"{name} {needed} {others}".rstrip()]
    lines += ["", *(f"--{name:<13} {text}" for name, text in FLAGS.items())]
    return "\n".join(lines)


def run(
    words: list[str], program: str, configure: Callable[["ConfigDict"], None]
) -> None:
    """Runs a command.

    Args:
      words: the command line; the first is the command.
      program: how it is called, for the commands in reports.
      configure: is told the settings, once they are known.

    Raises:
      InputError: a flag is missing, unknown or bad; what the command raises.
    """
    name = words[0]
    refuse_unknown(name, words[1:])
    values, config = define(name), None
    if name == "deploy":
        config = settings(values, words[1:])
        configure(config)
        if values.print_config:
            print("\n".join(flags.settings(config)))
            return
    else:
        flags.parse(values, words[1:])
    check(name, values)
    try:
        WORK[name](values, config, speller(program))
    except InputError as error:
        raise InputError(as_flags(str(error))) from error


def define(name: str) -> "FlagValues":
    """Makes the flags of a command."""
    from absl import flags as absl_flags

    values = absl_flags.FlagValues()
    values.set_gnu_getopt(True)
    for flag in (*COMMANDS[name].needed, *COMMANDS[name].others):
        if flag in SWITCHES:
            absl_flags.DEFINE_bool(flag, False, "", flag_values=values)
        elif flag in LISTS:
            absl_flags.DEFINE_list(flag, [], "", flag_values=values)
        elif flag in NUMBERS:
            absl_flags.DEFINE_integer(flag, None, "", flag_values=values)
        elif "." not in flag:
            absl_flags.DEFINE_string(flag, None, "", flag_values=values)
    absl_flags.FLAGS.mark_as_parsed()
    return values


def refuse_unknown(name: str, words: list[str]) -> None:
    """Says which flags a command takes, if there is one that it does not."""
    known = (*COMMANDS[name].needed, *COMMANDS[name].others)
    for word in words:
        flag = re.match(r"--?(?:no)?(config(?=\.)|[a-z_]+)", word)
        if not flag or flag[1] in known:
            continue
        if flag[1] == "config" and "config.SETTING" in known:
            continue
        close = difflib.get_close_matches(flag[1], known, 1)
        hint = f"did you mean --{close[0]}? " if close else ""
        raise InputError(
            f"{name} has no --{flag[1]}: {hint}it takes "
            f"{', '.join(f'--{one}' for one in known)}"
        )


def settings(values: "FlagValues", words: list[str]) -> "ConfigDict":
    """Returns the settings of a deployment."""
    from unlearn.requests import default_config

    config = default_config()
    flags.parse(values, words, known_only=True)
    flags.define_settings(values, words, config)
    return config


def check(name: str, values: "FlagValues") -> None:
    """Refuses a command that lacks a flag."""
    needed = COMMANDS[name].needed
    if name == "request" and values.batch:
        needed = ("deployment",)
        for flag in (*COMMANDS[name].needed, *COMMANDS[name].others):
            if flag not in ("deployment", "batch", *DATA) and values[flag].value:
                raise InputError(f"--batch answers what is stored: leave --{flag} out")
    if name == "request" and values.queue and values.dry_run:
        raise InputError("--queue stores the request: leave it out for a --dry_run")
    missing = [flag for flag in needed if not values[flag].value]
    if missing:
        lines = ", ".join(f"--{flag}" for flag in missing)
        raise InputError(f"{name} needs {lines} ({FLAGS[missing[0]]})")
    if values.deployment.startswith("~"):
        values.deployment = str(Path(values.deployment).expanduser())


def speller(program: str) -> Callable[..., str]:
    """Returns how reports spell a command: `python launch.py verify …`."""
    start = "unlearn" if program == "unlearn" else "python launch.py"

    def spell(name: str, folder: str, **options: Any) -> str:
        words = [name, f"--deployment={folder}"]
        words += [f"--{key}={value}" for key, value in options.items()]
        return f"{start} {shlex.join(words)}"

    return spell


def as_flags(message: str) -> str:
    """Spells the library's advice as flags: `skip_unknown=True`, `forget.column=id`."""
    names = "|".join(SWITCHES)
    message = re.sub(r"(?<![\w.-])forget\.column=", "--column=", message)
    return re.sub(rf"(?<![\w.-])({names})=True", r"--\1", message)


def where(values: "FlagValues") -> dict[str, Any]:
    """Returns where the data lie, as arguments."""
    return {"data": values.data or "", "data_dir": values.data_dir}


# What the commands do


def deploy(values: "FlagValues", config: "ConfigDict | None", spell: Callable) -> None:
    """Deploys a model."""
    from unlearn import requests

    del spell
    assert config is not None
    try:
        shards = [int(one) for one in values.shards]
    except ValueError as error:
        raise InputError(f"--shards takes numbers: {error}") from error
    requests.deploy(
        config,
        values.deployment,
        values.method,
        data_dir=values.data_dir,
        shards=shards,
    )


def request(values: "FlagValues", config: "ConfigDict | None", spell: Callable) -> None:
    """Answers, stores or describes a request."""
    from unlearn import requests

    del config
    place = where(values)
    if values.batch:
        requests.answer_queue(values.deployment, spell=spell, **place)
        return
    asked: dict[str, Any] = {
        "reason": values.reason,
        "reference": values.reference or "",
        "skip_unknown": values.skip_unknown,
        "keep_groups": values.keep_groups,
        "column": values.column or "",
    }
    ids = Path(values.ids).expanduser()
    if values.queue:
        requests.enqueue(values.deployment, ids, **asked)
        return
    requests.request(
        values.deployment,
        ids,
        dry_run=values.dry_run,
        spell=spell,
        **asked,
        **place,
    )


def status(values: "FlagValues", config: "ConfigDict | None", spell: Callable) -> None:
    """Says how a deployment stands."""
    from unlearn import requests

    del config, spell
    requests.status(values.deployment)


def verify(values: "FlagValues", config: "ConfigDict | None", spell: Callable) -> None:
    """Checks a deployment."""
    from unlearn import requests

    del config, spell
    place = where(values)
    known = values.known or ""
    requests.verify(values.deployment, values.shard, known=known, **place)


def export(values: "FlagValues", config: "ConfigDict | None", spell: Callable) -> None:
    """Writes the weights in use."""
    from unlearn import requests

    del config
    place = where(values)
    requests.export(values.deployment, values.to, spell=spell, **place)


def purge(values: "FlagValues", config: "ConfigDict | None", spell: Callable) -> None:
    """Deletes what still depends on erased examples."""
    from unlearn import requests

    del config
    place = where(values)
    requests.purge(values.deployment, spell=spell, **place)


WORK = {
    "deploy": deploy,
    "request": request,
    "status": status,
    "verify": verify,
    "export": export,
    "purge": purge,
}
