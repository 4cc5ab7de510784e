"""What `--help`, `--list_experiments` and `--list_methods` print."""

from collections.abc import Iterator, Sequence

from unlearn.launcher import commands, experiments
from unlearn.launcher.flags import DEFAULT

HELP = """\
Runs an experiment of machine unlearning: data, training, retraining, unlearning,
audit, report. The same command continues a run that was stopped.

  {command} --experiment={default} --preset=smoke

--experiment=NAME or PATH.py
    What to run; default: {default}. PATH.py is a file of yours with
    get_config(preset) and, if needed, run(config, folder, *, data_dir=None); it may
    define methods. NAME is one of
{experiments}
--preset=smoke|cpu|full
    smoke: seconds, made-up data; cpu: minutes, a small net; full: the protocol of the
    literature. Default: cpu on a CPU, full on an accelerator.
--config.SETTING=VALUE
    A setting of the experiment: --config.train.epochs=3 --config.forget.classes=3,5
    --print_config lists all of them.
--methods=NAME,NAME
    Methods to run; --list_methods lists them. A+B is A, then B on its result;
    all are those that fit the request.
--seeds=NUMBER
    Number of training seeds.
--tune
    Choose the methods' constants on the validation split instead.
--join
    Only make models of the audit's studies, with any number of other processes that
    have the same command and folder; then the command without it ends the audit.
--workdir=FOLDER
    Results go to FOLDER/EXPERIMENT; default: runs.
--data_dir=FOLDER
    Prepared data; default: TFDS_DATA_DIR or ~/tensorflow_datasets.
--distributed --coordinator=HOST:PORT --processes=N --process=I
    One run by N processes, on one or many hosts: give each its number I, from 0, and
    the same address of process 0. On TPU pods and under srun they find each other
    (--distributed=false: not).

Requests to erase, one after another, to a model in use ({command} deploy --help):
{commands}

--list_experiments   the experiments, a line each
--list_methods       the methods: what they need and are for, which ascend, papers
--print_config       the settings of the experiment and preset, as flags to paste
--help               this text"""


def help_text(command: str) -> str:
    """Returns the text of `--help`."""
    lines = "\n".join(f"      {line}" for line in experiment_lines())
    words = "\n".join(
        f"  {name:<8} {one.summary}" for name, one in commands.COMMANDS.items()
    )
    return HELP.format(
        command=command, default=DEFAULT, experiments=lines, commands=words
    )


def experiment_lines() -> Iterator[str]:
    for name, line in experiments.describe().items():
        yield f"{name}: {line}"


def method_lines() -> Iterator[str]:
    """Yields tables of the methods and of those that also change the training."""
    from unlearn import methods, training_time

    uses = {"both": "any request", "class": "whole classes", "random": "examples"}
    rows = [("method", "needs", "for", "ascends", "paper")]
    for name, method in methods.METHODS.items():
        needs, climbs = ", ".join(method.needs), "yes" if method.ascends else ""
        rows.append((name, needs, uses[method.scope], climbs, method.paper))
    yield from _columns(rows)
    yield ""
    rows = [("trains in its own way", "guarantee", "paper")]
    for name, method in training_time.METHODS.items():
        rows.append((name, method.guarantee, method.paper))
    yield from _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(n) for cell, n in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
