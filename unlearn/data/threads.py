"""Work on one item after another, in several threads."""

import collections
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from unlearn import devices

AHEAD = 2  # tasks a thread: one is worked on, and one waits
TASK = 0.01  # seconds of a core that a task should take; shorter ones do not pay
MOST = 64  # items a task
WORKERS = 8  # at most: each may hold an image as it was before it became smaller
QUICK = 4e-4  # seconds of a core an item; below it threads wait for Python's lock

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Done(NamedTuple):
    """What became of the items of a task."""

    results: list
    error: Exception | None  # of the item after these
    seconds: float  # of a core, without what others or waiting took


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields `work(item)` of each item, in their order, from a thread a core.

    There are eight threads at most. Only a few items are taken ahead; quick ones are
    worked on by one thread at a time. The first error, in the order of the items, is
    raised in place of its result.
    """
    workers, size, items = min(WORKERS, devices.cores()), 1, iter(items)
    tasks = AHEAD * workers
    waiting: collections.deque[Future[_Done]] = collections.deque()
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while len(waiting) < tasks:
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
            taken = done.seconds / len(done.results)
            size = min(2 * size, MOST, max(1, int(TASK / max(taken, 1e-9))))
            tasks = 1 if taken < QUICK else AHEAD * workers


def _do(work, items) -> _Done:
    started, results, error = time.thread_time(), [], None
    try:
        for item in items:
            results.append(work(item))
    except Exception as caught:
        error = caught
    return _Done(results, error, time.thread_time() - started)
