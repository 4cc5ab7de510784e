"""Many models in one compiled program, on all devices.

`map_models` runs a pure function for each of many models: seeds, splits, forget sets,
hyper-parameters.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from unlearn import devices, spread

MODES = ("vmap", "map")
CHUNK = 16  # models a device, one after another, between two results
VMAP_WEIGHTS = 5_000_000


class Mapped(NamedTuple):
    """How `map_models` did it."""

    mode: str  # vmap: all of a device at once; map: one after another
    devices: int
    chunk: int  # models a call of the program
    compile_seconds: float
    seconds: float  # without compiling, and without the chunks that were kept


def map_models(
    fn: Callable,
    models: Any,
    *shared: Any,
    mode: str | None = None,
    chunk: int | None = None,
    keep: Callable | None = None,
    progress: Callable | None = None,
) -> tuple:
    """Runs `fn(model, *shared)` for each of the models.

    The models are sharded over all devices of the process; the last chunk is filled up
    with copies, which are dropped.

    Args:
      fn: a pure function of one model's arguments and what all models share; it returns
        a tree of arrays. Pass the same function again and nothing is compiled anew.
      models: a tree of arrays with a leading axis of models (keys, variables, indices),
        or of objects that have a length and take indices int[chunk], such as arrays on
        disk.
      shared: trees that every model sees, such as a `Problem`.
      mode: "vmap" or "map"; default: `choose_mode`.
      chunk: models a call of the program; default: 16 a device one after another, all
        of them if vectorised. Vectorised it is at most that many: halved until the
        program fits the devices' memory.
      keep: `keep(first, count, compute) -> results`, called for each chunk in order:
        gives back what an earlier process computed, or stores what `compute()` gives,
        `(results, seconds)` without compilation.
      progress: called with the number of models done after each chunk.

    Returns:
      `(results, Mapped)`; the results are numpy arrays with the leading axis.

    Raises:
      ValueError: no models, leading axes that differ, an unknown `mode`, or a problem
        whose batches are spread over devices.
    """
    if spread.mesh_of((models, shared)) is not None:
        raise ValueError("models are mapped over devices: give `on_devices(p, None)`")
    sizes = {len(leaf) for leaf in jax.tree.leaves(models)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"one leading axis of models is needed; these are {sizes}")
    (size,), local = sizes, jax.local_devices()
    mode = mode or choose_mode()
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: choose from {', '.join(MODES)}")
    program, spent, compiling = _program(fn, mode, len(local)), 0.0, 0.0
    most = -(-size // len(local))
    usual = CHUNK if mode == "map" else most
    each = min(most, -(-chunk // len(local)) if chunk else usual)
    if mode == "vmap":
        while each > 1:
            rows = _rows(models, 0, each * len(local))
            executable, seconds = devices.compiled(program, rows, shared)
            compiling += seconds
            if _fits(executable, local[0]):
                break
            each = -(-each // 2)
    chunk, results = each * len(local), []
    for first in range(0, size, chunk):
        count = min(chunk, size - first)

        def compute(first=first, count=count):
            nonlocal spent, compiling
            rows = _rows(models, first, chunk)
            executable, seconds = devices.compiled(program, rows, shared)
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
    return results, Mapped(mode, len(local), chunk, compiling, spent)


def choose_mode(weights: int = 0) -> str:
    """Chooses the faster mode for models of so many weights.

    "map" on the CPU, where vmapped convolutions cost several times as much; "vmap" on
    an accelerator, unless one model fills it by itself. The first is measured
    (`experiments/speed.py`); the second is not yet.
    """
    if jax.default_backend() == "cpu" or weights > VMAP_WEIGHTS:
        return "map"
    return "vmap"


@functools.lru_cache(maxsize=devices.EXECUTABLES)
def _program(fn, mode, count):
    mesh = Mesh(np.array(jax.local_devices()[:count]), ("models",))
    models, everywhere = PartitionSpec("models"), PartitionSpec()

    def on_a_device(rows, shared):
        def one(row):
            return fn(row, *shared)

        return jax.vmap(one)(rows) if mode == "vmap" else jax.lax.map(one, rows)

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
