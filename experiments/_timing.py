"""Candidates timed in turns, and the table of what comes out."""

import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from unlearn import devices


class Candidate(NamedTuple):
    name: str
    run: Callable[[], object]  # does the work and waits for its end
    examples: int  # in one call of `run`
    compile_seconds: float | None = None
    target: float | None = None  # how many times as fast as this our own should be


class Row(NamedTuple):
    comparison: str
    candidate: str
    value: float
    unit: str
    ratio: float | None = None  # our own speed over this one's
    target: str = ""
    compile_seconds: float | None = None


def alternate(comparison: str, candidates: list[Candidate], rounds: int) -> list[Row]:
    """Runs the candidates in turns; the first one is our own."""
    seconds = {candidate.name: [] for candidate in candidates}
    for candidate in candidates:
        candidate.run()  # warm-up
    for _ in range(rounds):
        for candidate in candidates:
            started = time.perf_counter()
            candidate.run()
            took = time.perf_counter() - started
            seconds[candidate.name].append(took / candidate.examples)
    ours = seconds[candidates[0].name]
    rows = []
    for candidate in candidates:
        theirs = seconds[candidate.name]
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            Row(
                comparison,
                candidate.name,
                1 / statistics.median(theirs),
                "examples/s",
                statistics.median(ratios),
                f">= {candidate.target}" if candidate.target else "",
                candidate.compile_seconds,
            )
        )
    return rows


def compiled(fn, *args):
    """Compiles without the cache: `(executable, seconds)`, tracing included."""
    cache = jax.config.jax_enable_compilation_cache  # ty: ignore[missing-attribute]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        started = time.perf_counter()
        executable = jax.jit(fn).lower(*args).compile()
        return executable, time.perf_counter() - started
    finally:
        jax.config.update("jax_enable_compilation_cache", cache)


def line(row: Row) -> str:
    cells = [row.comparison, row.candidate, number(row.value), row.unit]
    if row.ratio is not None:
        cells.append(f"ratio {row.ratio:.2f}")
    return "  ".join([*cells, row.target])


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def markdown(rows: list[Row], torch_settings: str) -> str:
    """Returns the table, with a line on the machine and its settings."""
    head = "| comparison | candidate | value | ours is × | target | compile, s |"
    lines = [head, "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells = (
            row.comparison,
            row.candidate,
            f"{number(row.value)} {row.unit}",
            ratio,
            row.target,
            number(row.compile_seconds),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", settings(torch_settings), ""])


def machine(facts: dict) -> str:
    """Names the devices: `1 × NVIDIA H200 (gpu)`; of a CPU, its model."""
    name, path = facts["device"], Path("/proc/cpuinfo")
    if facts["backend"] == "cpu" and path.is_file():
        found = re.search(r"model name\s*: (.+)", path.read_text())
        name = found[1].strip() if found else platform.machine()
    return f"{facts['devices']} × {name} ({facts['backend']})"


def settings(torch_settings: str) -> str:
    """Returns the versions, the machine and what was set, in a line."""
    facts = devices.describe()
    versions = facts["versions"]
    return (
        f"jax {versions['jax']}, flax {versions['flax']}, {machine(facts)}, "
        f"{facts['cpus']} cores, XLA_FLAGS '{facts['xla_flags']}', float32 if nothing "
        f"else is said. {torch_settings}"
    )
