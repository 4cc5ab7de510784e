"""Work on one item after another, in several threads."""

import collections
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

AHEAD = 2  # tasks a thread: one is worked on, and one waits
TASK = 0.01  # seconds that a task should take: shorter ones cost more than they save
MOST = 64  # items a task

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Done(NamedTuple):
    """What became of the items of a task."""

    results: list
    error: Exception | None  # of the item after these
    seconds: float


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields `work(item)` of each item, in their order, from a thread a core.

    Only a few items are taken ahead, more of them if they are quick. The first error,
    in the order of the items, is raised in place of its result.
    """
    workers, size, items = _cores(), 1, iter(items)
    waiting: collections.deque[Future[_Done]] = collections.deque()
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while len(waiting) < AHEAD * workers:
                some = list(itertools.islice(items, size))
                if not some:
                    break
                waiting.append(pool.submit(_do, work, some))
            if not waiting:
                return
            done = waiting.popleft().result()
            yield from done.results
            if done.error:
                raise done.error
            size = _next_size(size, done)


def _do(work, items) -> _Done:
    started, results, error = time.perf_counter(), [], None
    try:
        for item in items:
            results.append(work(item))
    except Exception as caught:
        error = caught
    return _Done(results, error, time.perf_counter() - started)


def _next_size(size: int, done: _Done) -> int:
    """Returns how many items to take next, by how long the last ones took."""
    fitting = TASK / max(done.seconds / len(done.results), 1e-9)
    return min(2 * size, MOST, max(1, int(fitting)))


def _cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
