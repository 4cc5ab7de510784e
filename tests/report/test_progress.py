"""Lines of progress and the estimate of the time that is left, by a clock of ours."""

import io
import math
import random

import pytest

from unlearn.report.progress import Estimate, Progress, about

PLAN = [("original", 30), ("retrain", 30), ("ssd", 1), ("scrub", 5)]
SECONDS = {"original": 60.0, "retrain": 55.0, "ssd": 2.0, "scrub": 20.0}


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make_progress(stream=None):
    clock = Clock()
    return Progress(stream or io.StringIO(), clock=clock), clock


# Estimate


def test_nothing_is_known_before_anything_is_measured():
    assert math.isnan(Estimate(PLAN).remaining())
    assert math.isnan(Estimate(PLAN).remaining("original", 7.0))
    assert Estimate([]).remaining() == 0


def test_weights_count_until_a_stage_is_measured():
    estimate = Estimate(PLAN)
    estimate.finish("original", 60.0)
    assert estimate.remaining() == pytest.approx(2 * 36)
    estimate.finish("retrain", 30.0)  # 90 s for a weight of 60
    assert estimate.remaining() == pytest.approx(1.5 * 6)


def test_after_the_first_seed_the_estimate_is_what_was_measured():
    estimate = Estimate(PLAN * 3)
    for stage, seconds in SECONDS.items():
        estimate.finish(stage, seconds)
    assert estimate.remaining() == pytest.approx(2 * sum(SECONDS.values()))
    estimate.finish("original", 40.0)  # not compiled again: all others are like it
    left = 40.0 + 2 * (sum(SECONDS.values()) - 60.0)
    assert estimate.remaining() == pytest.approx(left)
    for stage in [*list(SECONDS)[1:], *SECONDS]:
        estimate.finish(stage, 1.0)
    assert estimate.remaining() == 0


def test_the_stage_that_goes_on_counts_by_what_is_left_of_it():
    estimate = Estimate(PLAN)
    estimate.finish("original", 60.0)
    assert estimate.remaining("retrain", 15.0) == pytest.approx(45 + 12)
    assert estimate.remaining("retrain", 99.0) == pytest.approx(12)  # late, never < 0
    assert estimate.remaining("retrain", 15.0, 100.0) == pytest.approx(
        85 + 6 * 160 / 60
    )
    assert Estimate(PLAN).remaining("original", 10.0, 60.0) == pytest.approx(50 + 72)


def test_what_is_there_already_takes_no_time_and_teaches_nothing():
    estimate = Estimate(PLAN * 2)
    estimate.finish("original", None)
    assert math.isnan(estimate.remaining())
    estimate.finish("retrain", 30.0)
    assert estimate.remaining() == pytest.approx(30 + 30 + 2 * 6)
    estimate.finish("not in the plan", 5.0)
    assert estimate.remaining() == pytest.approx(30 + 30 + 2 * 6)


def test_unequal_seconds_a_weight_are_learnt():
    """Within a seed by weights, within 10 % from the second seed on."""
    rng = random.Random(0)
    estimate, truth = Estimate(PLAN * 5), []
    for seed in range(5):
        for stage, seconds in SECONDS.items():
            compiling = 10.0 if seed == 0 else 0.0
            truth.append((stage, seconds * rng.uniform(0.95, 1.05) + compiling))
    left = sum(seconds for _, seconds in truth)
    for i, (stage, seconds) in enumerate(truth):
        estimate.finish(stage, seconds)
        left -= seconds
        if 8 <= i < 19:
            assert estimate.remaining() == pytest.approx(left, rel=0.1)
    assert estimate.remaining() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (math.nan, ""),
        (0.0, "a few s"),
        (9.9, "a few s"),
        (12, "about 10 s"),
        (89, "about 90 s"),
        (100, "about 2 min"),
        (240, "about 4 min"),
        (89 * 60, "about 89 min"),
        (90 * 60, "about 1 h 30 min"),
        (2 * 3600, "about 2 h"),
        (119 * 60, "about 2 h"),
        (20 * 3600, "about 20 h"),
        (5 * 86400, "about 5 days"),
    ],
)
def test_durations_are_as_rough_as_they_are_known(seconds, text):
    assert about(seconds) == text


