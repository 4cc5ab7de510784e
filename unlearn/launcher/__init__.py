"""The command line: flags become a config, and an experiment's `run` does the work.

`python launch.py` in a checkout and `unlearn` once installed are this. Whatever goes
wrong is one line on stderr with exit code 1; Ctrl-C is exit code 130.
"""

# JAX and absl are imported where they are needed: Ctrl-C is quiet from the start, and
# --help takes no time.
import importlib
import inspect
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from unlearn.errors import InputError
from unlearn.launcher import commands, experiments, flags, listing, processes
from unlearn.launcher.errors import explain

if TYPE_CHECKING:
    from absl.flags import FlagValues
    from ml_collections import ConfigDict


def main() -> None:
    """Runs the command `unlearn`, which is all of `launch.py`."""
    name = Path(sys.argv[0]).name
    name = name if name == "launch.py" else "unlearn"
    for closed in ("stdout", "stderr"):  # a command may be started without them
        if getattr(sys, closed) is None:
            setattr(sys, closed, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a path may not fit the terminal's letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    end_on_interrupt(f"{name}: stopped; the same command continues where it was\n")
    code = Launch(name).main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # said already; Python would say it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def end_on_interrupt(message: str) -> None:
    """Makes Ctrl-C end the process at once, in the middle of a compilation as well.

    A handler in Python would wait until compiled code returns; a thread does not.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)

    def wait() -> None:
        while os.read(read, 1) != bytes([signal.SIGINT]):
            pass
        os.write(2, message.encode())
        os._exit(130)

    threading.Thread(target=wait, daemon=True).start()
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGINT, lambda number, frame: None)


class Launch:
    """One call of the command; what is known of it so far explains its errors."""

    def __init__(self, program: str = "unlearn"):
        self.program = program
        self.config: ConfigDict | None = None
        self.folder: Path | None = None
        self.several = False  # is this one of several processes?

    def main(self, words: Sequence[str]) -> int:
        """Does what the command line asks for; returns the exit code."""
        try:
            self.work(list(words))
            sys.stdout.flush()
            return 0
        except Exception as error:
            message = explain(error, self.config, self.folder)
        if message:
            print(f"{self.program}: {message}", file=sys.stderr)
        if self.several:  # the others are not waited for: they end as well
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
        return 1

    def work(self, words: list[str]) -> None:
        """Does what the command line asks for.

        Raises:
          Exception: whatever goes wrong; `main` explains it.
        """
        if flags.HELP & set(words):
            command = "unlearn" if self.program == "unlearn" else "python launch.py"
            of_commands = words[0] in commands.COMMANDS
            text = commands.help_text if of_commands else listing.help_text
            print(text(command))
            return
        if words and words[0] in commands.COMMANDS:
            self.run_command(words)
            return
        values = flags.define()
        flags.parse(values, words, known_only=True)
        if values.list_experiments:
            print("\n".join(listing.experiment_lines()))
            return
        if values.list_methods:
            if experiments.is_path(values.experiment):
                experiments.load(values.experiment)
            print("\n".join(listing.method_lines()))
            return
        name = experiments.name_of(values.experiment)
        self.several = processes.join(values, self.program)
        preset, why = start(values.preset)
        if self.several:
            processes.quiet_others()
        mark = "# " if values.print_config else ""
        print(f"{mark}{name}, preset {preset} ({why})", flush=True)
        module = experiments.load(values.experiment)
        self.config = config = experiments.get_config(module, preset)
        flags.define_settings(values, words, config)
        flags.choose(config, name, values.methods, values.seeds)
        if values.print_config:
            print("\n".join(flags.settings(config)))
            return
        if not values.workdir.strip():
            raise InputError("--workdir is empty: name a folder, or leave it out")
        workdir = os.path.expanduser(values.workdir)
        if workdir.startswith("~"):
            raise InputError(f"--workdir={workdir}: there is no such user's home")
        self.folder = Path(workdir) / name
        if str(self.folder).encode(errors="replace").decode() != str(self.folder):
            raise InputError(
                f"{self.folder}: this path is not UTF-8 (or the locale is not): use "
                "another folder"
            )
        if not self.several:
            run(module, config, self.folder, work_of(values), values.data_dir)
            return
        with processes.own_folder(self.folder) as folder:
            run(module, config, folder, work_of(values), values.data_dir)
        processes.end()

    def run_command(self, words: list[str]) -> None:
        """Runs a command of a deployment, see `commands`."""
        from absl import logging

        def configure(config: "ConfigDict") -> None:
            self.config = config

        start("cpu", deterministic=True)
        logging.set_verbosity(logging.FATAL)  # what fails is said in one line
        commands.run(words, self.program, configure)


def start(preset: str | None, *, deterministic: bool = False) -> tuple[str, str]:
    """Starts JAX; returns the preset, chosen by the device if none is, and why."""
    import jax

    from unlearn import devices

    note = ""
    if jax.config.jax_enable_x64:  # ty: ignore[missing-attribute]
        jax.config.update("jax_enable_x64", False)
        note = "; JAX_ENABLE_X64 is not used, models are float32"
    devices.setup(deterministic=deterministic)
    backend = devices.describe()["backend"]
    if preset:
        return preset, f"as given{note}"
    others = f"--preset={'|'.join(flags.PRESETS)} chooses another"
    why = f"the backend is {backend}; {others}{note}"
    return "cpu" if backend == "cpu" else "full", why


def work_of(values: "FlagValues") -> str:
    """Returns what is done instead of the experiment: `tune`, `join` or nothing."""
    if values.tune and values.join:
        raise InputError("--tune chooses constants and --join makes models: give one")
    return "tune" if values.tune else "join" if values.join else ""


def run(
    module: ModuleType,
    config: "ConfigDict",
    folder: Path,
    instead: str,
    data_dir: str | None,
) -> None:
    """Runs or continues the experiment in `folder`, or does something `instead`.

    Raises:
      InputError: bad input; or methods diverged, and all else is reported.
    """
    from absl import logging

    from unlearn import pipeline

    logging.set_verbosity(logging.FATAL)  # what fails is said in one line
    work = getattr(module, "run", pipeline.run)
    if instead == "tune":
        if "tune" not in config:
            raise InputError(f"{folder.name} has no methods to tune")
        work = getattr(module, "tune", None)
        if not inspect.isfunction(work):
            work = importlib.import_module("unlearn.pipeline.tune").run
    if instead == "join":
        if "audit" not in config:
            raise InputError(f"{folder.name} has no studies of many models to join")
        work = importlib.import_module("unlearn.audit").join
    try:
        inspect.signature(work).bind(config, folder, data_dir=data_dir)
    except TypeError as error:
        raise InputError(
            f"{work.__name__} of {module.__file__} must be "
            f"{work.__name__}(config, folder, *, data_dir=None)"
        ) from error
    result = work(config, folder, data_dir=data_dir and os.path.expanduser(data_dir))
    diverged = getattr(result, "diverged", None)
    if diverged:
        raise InputError(pipeline.diverged_message(diverged))
