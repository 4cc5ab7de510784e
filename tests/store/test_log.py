"""The log of a run: what is kept, and what is dropped."""

import pytest

from unlearn import store
from unlearn.errors import InputError


def line(epoch, stage="original", seed=0):
    return {"stage": stage, "seed": seed, "epoch": epoch}


def test_log_drops_a_torn_line_and_rewinds(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"stage": "a", "seed": 0, "epoch": 1}\n'
        '{"stage": "a", "seed": 0, "epoch": 2}\n{"epo'
    )
    log = store.Log(path)
    log.add(stage="a", seed=0, epoch=3)
    assert [line["epoch"] for line in store.Log(path).lines] == [1, 2, 3]
    log.rewind(lambda line: line["epoch"] != 2)
    assert [line["epoch"] for line in store.Log(path).lines] == [1, 3]


@pytest.mark.parametrize("done", range(6))
def test_rewind_keeps_exactly_the_lines_for_which_keep_is_true(tmp_path, done):
    """Here and in the file; a line too many is an epoch that is logged twice."""
    path = tmp_path / "log.jsonl"
    log = store.Log(path)
    others = [line(epoch, "retrain") for epoch in (1, 2, 3)]
    for entry in [*(line(epoch) for epoch in range(1, 6)), *others]:
        log.add(**entry)
    log.rewind(lambda x: x["stage"] == "retrain" or x["epoch"] <= done)
    expected = [line(epoch) for epoch in range(1, done + 1)] + others
    assert log.lines == expected
    assert store.Log(path).lines == expected
    log.add(**line(done + 1))
    assert store.Log(path).lines == [*expected, line(done + 1)]


def test_nothing_is_written_if_nothing_changes(tmp_path):
    path = tmp_path / "log.jsonl"
    store.Log(path).rewind(lambda line: False)
    assert not path.exists()
    store.Log(path).add(**line(1))
    before = path.stat().st_ino
    store.Log(path).rewind(lambda line: True)
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe\x00\x80",
        b"\x00" * 50,
        b"null",
        b"[1, 2]",
        b"7",
        b'"text"',
        b"{}",
        b'{"stage": "original", "seed": 0}',
        b'{"stage": "original", "epoch": 0}',
        b'{"stage": 1, "seed": 0, "epoch": 0}',
        b'{"stage": "original", "seed": "0", "epoch": 0}',
        b'{"stage": "original", "seed": 0, "epoch": null}',
        b"[" * 100_000,
        b"",
    ],
)
def test_damaged_lines_are_dropped(tmp_path, damage):
    path = tmp_path / "log.jsonl"
    store.Log(path).add(**line(1), loss=float("nan"))
    store.Log(path).add(**line(2), accuracy=None)
    first, second = path.read_bytes().splitlines()
    for content in (
        b"\n".join([first, damage, second, b""]),
        b"\n".join([damage, first, second, b""]),
        b"\n".join([first, second, damage]),
    ):
        path.write_bytes(content)
        log = store.Log(path)
        assert [x["epoch"] for x in log.lines] == [1, 2]
        assert path.read_bytes() == first + b"\n" + second + b"\n"
        log.add(**line(3))
        assert [x["epoch"] for x in store.Log(path).lines] == [1, 2, 3]


def test_a_log_that_cannot_be_read_or_written(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        store.Log(tmp_path / "log.jsonl")
    with pytest.raises(InputError, match="cannot write"):
        store.Log(tmp_path / "none" / "log.jsonl").add(**line(1))
