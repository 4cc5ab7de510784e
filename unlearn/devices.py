"""The process's devices: what they are, how they are set up, and their compiler."""

import collections
import gc
import importlib.metadata
import importlib.util
import mmap
import os
import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jax

from unlearn import caches, compile_cache, spread
from unlearn.errors import InputError

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

# The CPU backend of some jaxlib versions hands convolutions one by one to a library
# that is up to three times slower at our kernel gradients than XLA itself.
FLAG, VALUE = "xla_cpu_experimental_ynn_fusion_type", "individual_convolution"


# XLA's programs for a GPU are chosen by timing them, and add in any order: other bits
# in each process, unless it is told otherwise before it starts.
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def setup(cache_dir: str | Path | None = None, *, deterministic: bool = False) -> None:
    """Sets the process up; call it once, before the first JAX operation.

    It turns the compilation cache on (`compile_cache`). On the CPU it also sets the
    compiler flag that helps and makes a device of every core, for `map_models`.

    Args:
      cache_dir: by default `~/.cache/unlearn/xla`. A cache that the user configured
        (JAX_COMPILATION_CACHE_DIR) is used as it is: not checked, never pruned.
      deterministic: on a GPU, the same bits in each process, at some speed.
    """
    if cache_dir is not None or _configured("jax_compilation_cache_dir") is None:
        folder = Path(cache_dir).expanduser() if cache_dir else caches.folder("xla")
        if folder is not None:
            compile_cache.enable(folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    flags = os.environ.get("XLA_FLAGS", "")
    if not _runs_on_cpu():
        if deterministic and "xla_gpu_deterministic_ops" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}".strip()
        return
    if FLAG not in flags and _compiler_knows_flag():
        os.environ["XLA_FLAGS"] = f"{flags} --{FLAG}=-{VALUE}".strip()
    if "xla_force_host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", cores())


def _configured(name: str) -> Any:
    """Reads an option of JAX; its annotations name none of them."""
    return getattr(jax.config, name)


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _runs_on_cpu() -> bool:
    """Whether the backend will be the CPU: flags are read when it starts, so it cannot
    be asked. With an accelerator's plugin installed only JAX_PLATFORMS=cpu says so."""
    platforms = _configured("jax_platforms")
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
    spec = importlib.util.find_spec("jaxlib")
    assert spec and spec.origin
    library = Path(spec.origin).parent / "libjax_common.so"
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


def check_backend() -> None:
    """Starts the backend.

    Raises:
      InputError: it does not start, as JAX_PLATFORMS=cuda without a GPU.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        platforms = _configured("jax_platforms")
        what = f"JAX_PLATFORMS={platforms}" if platforms else "JAX"
        lines = str(error).strip().splitlines() or ["no such backend is installed"]
        raise InputError(
            f"{what} does not start ({lines[0][:200]}): set JAX_PLATFORMS=cpu, or "
            "install the jax that fits the accelerator"
        ) from error


def check_deterministic() -> None:
    """Checks that the same program gives the same bits in each process.

    Raises:
      InputError: the backend is a GPU's, and was not told to.
    """
    told = DETERMINISTIC in os.environ.get("XLA_FLAGS", "")
    if jax.default_backend() == "gpu" and not told:
        raise InputError(
            "on a GPU each process computes other bits, so nothing could be verified: "
            f"set XLA_FLAGS={DETERMINISTIC} before JAX starts"
        )


def describe() -> dict:
    """Describes versions, backend and devices, for a run's manifest.

    Raises:
      InputError: the backend does not start.
    """
    check_backend()
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


EXECUTABLES = 256
"""Compiled programs that are kept in memory; those used last."""

MOST_MAPPINGS = 30_000
"""Of memory, which a program of the CPU's compiler takes dozens to hundreds of. Linux
ends a process at 65,530 of them, and those of the programs that still run remain."""

_executables: collections.OrderedDict[Any, Future] = collections.OrderedDict()
_lock = threading.Lock()


def compiled(fn: Callable, *args: Any) -> tuple[Callable, float]:
    """Compiles `fn` for such arguments, unless that was done before.

    Args:
      fn: a pure function; the same object again, to be found. What it closes over
        lives as long as its program is kept.
      args: trees of arrays or of `jax.ShapeDtypeStruct`s; only shapes and dtypes count.

    If one of them lies on every device of a mesh (`spread`), all are put there, and so
    are the results. Threads may ask for the same program: one of them compiles it.

    Returns:
      `(executable, seconds)`: the seconds spent compiling, or waiting for another
      thread that does; 0 if done before.
    """
    started = time.perf_counter()
    leaves, structure = jax.tree.flatten(args)
    mesh = spread.mesh_of(args)
    signature = fn, structure, tuple(jax.typeof(leaf) for leaf in leaves), mesh
    with _lock:
        known = _executables.get(signature)
        program = known or _executables.setdefault(signature, Future())
        _executables.move_to_end(signature)
        if len(_executables) > EXECUTABLES:
            _executables.popitem(last=False)
    if known:
        waits = not known.done()
        return known.result(), time.perf_counter() - started if waits else 0.0
    try:
        make_room()
        if mesh is None:
            executable = jax.jit(fn).lower(*args).compile()
        else:
            executable = _on_mesh(fn, mesh, args)
    except BaseException as error:
        with _lock:
            _executables.pop(signature, None)
        program.set_exception(error)
        raise
    program.set_result(executable)
    return executable, time.perf_counter() - started


def make_room(most: int = 0) -> None:
    """Forgets the programs that are there, if they are near to what Linux allows.

    Args:
      most: mappings that may stay; 0: `MOST_MAPPINGS`.
    """
    maps = Path("/proc/self/maps")
    most = most or MOST_MAPPINGS
    if not maps.exists() or maps.read_bytes().count(b"\n") < most:
        return
    with _lock:
        for signature in [s for s, program in _executables.items() if program.done()]:
            del _executables[signature]
    jax.clear_caches()
    gc.collect()


def _on_mesh(fn: Callable, mesh: jax.sharding.Mesh, args: tuple) -> Callable:
    """Compiles `fn` for arguments and results that every device of a mesh has."""
    everywhere = spread.on_each(mesh)
    program = jax.jit(fn, in_shardings=everywhere, out_shardings=everywhere)
    executable = program.lower(*args).compile()

    def call(*args):
        return executable(*spread.replicate(args, mesh))

    call.as_text = executable.as_text  # ty: ignore[missing-attribute]
    call.memory_analysis = executable.memory_analysis  # ty: ignore[missing-attribute]
    return call
