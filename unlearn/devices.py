"""The process's devices: what they are, their compiler, and many models on them.

`map_models` runs a pure function for each of many models (seeds, splits, forget sets,
hyper-parameters) in one compiled program, on all devices.
"""

import functools
import importlib.metadata
import importlib.util
import mmap
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scipy",
    "scikit-learn",
)
CACHE = "~/.cache/unlearn/xla"

# The CPU backend of some jaxlib versions hands convolutions one by one to a library
# that is up to three times slower at our kernel gradients than XLA itself.
FLAG, VALUE = "xla_cpu_experimental_ynn_fusion_type", "individual_convolution"


def setup(cache_dir: str | Path | None = None) -> None:
    """Turns the compilation cache on; on the CPU, sets the flag that helps and makes a
    device of every core, for `map_models`.

    Call it once, before the first JAX operation. `cache_dir` is by default
    `~/.cache/unlearn/xla`; a cache that the user configured stays as it is.
    """
    if cache_dir is not None or jax.config.jax_compilation_cache_dir is None:
        path = Path(cache_dir or CACHE).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if not _runs_on_cpu():
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG not in flags and _compiler_knows_flag():
        os.environ["XLA_FLAGS"] = f"{flags} --{FLAG}=-{VALUE}".strip()
    if "xla_force_host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", _cores())


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _runs_on_cpu() -> bool:
    """Whether the backend will be the CPU: flags are read when it starts, so it cannot
    be asked. With an accelerator's plugin installed only JAX_PLATFORMS=cpu says so."""
    platforms = jax.config.jax_platforms
    if platforms:
        return platforms == "cpu"
    plugins = importlib.util.find_spec("jax_plugins")
    found = plugins and any(
        any(Path(folder).iterdir()) for folder in plugins.submodule_search_locations
    )
    return not (
        found
        or importlib.util.find_spec("libtpu")
        or importlib.metadata.entry_points(group="jax_plugins")
    )


def _compiler_knows_flag() -> bool:
    """Whether jaxlib's library names the flag: an unknown one ends the process."""
    library = Path(importlib.util.find_spec("jaxlib").origin).parent
    library /= "libjax_common.so"
    try:
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            end = min(len(text), 2**27)  # constants come first
            return all(
                text.find(word.encode(), 0, end) >= 0 for word in (FLAG, VALUE.upper())
            )
    except (OSError, ValueError):
        return False


