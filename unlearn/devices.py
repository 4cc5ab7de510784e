"""The process's devices: compilation cache, compiler flags, and what they are."""

import importlib.metadata
import importlib.util
import mmap
import os
from pathlib import Path

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
CACHE = "~/.cache/unlearn/xla"

# The CPU backend of some jaxlib versions hands convolutions one by one to a library
# that is up to three times slower at our kernel gradients than XLA itself.
FLAG, VALUE = "xla_cpu_experimental_ynn_fusion_type", "individual_convolution"


def setup(cache_dir: str | Path | None = None) -> None:
    """Turns the compilation cache on and, on the CPU, sets the flag that helps.

    Call it once, before the first JAX operation. `cache_dir` is by default
    `~/.cache/unlearn/xla`; a cache that the user configured stays as it is.
    """
    if cache_dir is not None or jax.config.jax_compilation_cache_dir is None:
        path = Path(cache_dir or CACHE).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG not in flags and _runs_on_cpu() and _compiler_knows_flag():
        os.environ["XLA_FLAGS"] = f"{flags} --{FLAG}=-{VALUE}".strip()


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
        "versions": {name: _version(name) for name in PACKAGES},
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
