"""Compiled programs on disk: damage is noticed before use, and there is a limit."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unlearn import compile_cache
from unlearn.compile_cache import CheckedCache

ROOT = Path(__file__).parents[1]
VALUE = hashlib.sha256(b"").digest() * 20


def test_entries_come_back(tmp_path):
    cache = CheckedCache(tmp_path / "new")
    assert cache.get("jit_f-12") is None
    cache.put("jit_f-12", VALUE)
    cache.put("jit_g-34", b"")
    assert cache.get("jit_f-12") == VALUE and cache.get("jit_g-34") == b""
    assert CheckedCache(tmp_path / "new").get("jit_f-12") == VALUE
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "jit_f-12.entry",
        "jit_g-34.entry",
    ]


def test_every_damage_is_a_miss_and_is_replaced(tmp_path):
    cache = CheckedCache(tmp_path)
    cache.put("key", VALUE)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    damaged = [good[:n] for n in range(0, len(good), 7)]
    damaged += [
        good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in range(0, len(good), 7)
    ]
    for content in damaged:
        path.write_bytes(content)
        assert cache.get("key") is None
        assert not path.exists()
        cache.put("key", VALUE)
        assert cache.get("key") == VALUE


def test_it_stays_within_its_limit(tmp_path):
    size = len(VALUE) + 32
    cache = CheckedCache(tmp_path, limit=3 * size)
    for number, key in enumerate("abc"):
        cache.put(key, VALUE)
        os.utime(tmp_path / f"{key}.entry", (number, number))
    cache.get("a")
    cache.put("d", VALUE)
    assert cache.get("b") is None
    assert all(cache.get(key) == VALUE for key in "acd")
    cache.put("large", bytes(4 * size))
    assert cache.get("large") is None and cache.get("d") == VALUE
    assert CheckedCache(tmp_path, limit=size).size == size
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    cache = CheckedCache(tmp_path / "file")
    cache.put("key", VALUE)
    assert cache.get("key") is None


def test_what_killed_processes_left_is_removed(tmp_path):
    for name, age in ((".7.abc.partial", 4000), (".8.abc.partial", 5)):
        (tmp_path / name).write_text("part")
        now = (tmp_path / name).stat().st_mtime
        os.utime(tmp_path / name, (now - age, now - age))
    CheckedCache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".8.abc.partial"]


PROGRAM = """
import sys
import jax, jax.numpy as jnp
from unlearn import devices
hits = []
jax.monitoring.register_event_listener(
    lambda name, **_: hits.append(name.endswith("compilation_cache/cache_hits"))
)
devices.setup(*sys.argv[1:])
f = jax.jit(lambda x: jnp.sin(x @ x.T).sum() + jnp.sort(x, axis=0)[0, 0])
print(float(f(jnp.arange(12.0).reshape(3, 4))), sum(hits), flush=True)
"""


def run(*arguments, **environment):
    """`(the program's result, entries that were found)`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert not done.stderr, done.stderr
    value, hits = done.stdout.split()
    return float(value), int(hits)


@pytest.mark.slow
def test_programs_are_found_again_and_damaged_ones_compiled_anew(tmp_path):
    """With whichever compression is installed; `zstandard` checks nothing itself."""
    value, hits = run(tmp_path)
    files = list(tmp_path.glob("*.entry"))
    assert hits == 0 and len(files) > 1
    assert run(tmp_path) == (value, len(files))
    for path in files:
        content = bytearray(path.read_bytes())
        for place in range(40, len(content), 97):
            content[place] ^= 0xFF
        path.write_bytes(content)
    assert run(tmp_path) == (value, 0)
    assert run(tmp_path) == (value, len(files))
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(tmp_path) == (value, 0)


@pytest.mark.slow
def test_the_users_own_cache_is_left_alone(tmp_path):
    """Nothing is pruned or deleted there, and nothing of ours is written."""
    mine, ours = tmp_path / "mine", tmp_path / "cache"
    mine.mkdir()
    for name in ("old.entry", ".1.a.partial", "x-cache"):
        (mine / name).write_text("the user's")
        os.utime(mine / name, (0, 0))
    environment = dict(JAX_COMPILATION_CACHE_DIR=str(mine), XDG_CACHE_HOME=str(ours))
    value, _ = run(**environment)
    assert run(**environment)[1] > 0
    for name in ("old.entry", ".1.a.partial", "x-cache"):
        assert (mine / name).read_text() == "the user's"
    assert not ours.exists() and len(list(mine.glob("*.entry"))) == 1


def test_by_default_it_lies_in_the_home(tmp_path):
    run(XDG_CACHE_HOME=str(tmp_path))
    assert list((tmp_path / "unlearn" / "xla").glob("*.entry"))


def test_a_jax_without_that_function_goes_without(tmp_path, monkeypatch):
    import jax
    from jax._src import compilation_cache as internals

    before = jax.config.jax_compilation_cache_dir
    monkeypatch.delattr(internals, "get_file_cache")
    assert not compile_cache.enable(tmp_path)
    assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.slow
def test_processes_at_the_same_time(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    values = {process.communicate()[0].split()[0] for process in processes}
    assert len(values) == 1 and not any(process.returncode for process in processes)
    assert run(tmp_path)[1] > 0
