"""Several processes, each with devices of its own, that do the work of one.

All of them run the same program in the same order, and `jax.distributed` connects them:
it finds the others on a TPU pod and under SLURM, elsewhere it is told. Batches and
models are spread over the devices of all (`spread`, `parallel`); what comes out is on
each of them. A process that ends takes the others with it.
"""

import os
import re
import warnings

import jax
import numpy as np

from unlearn.errors import InputError, first_line

SILENCE = 30  # seconds after which a process that says nothing counts as dead
PATIENCE = 3600  # seconds: the longest that one waits for another at the end


def are_many() -> bool:
    """Says whether this process is one of several."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Says whether this is the process that writes."""
    return jax.process_index() == 0


def are_found() -> bool:
    """Says whether a TPU pod or a step of SLURM starts several of this process.

    Raises:
      InputError: SLURM_STEP_NUM_TASKS is no number.
    """
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or "1"
    if not tasks.isdecimal():
        raise InputError(
            f"the environment variable SLURM_STEP_NUM_TASKS must be a number; it is "
            f"{tasks!r}: unset it, or give --nodistributed"
        )
    return int(tasks) > 1 or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def start(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    patience: int = 300,
) -> None:
    """Connects this process to the others; call it before the first JAX operation.

    Without arguments a TPU pod or SLURM says who they are.

    Args:
      coordinator: `host:port` of process 0, where it can be reached by all.
      processes: how many there are.
      process: which one this is, from 0.
      patience: seconds to wait for the others.

    Raises:
      InputError: arguments that make no sense, or the others are not found.
    """
    if coordinator is not None and processes is not None and process is not None:
        _check(coordinator, processes, process)
    elif (coordinator, processes, process) != (None, None, None):
        raise InputError(
            "several processes need --coordinator=HOST:PORT, --processes=N and "
            "--process=I (0 to N-1) on each of them"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM ends
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax.distributed.initialize(
                coordinator,
                processes,
                process,
                initialization_timeout=patience,
                heartbeat_timeout_seconds=SILENCE,
                shutdown_timeout_seconds=PATIENCE,
            )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the other processes are not found ({first_line(error)}): start all of "
            "them with the same --coordinator=HOST:PORT and --processes=N"
        ) from error


def _check(coordinator: str, processes: int, process: int) -> None:
    port = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^:\s]+):([0-9]{1,5})", coordinator)
    if not port or not 0 < int(port[1]) < 65536:
        raise InputError(
            f"--coordinator={coordinator}: give the host and a free port of process 0, "
            "such as 10.0.0.1:1234"
        )
    if processes < 1 or not 0 <= process < processes:
        raise InputError(
            f"--process={process} of --processes={processes}: they are numbered 0 to "
            "N-1"
        )


def from_first(data: bytes) -> bytes:
    """Returns what process 0 gave, on every process."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.int32(len(data))))
    mine = np.frombuffer(data, np.uint8) if is_first() else np.zeros(size, np.uint8)
    return np.asarray(broadcast_one_to_all(mine)).astype(np.uint8).tobytes()


def end() -> None:
    """Waits until all processes have come this far, and disconnects."""
    if are_many():
        jax.distributed.shutdown()
