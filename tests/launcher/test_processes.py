"""The command in processes of its own."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import SETTINGS, SMALL, command, launch, outcome, write


@pytest.mark.slow
def test_a_file_with_a_method_of_its_own(environment, tmp_path):
    path = write(
        tmp_path / "mine.py",
        '''"""Halves the weights."""
import jax
from unlearn.methods import method
from unlearn.pipeline import default_config

@method(needs=("retain",), paper="none")
def halve(key, variables, problem, *, factor=0.5):
    """Multiplies every weight."""
    smaller = jax.tree.map(lambda x: factor * x, variables["params"])
    return variables | {"params": smaller}, {}

def get_config(preset):
    config = default_config()
    config.seeds = 1
    return config
''',
    )
    words = f"--experiment={path}", "--config.methods.halve.factor=1"
    words += (*SMALL, "--methods=halve", f"--workdir={tmp_path}")
    done = launch(environment, *words)
    assert done.returncode == 0, done.stderr
    rows, _ = outcome(tmp_path / "mine")
    assert [r["model"] for r in rows] == ["original", "retrain", "halve"]
    assert rows[2]["test_accuracy"] == rows[0]["test_accuracy"]
    done = launch(environment, f"--experiment={path}", "--list_methods")
    assert "\nhalve " in done.stdout


# Processes of their own


def test_help_needs_no_jax():
    code = (
        "import sys; from unlearn import launcher; launcher.Launch().main(['--help'])"
    )
    code += "; sys.exit('jax' in sys.modules or 'absl' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_a_platform_that_is_not_there(environment):
    for platform in ("cuda", "nonsense"):
        if platform == "cuda" and shutil.which("nvidia-smi"):
            continue
        done = launch(environment | {"JAX_PLATFORMS": platform})
        lines = done.stderr.splitlines()
        assert done.returncode == 1 and len(lines) == 1, done.stderr
        assert f"JAX_PLATFORMS={platform}" in lines[0] and "Traceback" not in lines[0]


@pytest.mark.slow
def test_a_full_or_closed_standard_output(environment, tmp_path):
    words = *SMALL, f"--workdir={tmp_path}"
    if Path("/dev/full").exists():
        for more in ([], ["--list_experiments"]):
            with open("/dev/full", "w") as full:
                done = launch(environment, *words, *more, stdout=full)
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert "standard output: No space left" in line
    for more, expected in (([], 1), (["--help"], 0)):
        read, write = os.pipe()
        os.close(read)
        done = launch(environment, *words, *more, stdout=write)
        os.close(write)
        assert done.returncode != 0 and len(done.stderr.splitlines()) <= expected
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_letters_that_the_terminal_lacks_and_64_bits(environment, first_run, tmp_path):
    odd = {"PYTHONIOENCODING": "ascii", "JAX_ENABLE_X64": "1"}
    folder = tmp_path / "r\u00e9sultats"
    done = launch(environment | odd, *SMALL, f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    assert "JAX_ENABLE_X64" in done.stdout.splitlines()[0]
    assert "r\\xe9sultats" in done.stdout
    assert (folder / "digits_forget" / "summary.md").exists()
    plain = first_run[0] / "digits_forget"
    assert outcome(folder / "digits_forget") == outcome(plain)
    done = launch(environment | odd, *SMALL, "--seeds=2", f"--workdir={folder}")
    assert done.returncode == 1 and "r\\xe9sultats" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = launch(environment, *SMALL, f"--workdir={tmp_path}/\udce9")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "not UTF-8" in done.stderr and len(done.stderr.splitlines()) == 1


WAITING = f"""{SETTINGS}
import jax

def run(config, folder, *, data_dir=None):
    print("working", flush=True)
    jax.lax.while_loop(lambda x: x >= 0, lambda x: x * 0.5, 1.0).block_until_ready()
"""


@pytest.mark.slow
def test_interrupt_ends_compiled_code_at_once(environment, tmp_path):
    path = write(tmp_path / "mine.py", WAITING)
    process = subprocess.Popen(
        command(f"--experiment={path}", "--preset=smoke"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "working" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # the loop itself never ends
    assert process.returncode == 130
    assert errors == ("launch.py: stopped; the same command continues where it was\n")


@pytest.mark.slow
def test_a_run_from_the_command_line(environment, first_run):
    folder, done = first_run
    assert "preset smoke" in done.stdout.splitlines()[0]
    assert str(folder / "digits_forget") in done.stdout
    rows, _ = outcome(folder / "digits_forget")
    assert [r["model"] for r in rows] == ["original", "retrain", "finetune"]
    again = launch(environment, *SMALL, "--seeds=2", f"--workdir={folder}")
    assert again.returncode != 0 and "seeds: 1 there, 2 now" in again.stderr
    assert "--workdir" in again.stderr and len(again.stderr.splitlines()) == 1


@pytest.mark.slow
def test_typed_overrides_reach_the_config(call, tmp_path):
    code, _, errors = call(
        *SMALL,
        f"--workdir={tmp_path}",
        "--config.methods.finetune.learning_rate=1",
        "--config.forget.kind=indices",
        "--config.forget.indices=4,5,6",
    )
    assert code == 0, errors
    config = json.loads((tmp_path / "digits_forget" / "config.json").read_text())
    assert config["methods"]["finetune"]["learning_rate"] == 1.0
    assert config["forget"]["indices"] == [4, 5, 6]
    rows, _ = outcome(tmp_path / "digits_forget")
    assert float(rows[0]["forget_accuracy"]) * 3 % 1 == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_killed_at_random_it_ends_with_the_same_bits(environment, tmp_path):
    """kill -9 or Ctrl-C of a real run at 2 random moments, then the same command."""
    words = [
        "--preset=smoke",
        "--config.model.name=mlp",
        "--config.model.mlp.widths=16,",
        "--config.train.epochs=60",
        "--methods=finetune",
        "--seeds=2",
    ]
    started = time.monotonic()
    whole = launch(environment, *words, f"--workdir={tmp_path / 'whole'}")
    seconds = time.monotonic() - started
    assert whole.returncode == 0, whole.stderr
    generator = random.Random(0)
    target = f"--workdir={tmp_path / 'killed'}"
    stopped = 0
    while stopped < 2:
        process = subprocess.Popen(
            command(*words, target),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        how = generator.choice([signal.SIGKILL, signal.SIGINT])
        try:
            process.wait(generator.uniform(0.05, 0.4) * seconds)
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
