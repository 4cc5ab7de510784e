"""The chain of the ledger: nothing in it changes unnoticed."""

import json

import pytest

from unlearn.errors import InputError
from unlearn.requests import ledger


@pytest.fixture
def folder(tmp_path):
    ledger.append(tmp_path, [{"kind": "deploy", "number": 0}])
    ledger.append(tmp_path, [{"number": 1, "reason": "a"}])
    ledger.append(tmp_path, [{"number": 2}, {"number": 3, "ids": ["é", "b\n"]}])
    return tmp_path


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_lines_follow_each_other(folder):
    lines = ledger.read(folder)
    assert [line["number"] for line in lines] == [0, 1, 2, 3]
    assert [line["batch"] for line in lines] == [1, 1, 2, 1]
    assert [line["previous"] for line in lines[1:]] == [x["hash"] for x in lines[:-1]]
    assert lines[3]["ids"] == ["é", "b\n"]
    assert (folder / "ledger.jsonl").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("name", ["ledger.jsonl", "head.json"])
def test_every_flipped_byte_is_found_and_the_file_named(folder, name):
    data = (folder / name).read_bytes()
    for place in range(0, len(data), 1 if name == "head.json" else 3):
        (folder / name).write_bytes(flipped(data, place))
        assert name in ledger.inspect(folder).fault, place
        with pytest.raises(InputError, match="backup"):
            ledger.append(folder, [{"number": 4}])
        assert (folder / name).read_bytes() == flipped(data, place)
    (folder / name).write_bytes(data)
    assert not ledger.inspect(folder).fault


def test_the_line_that_was_changed_is_named(folder):
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"reason":"a"', b'"reason":"b"'))
    assert "line 2" in ledger.inspect(folder).fault


def test_a_changed_line_with_a_new_hash_breaks_the_chain(folder):
    path = folder / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["reason"] = "b"
    lines[1]["hash"] = ledger.line_hash(lines[1])
    path.write_text("".join(ledger.canonical(line) + "\n" for line in lines))
    assert "line 3" in ledger.inspect(folder).fault


@pytest.mark.parametrize("drop", [[0], [1], [3], [2, 3], [0, 1, 2, 3]])
def test_missing_lines_are_found(folder, drop):
    path = folder / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(x for i, x in enumerate(lines) if i not in drop))
    assert ledger.inspect(folder).fault


def test_what_a_kill_tore_is_taken_away_and_nothing_else(folder):
    path, head = folder / "ledger.jsonl", folder / "head.json"
    before, old_head = path.read_bytes(), head.read_bytes()
    ledger.append(folder, [{"number": 4}, {"number": 5}])
    after, new_head = path.read_bytes(), head.read_bytes()
    for end in {*range(len(before), len(after), 9), len(after) - 1, len(after)}:
        path.write_bytes(after[:end])
        head.write_bytes(old_head)
        whole = end == len(after)
        assert len(ledger.inspect(folder).lines) == (6 if whole else 4)
        ledger.repair(folder)
        assert path.read_bytes() == (after if whole else before)
        assert head.read_bytes() == (new_head if whole else old_head)


def test_an_older_head_or_none_is_found(folder):
    old = (folder / "head.json").read_bytes()
    for number in (4, 5):
        ledger.append(folder, [{"number": number}])
    (folder / "head.json").write_bytes(old)
    assert "head.json" in ledger.inspect(folder).fault
    (folder / "head.json").unlink()
    assert "head.json" in ledger.inspect(folder).fault


def test_a_first_line_without_its_head_counts(tmp_path):
    ledger.append(tmp_path, [{"number": 0}])
    (tmp_path / "head.json").unlink()
    assert len(ledger.read(tmp_path)) == 1
    ledger.repair(tmp_path)
    assert (tmp_path / "head.json").exists()


@pytest.mark.parametrize("head", ["missing", "older"])
@pytest.mark.parametrize("end", [b"", b"\n", b"x", b'{"batch":1'])
def test_answers_past_an_old_head_are_no_torn_end(tmp_path, head, end):
    """Whatever follows them: one whole batch may follow a head, and nothing else."""
    ledger.append(tmp_path, [{"number": 0}])
    before = (tmp_path / "head.json").read_bytes()
    for number in (1, 2):
        ledger.append(tmp_path, [{"number": number}])
    if head == "missing":
        (tmp_path / "head.json").unlink()
    else:
        (tmp_path / "head.json").write_bytes(before)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + end)
    kept = path.read_bytes()
    assert "missing or older" in ledger.inspect(tmp_path).fault
    with pytest.raises(InputError, match="backup"):
        ledger.append(tmp_path, [{"number": 3}])
    assert path.read_bytes() == kept


@pytest.mark.parametrize("end", [b"\n", b"x"])
def test_of_one_batch_past_the_head_nothing_may_follow(tmp_path, end):
    ledger.append(tmp_path, [{"number": 0}])
    before = (tmp_path / "head.json").read_bytes()
    ledger.append(tmp_path, [{"number": 1}, {"number": 2}])
    (tmp_path / "head.json").write_bytes(before)
    assert len(ledger.read(tmp_path)) == 3  # killed before the head was written
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + end)
    assert "missing or older" in ledger.inspect(tmp_path).fault
