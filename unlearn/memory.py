"""What a compiled program takes of a device's memory, and what there is."""

import os
from collections.abc import Callable
from pathlib import Path

import jax

from unlearn.errors import InputError

SHARE = 0.95  # of what there is: the rest is the allocator's
TRAINING = "lower train.batch_size or raise train.parts"  # where it does not fit


def limit() -> int:
    """Returns the bytes of a device's memory: of a CPU, those of the machine."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if stats.get("bytes_limit"):
        return stats["bytes_limit"]
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = Path("/sys/fs/cgroup/memory.max")
    text = allowed.read_text().strip() if allowed.is_file() else ""
    return min(there, int(text)) if text.isdigit() else there


def needed(program: Callable) -> int:
    """Returns the bytes that a compiled program takes on a device, 0 if unknown."""
    sizes = program.memory_analysis()  # ty: ignore[missing-attribute]
    if sizes is None:
        return 0
    return (
        sizes.temp_size_in_bytes
        + sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
    )


def fits(program: Callable, share: float = SHARE) -> bool:
    """Says whether a compiled program fits a device."""
    return needed(program) < share * limit()


def check(program: Callable, what: str, advice: str = TRAINING) -> str:
    """Checks, before it runs, that a compiled program fits a device.

    Args:
      what: it does, for the message.
      advice: what to change, beside the model.

    Returns: a line about what it takes; "" if that is less than a gibibyte.

    Raises:
      InputError: it does not fit.
    """
    takes = f"{what} takes {in_gib(needed(program))} of a device's {in_gib(limit())}"
    if not fits(program):
        raise InputError(
            f"{takes}: {advice}, set model.dtype=bfloat16 or the net's remat=True, or "
            "use a smaller model"
        )
    return takes if needed(program) >= 2**30 else ""


def in_gib(size: int) -> str:
    """Writes bytes in gibibytes."""
    return f"{size / 2**30:.1f} GiB"
