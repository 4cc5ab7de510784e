"""Whose a run folder is: its lock and its config."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from light import WITHOUT_JAX

from unlearn import store
from unlearn.errors import InputError

ROOT = Path(__file__).parents[2]


def test_claim_names_what_changed(tmp_path):
    config = {"train": {"epochs": 3, "seeds": (1, 2)}, "name": "a"}
    store.claim(tmp_path / "run", config)
    store.claim(tmp_path / "run", config)
    changed = {"train": {"epochs": 4, "seeds": (1, 2)}, "name": "a"}
    with pytest.raises(InputError, match="train.epochs: 3 there, 4 now"):
        store.claim(tmp_path / "run", changed)
    with pytest.raises(InputError, match="train.epochs"):
        store.check_claim(tmp_path / "run", changed)
    store.check_claim(tmp_path / "new", changed)
    assert not (tmp_path / "new").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["name"] == "a"


def of_methods(*run, **changes):
    methods = {name: {"rate": 0.1} for name in run} | changes.pop("methods", {})
    return {"seeds": 2, "run": run, "methods": methods, "sources": {}} | changes


def begin(folder, *names):
    """Claims a folder of these methods, and makes something of each."""
    store.claim(folder, of_methods(*names))
    for name, place in zip(names, ("checkpoints", "studies/shadow"), strict=False):
        (folder / place / name).mkdir(parents=True)


def run_in(folder):
    return json.loads((folder / "config.json").read_text())["run"]


def test_a_run_goes_on_with_more_methods(tmp_path):
    folder = tmp_path / "run"
    begin(folder, "a", "b")
    grown = of_methods("a", "c", "b", sources={"c": "its hash"})
    store.check_claim(folder, grown)
    assert run_in(folder) == ["a", "b"]
    store.claim(folder, grown)
    assert run_in(folder) == ["a", "c", "b"]
    with pytest.raises(InputError, match="run: .'a', 'c', 'b'. there, .'a'. now"):
        store.claim(folder, of_methods("a"))


def test_what_nothing_was_made_by_may_change_or_go(tmp_path):
    """As a method that has refused its constants."""
    begin(tmp_path, "a", "b")
    store.claim(tmp_path, of_methods("a", "b", "c"))
    other = of_methods("a", "b", "c", methods={"c": {"rate": 0.5}})
    store.claim(tmp_path, other)
    store.claim(tmp_path, of_methods("b", "a"))
    assert run_in(tmp_path) == ["b", "a"]
    store.claim(tmp_path / "none", of_methods())
    store.claim(tmp_path / "none", of_methods("a"))
    assert run_in(tmp_path / "none") == ["a"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 3}, "seeds: 2 there, 3 now"),
        ({"methods": {"a": {"rate": 0.2}}}, "methods.a.rate: 0.1 there, 0.2 now"),
        ({"sources": {"weights": "a hash"}}, "sources.weights: None there"),
        ({"sources": {"b": "a hash"}}, "sources.b: None there"),
    ],
)
def test_more_methods_and_another_change_is_another_config(tmp_path, changes, message):
    begin(tmp_path, "a", "b")
    with pytest.raises(InputError, match=message):
        store.claim(tmp_path, of_methods("a", "b", "c", **changes))


def test_what_is_no_run_of_methods_is_compared_as_it_is(tmp_path):
    config = {"run": ["a"], "methods": {"a": {}}}  # without sources
    store.claim(tmp_path, config)
    store.claim(tmp_path, config)
    with pytest.raises(InputError, match=r"run: .'a'. there, .'a', 'b'. now"):
        store.claim(tmp_path, config | {"run": ["a", "b"]})


def test_who_joins_brings_more_methods_only_if_no_other_is_there(tmp_path):
    begin(tmp_path, "a", "b")
    grown = of_methods("a", "b", "c")
    other = tmp_path / ".workers" / "other"
    other.mkdir(parents=True)
    with store.lock(other), pytest.raises(InputError, match="methods.c: None there"):
        store.join(tmp_path, grown)
    store.leave(store.join(tmp_path, grown))
    assert run_in(tmp_path) == ["a", "b", "c"]


def test_nothing_grows_while_others_are_at_work(tmp_path):
    """Else models of other constants would lie beside each other."""
    begin(tmp_path, "a", "b")
    grown = of_methods("a", "b", "c")
    place = tmp_path / ".workers" / "other"
    place.mkdir(parents=True)
    held = store.lock(place)
    with pytest.raises(InputError, match="methods.c: None there"):
        store.claim(tmp_path, grown)
    held.release()
    script = "import sys, time; from unlearn import store; "
    script += "held = store.lock(sys.argv[1]); print('held', flush=True); "
    script += "time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert holder.stdout.readline()
    with pytest.raises(InputError, match="methods.c: None there"):
        store.join(tmp_path, grown)
    holder.kill()
    holder.wait()


def test_an_audit_and_a_run_are_two_configs(tmp_path):
    store.claim(tmp_path, of_methods("a", audit={"models": 3}))
    with pytest.raises(InputError, match="audit: {'models': 3} there, None now"):
        store.claim(tmp_path, of_methods("a"))


def test_of_long_lists_only_what_differs_is_named(tmp_path):
    store.claim(tmp_path, {"a": list("bcdefg")})
    with pytest.raises(InputError, match="config .a: d there alone and x now alone.:"):
        store.check_claim(tmp_path, {"a": list("bcxefg")})
    with pytest.raises(InputError, match="config .a: in another order.:"):
        store.check_claim(tmp_path, {"a": list("gbcdef")})


def test_claim_refuses_a_damaged_config(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        store.claim(tmp_path, {})


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"\xff", b"3"])
def test_a_config_that_is_none(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read") as caught:
        store.check_claim(tmp_path, {})
    assert "\n" not in str(caught.value)


def test_nan_is_the_same_nan(tmp_path):
    store.claim(tmp_path, {"a": float("nan")})
    store.check_claim(tmp_path, {"a": float("nan")})


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/original/0/final/info.json",
        "evaluations/original/0.npz",
        "results.csv",
        "log.jsonl",
        "manifest.json",
        "split.npz",
        "studies/shadow/sets.json",
        "relearning/original/0.npz",
        "summary.csv",
        "summary.md",
        "tuning.csv",
        "trials/finetune.json",
    ],
)
def test_what_a_run_wrote_is_not_adopted_without_its_config(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="without a config.json") as caught:
        store.claim(tmp_path, {})
    assert name.split("/")[0] in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "config.json").exists()
    assert not (tmp_path / ".lock").exists()


def test_other_files_do_not_matter(tmp_path):
    """Such as notes, or what a search for constants made in a folder of its own."""
    (tmp_path / "notes.txt").write_text("the user's")
    store.claim(tmp_path / "tuning", {"b": 2})
    store.claim(tmp_path, {"a": 1})
    assert store.read_json(tmp_path / "config.json") == {"a": 1}
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        store.claim(tmp_path / "file", {})


# The lock: other processes are real ones.

HOLDER = """
from unlearn.store import folder as store
try:
    held = store.claim(sys.argv[1], {})
