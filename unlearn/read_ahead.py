"""Batches that are read from their file while the last one computes.

A program says which batches it is going to ask for (`expect`), and asks for each
(`take`). What it says is a hint: a batch that nobody expected is read as it is asked
for, and one that is not asked for is forgotten.
"""

import contextlib
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

AHEAD = 2  # batches of an order that are read or being read
ORDERS = 16  # that are remembered: those that went on last

Read = Callable[[np.ndarray], np.ndarray]


class _Order:
    """Batches one after another, the first of which are being read."""

    def __init__(self, of: Hashable, numbers: np.ndarray, read: Read):
        self.of, self.numbers, self.read = of, numbers, read
        self.taken = 0
        self.started: list[Future] = []
        self.start()

    def __len__(self) -> int:
        return self.numbers.shape[-2]

    def batch(self, step: int) -> np.ndarray:
        return self.numbers[..., step, :]

    def is_next(self, of: Hashable, numbers: np.ndarray) -> bool:
        return self.of == of and np.array_equal(self.batch(self.taken), numbers)

    def start(self) -> None:
        """Starts to read so many of the batches that come next."""
        first = self.taken + len(self.started)
        with contextlib.suppress(RuntimeError):  # the interpreter is about to end
            for step in range(first, min(self.taken + AHEAD, len(self))):
                self.started.append(_readers.submit(self.read, self.batch(step)))

    def take(self) -> Future:
        self.taken += 1
        found = self.started.pop(0)
        self.start()
        return found


_readers = ThreadPoolExecutor(AHEAD, "read-ahead")
_orders: list[_Order] = []
_lock = threading.Lock()


def expect(of: Hashable, numbers: np.ndarray, read: Read) -> None:
    """Says that batches of row numbers int[..., S, B] follow each other.

    Args:
      of: what is read, such as its files.
      read: reads the rows of one of them, int[..., B].
    """
    if not numbers.size:
        return
    with _lock:
        _orders.append(_Order(of, numbers, read))
        del _orders[:-ORDERS]


def take(of: Hashable, numbers: np.ndarray) -> np.ndarray | None:
    """Returns the rows of a batch that comes next in an order; None if in none.

    Raises:
      Exception: what `read` raised.
    """
    with _lock:
        order = next((one for one in _orders if one.is_next(of, numbers)), None)
        if order is None:
            return None
        _orders.remove(order)
        if not order.started:
            return None
        found = order.take()
        if order.taken < len(order):
            _orders.append(order)
    return found.result()
