"""Lines of progress for people, with an estimate of the time that is left.

progress = Progress()
progress.expect([("original", 30), ("retrain", 30), ("ssd", 1)] * seeds)
with progress.stage("original"):
    progress.tick("seed 1/5  original  epoch 3/30", share=3 / 30)
progress.say("seed 1/5  original  test 97.2 %")
"""

import contextlib
import math
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterable
from statistics import fmean
from typing import TextIO

from unlearn.report.text import encodable

LONG = 60.0  # seconds from which a run is worth an estimate of its own line


class Estimate:
    """Seconds that the stages of a plan will take, from those that were measured.

    A plan is `[(stage, weight), ...]`, a stage as often as it comes, such as once a
    seed; weights are relative work (epochs times examples), wrong by any factor that
    all share. What was measured counts before weights: a stage that comes again is
    expected to take its own mean, without its first time if it was measured more than
    once, since that includes compilation. One never measured takes its weight times the
    seconds a weight of those that were.
    """

    def __init__(self, plan: Iterable[tuple[str, float]]):
        self.left: dict[str, int] = {}
        self.weights: dict[str, float] = {}
        self.measured: dict[str, list[float]] = {}
        for stage, weight in plan:
            self.left[stage] = self.left.get(stage, 0) + 1
            self.weights[stage] = max(float(weight), 0.0)

    def finish(self, stage: str, seconds: float | None) -> None:
        """Takes a stage off the plan; `seconds` None: it was there already."""
        if self.left.get(stage):
            self.left[stage] -= 1
        if seconds is not None and stage in self.weights:
            self.measured.setdefault(stage, []).append(seconds)

    def expected(self, stage: str, current: tuple[str, float] | None = None) -> float:
        """Estimates the seconds of a whole stage; NaN if nothing is known.

        `current`: a stage that is not over, and what it is thought to take.
        """
        seconds = self.measured.get(stage, [])
        if seconds:
            return fmean(seconds[1:] or seconds)
        known = {s: fmean(of[1:] or of) for s, of in self.measured.items()}
        if current is not None:
            known.setdefault(*current)
        work = sum(self.weights.get(s, 0.0) for s in known)
        if stage in known:
            return known[stage]
        return sum(known.values()) / work * self.weights[stage] if work else math.nan

    def remaining(
        self,
        stage: str | None = None,
        elapsed: float = 0.0,
        duration: float | None = None,
    ) -> float:
        """Estimates the seconds until the plan is done; NaN while nothing is known.

        Args:
          stage: the one that is going on.
          elapsed: seconds since it began.
          duration: what it is thought to take in all, from its own ticks.
        """
        current = None if stage is None or duration is None else (stage, duration)
        total = sum(
            count * self.expected(one, current)
            for one, count in self.left.items()
            if count
        )
        if stage is not None and self.left.get(stage):
            own = self.expected(stage) if duration is None else duration
            total -= self.expected(stage, current) - max(own - elapsed, 0.0)
        return total


def about(seconds: float) -> str:
    """Writes a duration as roughly as it is known: `about 4 min`; empty for NaN."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 10:
        return "a few s"
    if seconds < 90:
        return f"about {10 * round(seconds / 10)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} min"
    hours, minutes = divmod(10 * round(seconds / 600), 60)
    if hours < 10:
        return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"
    if hours < 48:
        return f"about {round(seconds / 3600)} h"
    return f"about {round(seconds / 86400)} days"


class Progress:
    """Prints lines: `say` one that stays, `tick` what is going on now.

    On a terminal a tick replaces the one before; elsewhere at most one every `every`
    seconds is printed. After `expect`, ticks end with the time that is left, and the
    first estimate of a long run has a line of its own. What the stream's encoding does
    not have is written as escapes; a stream that fails raises its `OSError`.

    Args:
      stream: by default standard output.
      every: seconds between two ticks of a log.
      clock: seconds, rising.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.stream = sys.stdout if stream is None else stream
        self.every, self.clock, self.last = every, clock, clock()
        self.live = self.stream.isatty()
        self.estimate: Estimate | None = None
        self.announced = False
        self.current: str | None = None
        self.began = self.last
        self.first: tuple[float, float] | None = None
        self.latest: tuple[float, float] | None = None
        self.foreseen: float | None = None

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._clear()
        self._print(text, "\n")
        self.last = self.clock()

    def tick(self, text: str, share: float | None = None) -> None:
        """Shows what is going on, and how long the run still takes.

        `share`: how much of the current stage is done, in [0, 1], if that is known.
        """
        if share is not None:
            self.latest = self.clock(), share
            self.first = self.first or self.latest
        left = self.remaining()
        self._announce(left)
        if math.isfinite(left):
            text = f"{text}  ({about(left)} left)"
        if self.live:
            self._clear()
            columns = shutil.get_terminal_size().columns
            self._print(text[: max(columns - 1, 20)], "")
        elif self.clock() - self.last > self.every:
            self.say(text)

    def expect(self, plan: Iterable[tuple[str, float]] | None) -> None:
        """Tells what is still to be done: `(stage, weight)`, see `Estimate`.

        None: it is not known, so that nothing is said of the time that is left.
        """
        self.estimate = None if plan is None else Estimate(plan)
        self.announced = False

    @contextlib.contextmanager
    def stage(self, name: str, measured: bool = True) -> Generator[None]:
        """Times a stage of the plan; ticks inside of it are about it.

        `measured`: false if nothing is computed, as for what is read from the folder.
        """
        self.current, self.began = name, self.clock()
        self.first = self.latest = self.foreseen = None
        try:
            yield
        finally:
            if self.estimate is not None:
                seconds = self.clock() - self.began if measured else None
                self.estimate.finish(name, seconds)
            self.current = None

    @property
    def wonders(self) -> bool:
        """Says whether there is a plan, and nothing is known of what it takes."""
        return self.estimate is not None and math.isnan(self.remaining())

    def foresee(self, seconds: float) -> None:
        """Takes what the current stage will need, until its ticks tell; NaN: unknown.

        The first estimate of a long run is then said before anything long has run.
        """
        if math.isfinite(seconds):
            self.foreseen = seconds
            self._announce(self.remaining())

    def remaining(self) -> float:
        """Estimates what is left of the plan; NaN if there is none, or it is open."""
        if self.estimate is None:
            return math.nan
        elapsed = self.clock() - self.began if self.current else 0.0
        return self.estimate.remaining(self.current, elapsed, self._duration())

    def _duration(self) -> float | None:
        """Seconds of the current stage, by what its ticks did since the first one.

        So what came before that, compilation, is not multiplied.
        """
        if self.first is None or self.latest is None:
            return self.foreseen
        (since, before), (until, share) = self.first, self.latest
        if share <= before or until <= since:
            return self.foreseen
        rate = (share - before) / (until - since)
        return until - self.began + max(1 - share, 0.0) / rate

    def _announce(self, left) -> None:
        if not self.announced and math.isfinite(left):
            self.announced = True
            if left >= LONG:
                self.say(f"This will take {about(left)}.")

    def _clear(self) -> None:
        if self.live:
            self._print("\r\x1b[K", "")

    def _print(self, text, end) -> None:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        print(encodable(text, encoding), end=end, file=self.stream, flush=True)
