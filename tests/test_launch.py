"""The command itself, in processes of its own."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = [
    "--preset=smoke",
    "--config.data.name=synthetic:6x6x1,classes=3,train=300,test=90",
    "--config.train.epochs=2",
    "--config.train.batch_size=32",
    "--methods=finetune",
    "--seeds=1",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A home of its own: compilation cache and decoded data go there."""
    home = tmp_path_factory.mktemp("home")
    return {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}


def command(*words):
    return [sys.executable, str(ROOT / "launch.py"), *map(str, words)]


def launch(environment, *words, **options):
    return subprocess.run(
        command(*words),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def test_help_lists_the_experiments_with_a_line_each(environment):
    text = launch(environment, "--helpshort").stdout
    for path in (ROOT / "experiments").glob("[a-z]*.py"):
        assert f"{path.stem}: " in text


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--experiment=cifar_forge"], "cifar_forget"),
        (["--preset=huge"], "smoke"),
        (["--config.train.epoch=3"], "unknown setting"),
        (["--config.model.norm=group"], "unknown setting"),
        (["--experiment=speed", "--seeds=2"], "no seeds"),
        (["--experiment=speed", "--config.parts=('foo',)"], "foo"),
        (["--config.methods.scrub.epochs=many"], "many"),
        (["--config.train.epochs=2.5"], "2.5"),
        (["--nonsense=1"], "nonsense"),
        (["--seeds=0"], "--seeds"),
        (["--seeds=two"], "two"),
        (["--methods=finetune,scrubb"], "scrubb"),
        (["finetune"], "finetune"),
        (["--config.forget.fraction=0"], "forget"),
        (["--config.data.name=npz:/no/such.npz"], "/no/such.npz"),
        (["--config.train.batch_size=9999"], "batch_size"),
        (["--workdir=/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_bad_input_is_one_line_on_stderr(environment, tmp_path, words, expected):
    if not any(word.startswith("--workdir") for word in words):
        words = [f"--workdir={tmp_path}", *words]
    if not any(word.startswith("--preset") for word in words):
        words = ["--preset=smoke", *words]
    done = launch(environment, *words)
    assert done.returncode not in (0, None)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and expected in lines[0], done.stderr
    assert lines[0].startswith("launch.py: ")


def outcome(folder):
    """What must not depend on how often a run was stopped."""
    with open(folder / "results.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"], row["compile_seconds"]
    sums = sorted(folder.rglob("checksum.json"))
    return rows, {str(p.relative_to(folder)): p.read_text() for p in sums}


def test_a_run_from_the_command_line(environment, tmp_path):
    done = launch(environment, *SMALL, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "preset smoke" in done.stdout.splitlines()[0]
    assert str(tmp_path / "digits_forget") in done.stdout
    rows, _ = outcome(tmp_path / "digits_forget")
    assert [r["model"] for r in rows] == ["original", "retrain", "finetune"]
    again = launch(environment, *SMALL, "--seeds=2", f"--workdir={tmp_path}")
    assert again.returncode != 0 and "seeds: 1 there, 2 now" in again.stderr


def test_typed_overrides_reach_the_config(environment, tmp_path):
    done = launch(
        environment,
        *SMALL,
        f"--workdir={tmp_path}",
        "--config.methods.finetune.learning_rate=1",
        "--config.forget.kind=indices",
        "--config.forget.indices=(4,5,6)",
    )
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "digits_forget" / "config.json").read_text()
    assert '"learning_rate": 1.0' in config
    rows, _ = outcome(tmp_path / "digits_forget")
    assert float(rows[0]["forget_accuracy"]) * 3 % 1 == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_killed_ten_times_at_random_it_ends_with_the_same_bits(environment, tmp_path):
    """kill -9 or Ctrl-C of a real run at ten random moments, then the same command."""
    words = [
        "--preset=smoke",
        "--config.train.epochs=150",
        "--methods=finetune,random_labels",
        "--seeds=2",
    ]
    whole = launch(environment, *words, f"--workdir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    started = time.monotonic()
    again = launch(environment, *words, f"--workdir={tmp_path / 'warm'}")
    seconds = time.monotonic() - started
    assert again.returncode == 0, again.stderr
    generator = random.Random(0)
    target = f"--workdir={tmp_path / 'killed'}"
    stopped = 0
    while stopped < 10:
        process = subprocess.Popen(
            command(*words, target),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        how = generator.choice([signal.SIGKILL, signal.SIGINT])
        try:
            process.wait(generator.uniform(0.15, 0.6) * seconds)
            shutil.rmtree(tmp_path / "killed")  # it ended: once more from the start
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            _, errors = process.communicate()
            stopped += 1
            if how == signal.SIGINT:
                assert "Traceback" not in errors, errors
                assert process.returncode in (-signal.SIGINT, 130), errors
    last = launch(environment, *words, target)
    assert last.returncode == 0, last.stderr
    killed, whole = (tmp_path / name / "digits_forget" for name in ("killed", "whole"))
    assert outcome(killed) == outcome(whole)
    kept = [
        sorted(p.name for p in folder.glob("checkpoints/*/*/*"))
        for folder in (killed, whole)
    ]
    assert kept[0] == kept[1]
