"""Runs an experiment: `python launch.py --experiment=cifar_forget`.

Kept short: flags become a config, and `unlearn.pipeline` does the work.
"""

import signal

if __name__ == "__main__":  # Ctrl-C while modules load ends quietly
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import ast
import importlib
import os
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

EXPERIMENTS = {
    path.stem: ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
    for path in sorted((Path(__file__).parent / "experiments").glob("[a-z]*.py"))
}
PRESETS = ("smoke", "cpu", "full")

_EXPERIMENT = flags.DEFINE_enum(
    "experiment",
    "digits_forget",
    list(EXPERIMENTS),
    "What to run:\n"
    + "\n".join(f"  {name}: {line}" for name, line in EXPERIMENTS.items())
    + "\n",
)
_PRESET = flags.DEFINE_enum(
    "preset",
    None,
    PRESETS,
    "smoke: seconds, made-up data; cpu: minutes, a small net; full: the protocol of "
    "the literature. Default: cpu on a CPU, full on an accelerator.",
)
_WORKDIR = flags.DEFINE_string("workdir", "runs", "Results go to WORKDIR/EXPERIMENT.")
_METHODS = flags.DEFINE_list("methods", None, "Methods to run, separated by commas.")
_SEEDS = flags.DEFINE_integer("seeds", None, "Number of training seeds.")
_TUNE = flags.DEFINE_bool(
    "tune", False, "Choose the methods' constants on the validation split instead."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Prepared data; default: TFDS_DATA_DIR or ~/tensorflow_datasets."
)


def parse_flags(argv):
    """Parses flags, adding --config.* for the fields of the chosen experiment."""
    try:
        flags.FLAGS(argv, known_only=True)
        config = get_config()
        flags.FLAGS.unparse_flags()
        config_flags.DEFINE_config_dict("config", config, sys_argv=argv)
        return flags.FLAGS(argv)
    except (AttributeError, KeyError) as error:
        fail(f"unknown setting {error}: settings are those of unlearn.default_config")
    except (TypeError, ValueError, flags.Error) as error:
        fail(error)


def get_config():
    from unlearn import devices

    devices.setup()
    preset, why = _PRESET.value, "as asked"
    if preset is None:
        backend = devices.describe()["backend"]
        preset = "cpu" if backend == "cpu" else "full"
        why = f"the backend is {backend}; --preset={'|'.join(PRESETS)} chooses another"
    print(f"{_EXPERIMENT.value}, preset {preset} ({why})", flush=True)
    experiment = importlib.import_module(f"experiments.{_EXPERIMENT.value}")
    return experiment.get_config(preset)


def fail(error):
    first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    sys.exit(f"launch.py: {first}")


def stop(signum, frame):
    """Ends at once: Python drops an exception raised inside a callback of jax."""
    os.write(2, b"launch.py: stopped; the same command continues where it was\n")
    os._exit(130)


def main(argv):
    signal.signal(signal.SIGINT, stop)
    if len(argv) > 1:
        fail(f"unexpected argument {argv[1]!r}: settings are --name=value")
    from unlearn import pipeline
    from unlearn.errors import InputError

    logging.set_verbosity(logging.FATAL)  # what fails below is said in one line
    config = flags.FLAGS.config
    folder = Path(_WORKDIR.value) / _EXPERIMENT.value
    try:
        for name, value in (("run", _METHODS.value), ("seeds", _SEEDS.value)):
            if value is not None:
                if name not in config:
                    fail(f"{_EXPERIMENT.value} has no methods and no seeds to choose")
                config[name] = tuple(value) if name == "run" else value
        experiment = importlib.import_module(f"experiments.{_EXPERIMENT.value}")
        run = getattr(experiment, "run", pipeline.run)
        if _TUNE.value:
            if "tune" not in config:
                fail(f"{_EXPERIMENT.value} has no methods to tune")
            from unlearn import tuning

            run = tuning.run
        run(config, folder, data_dir=_DATA_DIR.value)
    except InputError as error:
        fail(error)
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror or error}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
