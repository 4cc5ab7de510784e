"""Several that work in one deployment, or look at it, at the same time."""

import os
import subprocess
import sys
import threading

import pytest
from deployments import erase, quiet

from unlearn import requests
from unlearn.errors import InputError
from unlearn.requests import overview
from unlearn.requests.deployment import hold

LOOK = "import sys; from unlearn.store.locks import refuse; refuse(sys.argv[1])"


@pytest.mark.slow
def test_another_thread_is_refused_and_the_first_is_answered(fresh):
    folder, told = fresh("certified"), []
    works = (
        lambda: erase(folder, [4]),
        lambda: requests.verify(folder, progress=quiet()),
    )

    def others():
        for work in works:
            try:
                work()
            except InputError as error:
                told.append(str(error))

    with hold(folder):
        thread = threading.Thread(target=others)
        thread.start()
        thread.join()
        refuse = subprocess.run(
            [sys.executable, "-c", LOOK, str(folder)], capture_output=True, check=False
        )
    assert len(told) == 2 and all("another thread of this process" in x for x in told)
    assert b"is running here" in refuse.stderr  # the lock is still the first one's
    erase(folder, [4])


def test_threads_that_only_add_to_the_queue_wait_for_each_other(fresh):
    folder, failed = fresh("certified"), []

    def add(number):
        try:
            requests.enqueue(folder, [number], reason="consent withdrawn")
        except InputError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(3, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and len(list((folder / "queue").iterdir())) == 6


def test_who_finds_damage_leaves_no_lock_behind(fresh):
    folder = fresh("certified")
    erase(folder, [3])
    path = folder / "ledger.jsonl"
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"consent", b"c0nsent"))
    with pytest.raises(InputError, match="backup") as caught:
        hold(folder)
    path.write_bytes(kept)
    assert caught.tb  # with it a lock that was not released would be held
    hold(folder).release()


def test_files_that_go_away_meanwhile_have_no_size(fresh, monkeypatch):
    folder, real = fresh("certified"), os.walk
    before = overview.size_of(folder)
    assert before == sum(x.stat().st_size for x in folder.rglob("*") if x.is_file())

    def walk(place):
        for at, folders, files in real(place):
            yield at, folders, [*files, "gone"]

    monkeypatch.setattr(os, "walk", walk)
    assert requests.status(folder, progress=quiet())["megabytes"] == before / 1e6
