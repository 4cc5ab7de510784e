"""The launcher's flags, and one for every setting of an experiment."""

import ast
import difflib
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unlearn.errors import InputError

if TYPE_CHECKING:
    from absl.flags import FlagValues
    from ml_collections import ConfigDict

PRESETS = ("smoke", "cpu", "full")
DEFAULT = "digits_forget"
HELP = {"-h", "-help", "--help", "--helpshort", "--helpfull"}


def define() -> "FlagValues":
    """Makes the launcher's own flags; those of absl and of libraries are left out."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    flags.DEFINE_string("experiment", DEFAULT, "", flag_values=values)
    flags.DEFINE_enum("preset", None, PRESETS, "", flag_values=values)
    flags.DEFINE_string("workdir", "runs", "", flag_values=values)
    flags.DEFINE_string("data_dir", None, "", flag_values=values)
    flags.DEFINE_list("methods", None, "", flag_values=values)
    flags.DEFINE_integer("seeds", None, "", flag_values=values)
    flags.DEFINE_bool("distributed", None, "", flag_values=values)
    flags.DEFINE_string("coordinator", None, "", flag_values=values)
    flags.DEFINE_integer("processes", None, "", flag_values=values)
    flags.DEFINE_integer("process", None, "", flag_values=values)
    for name in ("tune", "join", "list_experiments", "list_methods", "print_config"):
        flags.DEFINE_bool(name, False, "", flag_values=values)
    flags.FLAGS.mark_as_parsed()  # libraries look at theirs
    return values


def parse(flags: "FlagValues", words: list[str], known_only: bool = False) -> None:
    """Parses the command line; with `known_only`, what is not known is left alone."""
    from absl.flags import Error

    try:
        rest = flags(["launch", *words], known_only=known_only)
    except (Error, TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    if not known_only and len(rest) > 1:
        raise InputError(f"unexpected argument {rest[1]!r}: settings are --name=value")


def define_settings(
    flags: "FlagValues", words: list[str], config: "ConfigDict"
) -> None:
    """Adds a flag for every setting and parses the command line again."""
    from ml_collections import config_flags

    known = dict(flat(config))
    words = [spell(word, known) for word in words]
    flags.unparse_flags()
    config_flags.DEFINE_config_dict(
        "config", config, flag_values=flags, sys_argv=["launch", *words]
    )
    parse(flags, words)


def spell(word: str, known: dict[str, Any]) -> str:
    """Checks a setting's name; spells tuples as ml_collections reads them.

    `--config.run=ssd,scrub` becomes `--config.run=('ssd', 'scrub')`, and `7` and `7,`
    are the tuple of 7 as they are.
    """
    match = re.fullmatch(r"--?(?:no)?config\.([^=]+)(.*)", word, re.DOTALL)
    if not match:
        return word
    name, rest = match.groups()
    sections = {key.rpartition(".")[0] for key in known}
    if name not in known and name not in sections:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise InputError(f"unknown setting {name}. {hint}--print_config lists them all")
    if name not in known and rest.startswith("="):
        inside = [key for key in known if key.startswith(f"{name}.")]
        raise InputError(
            f"--config.{name} is a section: set one of {', '.join(inside[:8])}"
        )
    value = known.get(name, "")
    if not isinstance(value, bool | int | float | str | tuple):
        raise InputError(f"no flag sets {name}, which is {value!r}")
    if not isinstance(value, tuple) or not rest.startswith("="):
        return word
    text = rest[1:]
    try:
        ast.literal_eval(text)
        plain = not re.search(r"[0-9]_|[+]|0[xob]", text)  # 1_2 is no number to people
    except (SyntaxError, ValueError):
        plain = False
    if not plain and not re.search(r"[\"'(\[]", text):
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        return f"--config.{name}={parts!r}"
    return word


def flat(config: "ConfigDict", prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields `(dotted name, value)` of all settings."""
    from ml_collections import ConfigDict

    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def settings(config: "ConfigDict") -> Iterator[str]:
    """Yields every setting as a flag that a shell reads as it is."""
    for name, value in flat(config):
        if isinstance(value, tuple):
            text = repr(value)
            if value and all(isinstance(part, int | float) for part in value):
                text = ",".join(map(str, value)) + ("," if len(value) == 1 else "")
            elif value and all(
                re.fullmatch(r"[a-z_][a-z_+\d]*", str(v)) for v in value
            ):
                text = ",".join(value)
        elif isinstance(value, bool | int | float | str):
            text = str(value)
        else:
            yield f"# {name} is {value!r}: no flag sets it"
            continue
        yield shlex.quote(f"--config.{name}={text}")


def choose(
    config: "ConfigDict", name: str, methods: list[str] | None, seeds: int | None
) -> None:
    """Puts `--methods` and `--seeds` into the config; `all` methods are those that fit.

    Raises:
      InputError: it has none.
    """
    if methods == ["all"] and "forget" in config:
        from unlearn import pipeline

        methods = list(pipeline.fitting(config))
    chosen = {"run": tuple(methods) if methods is not None else None, "seeds": seeds}
    for key, value in chosen.items():
        if value is not None:
            if key not in config:
                raise InputError(f"{name} has no methods and no seeds to choose")
            config[key] = value
