"""Lines of progress for people: one that changes on a terminal, few in a log."""

import sys
import time


class Progress:
    """`say` prints a line that stays; `tick` shows what is going on now.

    On a terminal a tick replaces the one before; elsewhere at most one every ten
    seconds is printed.
    """

    def __init__(self, stream=None, every: float = 10.0):
        self.stream = stream or sys.stdout
        self.every, self.last = every, time.monotonic()
        self.live = self.stream.isatty()

    def say(self, text: str) -> None:
        self._clear()
        print(text, file=self.stream, flush=True)
        self.last = time.monotonic()

    def tick(self, text: str) -> None:
        if self.live:
            self._clear()
            print(text, end="", file=self.stream, flush=True)
        elif time.monotonic() - self.last > self.every:
            self.say(text)

    def _clear(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=self.stream)