except ValueError as error:
    print(error, flush=True)
    sys.exit(3)
print("held", flush=True)
sys.stdin.read()
"""


def start(folder):
    """A process that claims the folder; and its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_JAX + HOLDER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def end(process):
    process.stdin.close()
    process.stdout.close()
    return process.wait()


def test_one_process_at_a_time(tmp_path):
    folder = tmp_path / "run"
    process, line = start(folder)
    assert line == "held"
    expected = (
        f"pid {process.pid} on {socket.gethostname()} is running here ({folder}): "
        "wait for it, or use another folder"
    )
    for call in (
        lambda: store.lock(folder),
        lambda: store.refuse_if_locked(folder),
        lambda: store.check_claim(folder, {}),
        lambda: store.claim(folder, {}),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == expected
    assert end(process) == 0
    store.refuse_if_locked(folder)
    held = store.claim(folder, {})
    other, line = start(folder)
    assert line.startswith(f"pid {os.getpid()} on ")
    assert end(other) == 3
    held.release()
    other, line = start(folder)
    assert line == "held" and end(other) == 0


def test_two_that_start_at_once(tmp_path):
    """One of them runs; the folder is whole."""
    processes = [start(tmp_path / "run") for _ in range(2)]
    assert sorted(line == "held" for _, line in processes) == [False, True]
    assert sorted(end(process) for process, _ in processes) == [0, 3]
    assert (tmp_path / "run" / "config.json").read_text() == "{}\n"


def test_a_killed_process_leaves_no_lock_and_its_remains_are_removed(tmp_path):
    process, line = start(tmp_path)
    assert line == "held"
    remains = tmp_path / f".x.{process.pid}.0123abcd.partial"
    remains.write_text("part")
    process.send_signal(signal.SIGKILL)
    assert end(process) == -signal.SIGKILL
    held = store.claim(tmp_path, {})
    assert not remains.exists()
    held.release()


def test_a_process_that_is_locked_out_removes_nothing(tmp_path):
    with store.lock(tmp_path):
        live = tmp_path / f".x.{os.getpid()}.0123abcd.partial"
        live.write_text("being written")
        process, line = start(tmp_path)
        assert line != "held" and end(process) == 3
        assert store.lock(tmp_path) and live.exists()


@pytest.mark.slow
def test_within_a_process_the_lock_is_shared_until_the_last_is_dropped(tmp_path):
    first = store.lock(tmp_path)
    second = store.lock(tmp_path / "x" / "..")
    assert first is second
    store.refuse_if_locked(tmp_path)
    del first
    gc.collect()
    process, line = start(tmp_path)
    assert line != "held" and end(process) == 3
    del second
    gc.collect()
    process, line = start(tmp_path)
    assert line == "held" and end(process) == 0


def test_threads_share_it(tmp_path):
    found = []

    def lock():
        found.append(store.lock(tmp_path))

    threads = [threading.Thread(target=lock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1


CHILDREN = """
import os, subprocess, time
from unlearn.store import folder as store
held = store.lock(sys.argv[1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
forked = os.fork()
if not forked:
    time.sleep(60)
    os._exit(0)
gone = os.fork()
if not gone:
    del held  # a child that ends, or drops its copy, does not release it
    os._exit(0)
os.waitpid(gone, 0)
print(child.pid, forked, flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_do_not_inherit_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_JAX + CHILDREN, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    children = [int(pid) for pid in process.stdout.readline().split()]
    try:
        with pytest.raises(InputError, match=f"pid {process.pid} on"):
            store.lock(tmp_path)
        process.kill()
        end(process)
        for pid in children:
            os.kill(pid, 0)  # it is alive
        store.lock(tmp_path).release()
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def test_a_lock_file_without_a_name(tmp_path):
    process, line = start(tmp_path)
    (tmp_path / ".lock").write_bytes(b"\xff")
    with pytest.raises(InputError, match="^another process is running here"):
        store.lock(tmp_path)
    end(process)


def test_looking_makes_nothing(tmp_path):
    store.refuse_if_locked(tmp_path / "none")
    store.refuse_if_locked(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        store.lock(tmp_path / "file" / "run")
