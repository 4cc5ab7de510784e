"""Many models in one compiled program, on all devices.

`map_models` runs a pure function for each of many models: seeds, splits, forget sets,
hyper-parameters.
"""

import collections
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from unlearn import devices, memory, spread
from unlearn.models import layers

MODES = ("vmap", "map")
CHUNK = 16  # models a device, one after another, between two results
VMAP_WEIGHTS = 250_000
SPARE = 0.9  # of a device's memory, for vectorised models: other programs take some


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

    The models are dealt out to all devices of all processes. Where one follows another,
    a program is for a chunk (or a power of two of models a device) and does as many as
    there are: other numbers of models need no other program.

    Args:
      fn: a pure function of one model's arguments and what all models share; it returns
        a tree of arrays. Pass the same function again and nothing is compiled anew.
      models: a tree of arrays with a leading axis of models (keys, variables, indices),
        or of objects that have a shape and a dtype and take indices int[chunk], such as
        arrays on disk.
      shared: trees that every model sees, such as a `Problem`.
      mode: "vmap" or "map"; default: `choose_mode`.
      chunk: models a call of the program; default: 16 a device one after another, all
        of them if vectorised. Vectorised it is at most that many: halved until the
        program fits the devices' memory.
      keep: `keep(first, count, compute) -> results`, called for each chunk in order:
        gives back what an earlier process computed, or stores what `compute()` gives,
        `(results, seconds)` without compilation. If it gives None, since another
        process is at that chunk, it is called again after the others.
      progress: called with the number of models done after each chunk.

    Returns:
      `(results, Mapped)`; the results are numpy arrays with the leading axis.

    Raises:
      ValueError: no models, leading axes that differ, an unknown `mode`, or a problem
        whose batches are spread over devices.
    """
    size, mode = _check(models, shared, mode), mode or choose_mode()
    count_devices = len(jax.devices())
    spent = compiling = 0.0
    each = _most_at_once(size, mode, chunk, count_devices)
    if mode == "vmap":
        each, compiling = _fitting(fn, models, shared, each)
    everywhere = _everywhere(shared)
    chunk, results = each * count_devices, {}
    waiting = collections.deque(range(0, size, chunk))
    while waiting:
        first = waiting.popleft()
        count = min(chunk, size - first)

        def compute(first=first, count=count):
            nonlocal spent, compiling
            executable, seconds = _compiled(fn, models, shared, mode, each)
            compiling += seconds
            numbers, turns, wanted = _deal(first, count, each, count_devices)
            rows = jax.tree.map(lambda leaf: leaf[numbers], models)
            started = time.perf_counter()
            out = spread.gather(executable(*_placed(rows, turns, everywhere)))
            took = time.perf_counter() - started
            spent += took
            return jax.tree.map(lambda x: x[wanted], out), took

        found = keep(first, count, compute) if keep else compute()[0]
        if found is None:
            waiting.append(first)
            continue
        results[first] = found
        if progress:
            progress(min(size, chunk * len(results)))
    in_order = [results[first] for first in sorted(results)]
    results = jax.tree.map(lambda *parts: np.concatenate(parts), *in_order)
    return results, Mapped(mode, count_devices, chunk, compiling, spent)


def prepare(
    fn: Callable,
    models: Any,
    *shared: Any,
    mode: str | None = None,
    chunk: int | None = None,
) -> None:
    """Compiles what `map_models` runs of the same arguments.

    In a thread of its own it costs no time while other models keep the devices busy.

    Args:
      models: as there; of these only shapes and dtypes count, so that variables that
        are still being trained may be `jax.ShapeDtypeStruct`s.

    Raises:
      ValueError: as `map_models`.
    """
    size, mode = _check(models, shared, mode), mode or choose_mode()
    each = _most_at_once(size, mode, chunk, len(jax.devices()))
    if mode == "vmap":
        each, _ = _fitting(fn, models, shared, each)
    _compiled(fn, models, shared, mode, each)


def _check(models, shared, mode) -> int:
    """Returns the number of models."""
    if spread.mesh_of((models, shared)) is not None:
        raise ValueError("models are mapped over devices: give `on_devices(p, None)`")
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(models)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"one leading axis of models is needed; these are {sizes}")
    if mode not in (*MODES, None):
        raise ValueError(f"unknown mode {mode!r}: choose from {', '.join(MODES)}")
    return sizes.pop()


def _most_at_once(size: int, mode: str, chunk: int | None, count: int) -> int:
    """Returns how many models a device gets with a call of the program, at most."""
    needed = -(-size // count)
    if mode == "vmap":
        return min(needed, -(-chunk // count)) if chunk else needed
    if chunk:
        return -(-chunk // count)
    return min(1 << (needed - 1).bit_length(), CHUNK)


def _fitting(fn, models, shared, each) -> tuple[int, float]:
    """Returns how many vectorised models fit a device, and the seconds of compiling."""
    seconds = 0.0
    while each > 1:
        executable, took = _compiled(fn, models, shared, "vmap", each)
        seconds += took
        if memory.fits(executable, SPARE):
            break
        each = -(-each // 2)
    return each, seconds


def _compiled(fn, models, shared, mode, each) -> tuple[Callable, float]:
    """Compiles for `each` models a device; returns the program and the seconds."""
    mesh = _mesh()

    def chunk_of(leaf):
        return jax.ShapeDtypeStruct((each * mesh.size, *leaf.shape[1:]), leaf.dtype)

    turns = jax.ShapeDtypeStruct((mesh.size,), np.int32)
    rows, shared = jax.tree.map(chunk_of, models), jax.tree.map(_shape, shared)
    return devices.compiled(_program(fn, mode, mesh), rows, turns, shared)


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    leaf = jax.typeof(leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=leaf.weak_type)


def _mesh() -> Mesh:
    """Returns all devices of all processes."""
    return Mesh(np.array(jax.devices()), ("models",))


def _everywhere(shared: Any) -> Any:
    """Puts what all models share on the devices of all processes, if there are many."""
    if jax.process_count() == 1:
        return shared
    return spread.put(shared, NamedSharding(_mesh(), PartitionSpec()))


def _placed(rows: Any, turns: np.ndarray, shared: Any) -> tuple:
    """Deals rows out to the devices of all processes, if there are many."""
    if jax.process_count() > 1:
        models = NamedSharding(_mesh(), PartitionSpec("models"))
        rows, turns = spread.put((rows, turns), models)
    return rows, turns, shared


def choose_mode(weights: int = 0) -> str:
    """Chooses the faster mode for models of so many weights.

    "map" on the CPU, where vmapped convolutions cost several times as much. On an H200,
    16 models and batches of 128, "vmap" took 0.95 of the time of "map" with 207
    thousand weights, 1.08 with 289 thousand, 1.6 with 2.3 million and 1.2 with 11
    million: "vmap" for small nets alone (`--experiment=speed --config.parts=modes,`).
    """
    if jax.default_backend() == "cpu" or weights > VMAP_WEIGHTS:
        return "map"
    return "vmap"


@functools.lru_cache(maxsize=devices.EXECUTABLES)
def _program(fn, mode, mesh):
    models, everywhere = PartitionSpec("models"), PartitionSpec()

    def on_a_device(rows, turns, shared):
        def one(row):
            return fn(row, *shared)

        if mode == "map":
            return _in_turn(one, rows, turns[0])
        with layers.many_nets():
            return jax.vmap(one)(rows)

    program = jax.shard_map(
        on_a_device,
        mesh=mesh,
        in_specs=(models, models, everywhere),
        out_specs=models,
        check_vma=False,
    )
    if jax.process_count() == 1:
        return jax.jit(program)
    own, all_of_it = NamedSharding(mesh, models), NamedSharding(mesh, everywhere)
    return jax.jit(program, in_shardings=(own, own, all_of_it))


def _in_turn(one: Callable, rows: Any, turns: jax.Array) -> Any:
    """Computes `one` of the first `turns` rows; what is of the others is zero."""
    one = jax.jit(one, inline=True)  # traced once, for the shapes and for the loop
    first, size = jax.tree.map(lambda x: x[0], rows), len(jax.tree.leaves(rows)[0])
    nothing = jax.tree.map(
        lambda x: jnp.zeros((size, *x.shape), x.dtype), jax.eval_shape(one, first)
    )

    def turn(number, done):
        row = jax.tree.map(
            lambda x: jax.lax.dynamic_index_in_dim(x, number, keepdims=False), rows
        )
        return jax.tree.map(lambda d, x: d.at[number].set(x), done, one(row))

    return jax.lax.fori_loop(0, turns, turn, nothing)


def _deal(first: int, count: int, each: int, count_devices: int) -> tuple:
    """Deals models out: the device with most of them has as few as can be.

    Returns: the number of the model at each place int[devices * each] (places left over
    repeat one), how many a device does int32[devices], and the places of the models in
    order int[count].
    """
    turns = -(-count // count_devices)
    device, place = np.divmod(np.arange(count_devices * each), each)
    numbers = first + np.minimum(
        device * turns + np.minimum(place, turns - 1), count - 1
    )
    own = np.clip(count - np.arange(count_devices) * turns, 0, turns).astype(np.int32)
    device, place = np.divmod(np.arange(count), turns)
    return numbers, own, device * each + place