# Lines


def test_without_a_plan_there_is_no_estimate():
    progress, clock = make_progress()
    clock.now = 11
    progress.tick("seed 1/5  original  epoch 3/30")
    progress.say("done")
    assert progress.stream.getvalue() == "seed 1/5  original  epoch 3/30\ndone\n"


def test_ticks_say_what_is_left_and_said_lines_do_not():
    progress, clock = make_progress()
    progress.expect(PLAN * 5)
    with progress.stage("original"):
        clock.now = 12  # compilation
        progress.tick("epoch 1/30", share=1 / 30)
        clock.now = 14
        progress.tick("epoch 2/30", share=2 / 30)
        clock.now = 25
        progress.tick("epoch 3/30", share=3 / 30)
        progress.say("a line")
        clock.now = 70
    clock.now = 81
    progress.tick("seed 1/5  retrain")
    first, announced, third, said, last = progress.stream.getvalue().splitlines()
    assert first == "epoch 1/30"
    # 12 s, then 2 s an epoch: 70 s for a weight of 30, of which 14 are over
    assert announced == "This will take about 13 min."
    assert third.startswith("epoch 3/30  (about ") and third.endswith(" left)")
    assert said == "a line"
    expected = (5 * 66 - 30) * 70 / 30
    assert last == f"seed 1/5  retrain  ({about(expected)} left)"


def test_what_is_foreseen_holds_until_ticks_tell():
    progress, clock = make_progress()
    progress.expect([("original", 30), ("retrain", 30)])
    assert progress.wonders
    with progress.stage("original"):
        progress.foresee(math.nan)
        assert progress.wonders and not progress.stream.getvalue()
        progress.foresee(120.0)
        assert not progress.wonders
        assert progress.stream.getvalue() == "This will take about 4 min.\n"
        clock.now += 10
        progress.tick("epoch 1", share=0.1)
        assert progress.remaining() == pytest.approx(230)
        clock.now += 30
        progress.tick("epoch 2", share=0.2)
        assert progress.remaining() == pytest.approx(240 + 280)
    assert progress.stream.getvalue().count("This will take") == 1


def test_the_estimate_of_a_short_run_has_no_line_of_its_own():
    progress, clock = make_progress()
    progress.expect(PLAN)
    with progress.stage("original"):
        clock.now = 1
    progress.tick("retrain")
    assert progress.stream.getvalue() == ""


def test_a_stage_that_fails_is_off_the_plan():
    progress, clock = make_progress()
    progress.expect([("a", 1), ("b", 1)])
    with pytest.raises(ValueError), progress.stage("a"):
        clock.now = 5
        raise ValueError
    assert progress.remaining() == pytest.approx(5)
    with progress.stage("b", measured=False):
        clock.now = 6
    assert progress.remaining() == 0


def test_a_terminal_has_one_line_that_changes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    progress, _ = make_progress(Terminal())
    progress.tick("one")
    progress.tick("x" * 100)
    progress.say("said")
    clear = "\r\x1b[K"
    expected = f"{clear}one{clear}{'x' * 39}{clear}said\n"
    assert progress.stream.getvalue() == expected


def test_an_ascii_terminal_gets_escapes():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    progress = Progress(stream)
    progress.say("Everything is in runs/caf\u00e9 \udcff \u2713")
    stream.seek(0)
    assert stream.read() == "Everything is in runs/caf\\xe9 \\xff \\u2713\n"


def test_a_full_disk_is_an_error_of_the_system():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Progress(Full()).say("a line")


def test_nothing_is_said_where_nothing_is_expected():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, every=0.0, clock=clock)
    progress.expect([("a", 1.0)])
    progress.expect(None)
    clock.now += 10
    progress.tick("working", share=0.5)
    assert stream.getvalue() == "working\n" and math.isnan(progress.remaining())
