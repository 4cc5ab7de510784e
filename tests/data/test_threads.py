"""Work in several threads, whose results come in order."""

import threading
import time

import pytest

from unlearn import devices
from unlearn.data import threads
from unlearn.data.threads import in_order


@pytest.fixture(params=[1, 2, 5])
def cores(request, monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: request.param)
    return request.param


def early_ones_slowly(number):
    time.sleep(0.02 if number % 7 == 0 else 0)
    return number


def test_results_come_in_order(cores):
    assert [*in_order(early_ones_slowly, range(300))] == [*range(300)]
    assert [*in_order(early_ones_slowly, ())] == []


@pytest.mark.parametrize("first", [0, 1, 63, 64, 200])
def test_the_first_error_in_order_is_raised_after_what_comes_before(cores, first):
    def work(number):
        if number == first:
            time.sleep(0.02)  # later ones fail sooner
        if number >= first:
            raise ValueError(number)
        return number

    found = in_order(work, range(300))
    assert [next(found) for _ in range(first)] == [*range(first)]
    with pytest.raises(ValueError, match=f"^{first}$"):
        next(found)


@pytest.mark.parametrize("seconds, most", [(0.0, threads.MOST), (0.02, 1)])
def test_few_are_taken_ahead(cores, seconds, most):
    taken, left = [], []

    def items():
        for number in range(2000 if most > 1 else 40):
            taken.append(number)
            yield number

    def work(number):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return number

    for number in in_order(work, items()):
        left.append(len(taken) - number)
    assert max(left) <= most * (threads.AHEAD * cores + 1)


def test_several_work_at_the_same_time(monkeypatch):
    """Each waits for the other."""
    monkeypatch.setattr(devices, "cores", lambda: 2)
    both = threading.Barrier(2, timeout=20)
    assert len([*in_order(lambda _: both.wait(), range(2))]) == 2


def test_quick_ones_are_left_to_one_thread_at_a_time(cores, monkeypatch):
    """Once it is seen that they are quick."""
    monkeypatch.setattr(threads, "QUICK", 1e9)
    lock, active, seen = threading.Lock(), [], {}

    def work(number):
        with lock:
            active.append(number)
            seen[number] = len(active)
        time.sleep(0.001)
        with lock:
            active.remove(number)
        return number

    assert [*in_order(work, range(100))] == [*range(100)]
    assert all(seen[number] == 1 for number in range(threads.AHEAD * cores, 100))


def test_no_thread_is_left_when_nobody_takes_the_rest(cores):
    before = threading.active_count()
    found = in_order(early_ones_slowly, range(10**6))
    assert next(found) == 0
    found.close()
    assert threading.active_count() == before