def describe() -> dict:
    """Versions, backend and devices, for a run's manifest."""
    devices = jax.devices()
    return {
        "versions": {name: _version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "backend": jax.default_backend(),
        "device": devices[0].device_kind,
        "devices": len(devices),
        "cpus": os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


_executables = {}


def compiled(fn, *args):
    """`(executable, seconds spent compiling)`: 0 if done before for such arguments."""
    started = time.perf_counter()
    leaves, structure = jax.tree.flatten(args)
    signature = fn, structure, tuple(jax.typeof(leaf) for leaf in leaves)
    if signature in _executables:
        return _executables[signature], 0.0
    executable = jax.jit(fn).lower(*args).compile()
    _executables[signature] = executable
    return executable, time.perf_counter() - started


WAYS = ("vmap", "map")
CHUNK = 16  # models a device, one after another, between two results
VMAP_WEIGHTS = 5_000_000


class Mapped(NamedTuple):
    """How `map_models` did it."""

    way: str  # vmap: all of a device at once; map: one after another
    devices: int
    chunk: int  # models a call of the program
    compile_seconds: float
    seconds: float  # without compiling, and without the chunks that were kept


def map_models(
    fn: Callable,
    models,
    *shared,
    way: str | None = None,
    chunk: int | None = None,
    keep: Callable | None = None,
    progress: Callable | None = None,
):
    """`fn(model, *shared)` for each of the models: `(results, Mapped)`.

    Args:
      fn: a pure function of one model's arguments and what all models share; it returns
        a tree of arrays. Pass the same function again and nothing is compiled anew.
      models: a tree of arrays with a leading axis of models: keys, variables, indices.
        Or of what has a length and takes indices int[chunk], such as arrays on disk.
      shared: trees that every model sees, such as a `Problem`.
      way: "vmap" or "map"; default: `choose_way`.
      chunk: models a call of the program; default: 16 a device one after another, all
        of them if vectorised. Vectorised it is at most that many: halved until the
        program fits the devices' memory.
      keep: `keep(first, count, compute) -> results`, called for each chunk in order:
        gives back what an earlier process computed, or stores what `compute()` gives,
        `(results, seconds)` without compilation.
      progress: called with the number of models done after each chunk.

    The models are sharded over all devices of the process; the last chunk is filled up
    with copies, which are dropped. The results are numpy arrays with the leading axis.

    Raises:
      ValueError: no models, leading axes that differ, or an unknown `way`.
    """
    sizes = {len(leaf) for leaf in jax.tree.leaves(models)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"one leading axis of models is needed; these are {sizes}")
    (size,), devices = sizes, jax.local_devices()
    way = way or choose_way()
    if way not in WAYS:
        raise ValueError(f"unknown way {way!r}: choose from {', '.join(WAYS)}")
    program, spent, compiling = _program(fn, way, len(devices)), 0.0, 0.0
    most = -(-size // len(devices))
    usual = CHUNK if way == "map" else most
    each = min(most, -(-chunk // len(devices)) if chunk else usual)
    if way == "vmap":
        while each > 1:
            rows = _rows(models, 0, each * len(devices))
            executable, seconds = compiled(program, rows, shared)
            compiling += seconds
            if _fits(executable, devices[0]):
                break
            each = -(-each // 2)
    chunk, results = each * len(devices), []
    for first in range(0, size, chunk):
        count = min(chunk, size - first)

        def compute(first=first, count=count):
            nonlocal spent, compiling
            rows = _rows(models, first, chunk)
            executable, seconds = compiled(program, rows, shared)
            compiling += seconds
            started = time.perf_counter()
            out = jax.tree.map(np.asarray, executable(rows, shared))
            took = time.perf_counter() - started
            spent += took
            return jax.tree.map(lambda x: x[:count], out), took

        results.append(keep(first, count, compute) if keep else compute()[0])
        if progress:
            progress(first + count)
    results = jax.tree.map(lambda *parts: np.concatenate(parts), *results)
    return results, Mapped(way, len(devices), chunk, compiling, spent)


def choose_way(weights: int = 0) -> str:
    """ "map" on the CPU, where vmapped convolutions cost several times as much; on an
    accelerator "vmap", unless one model (its number of weights) fills it by itself.

    The first is measured (`--experiment=speed`); the second is not yet.
    """
    if jax.default_backend() == "cpu" or weights > VMAP_WEIGHTS:
        return "map"
    return "vmap"


@functools.cache
def _program(fn, way, devices):
    mesh = Mesh(np.array(jax.local_devices()[:devices]), ("models",))
    models, everywhere = PartitionSpec("models"), PartitionSpec()

    def on_a_device(rows, shared):
        def one(row):
            return fn(row, *shared)

        return jax.vmap(one)(rows) if way == "vmap" else jax.lax.map(one, rows)

    return jax.jit(
        jax.shard_map(
            on_a_device,
            mesh=mesh,
            in_specs=(models, everywhere),
            out_specs=models,
            check_vma=False,
        )
    )


def _rows(models, first, chunk):
    """The models of a chunk; past the end, the last one again."""

    def rows(leaf):
        return leaf[np.minimum(np.arange(first, first + chunk), len(leaf) - 1)]

    return jax.tree.map(rows, models)


def _fits(executable, device) -> bool:
    limit = (device.memory_stats() or {}).get("bytes_limit")
    used = executable.memory_analysis()
    if not limit or used is None:
        return True
    sizes = used.argument_size_in_bytes, used.output_size_in_bytes
    return used.temp_size_in_bytes + sum(sizes) < 0.9 * limit
