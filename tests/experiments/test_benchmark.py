"""The benchmark runs and its arithmetic is right; its numbers are not tested."""

import csv

import pytest

from experiments import _benchmark, _timing, _torch_peers, speed
from unlearn import devices

PYTORCH = "PyTorch is an optional benchmark dependency"


def test_ratios_are_our_speed_over_theirs(monkeypatch):
    """On a clock of our own: a call of ours takes 1 s, one of theirs 4 s."""
    now = [0.0]
    monkeypatch.setattr(_timing.time, "perf_counter", lambda: now[0])

    def taking(seconds):
        return lambda: now.__setitem__(0, now[0] + seconds)

    candidates = [
        _timing.Candidate("ours", taking(1), 10),
        _timing.Candidate("theirs", taking(4), 20, target=1.5),
    ]
    ours, theirs = _timing.alternate("sleep", candidates, rounds=3)
    assert (ours.value, ours.ratio) == (10, 1)
    assert (theirs.value, theirs.ratio, theirs.target) == (5, 2, ">= 1.5")


def test_what_was_measured_is_kept_when_a_later_part_fails(tmp_path, monkeypatch):
    def one(config):
        yield _timing.Row("sleep", "ours", 2.0, "examples/s", 1.0, "", 0.5)

    def fails(config):
        raise RuntimeError
        yield

    monkeypatch.setattr(_benchmark, "PARTS", {"one": one, "fails": fails})
    config = speed.get_config("smoke")
    config.parts = "one", "fails"
    with pytest.raises(RuntimeError):
        speed.run(config, tmp_path)
    assert "sleep,ours,2.0" in (tmp_path / "speed.csv").read_text()
    assert "ours" in (tmp_path / "speed.md").read_text()


def test_a_ratio_is_the_median_of_the_ratios_of_a_round(monkeypatch):
    now, ours, theirs = [0.0], iter([9, 1, 2, 4]), iter([9, 4, 2, 2])
    monkeypatch.setattr(_timing.time, "perf_counter", lambda: now[0])

    def taking(seconds):
        return lambda: now.__setitem__(0, now[0] + next(seconds))

    candidates = [
        _timing.Candidate("ours", taking(ours), 1),
        _timing.Candidate("theirs", taking(theirs), 1),
    ]
    _, row = _timing.alternate("sleep", candidates, rounds=3)
    assert row.ratio == 1  # of 4, 1 and 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        *(("train", "evaluation"), ("resnet", "fisher"), ("models", "audit")),
        *(
            ("presets", "devices"),
            ("streaming", "growth"),
            ("modes", "shadows", "accuracy"),
        ),
    ],
)
def test_smoke(parts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_torch_peers, "has_torch", lambda: False)
    config = speed.get_config("smoke")
    config.parts = parts
    with config.unlocked():  # one of each is enough
        del config.fast["to_94_random"], config.fast["to_96"]
        del config.shadows.nets["resnet9"]
    speed.run(config, tmp_path)
    with (tmp_path / "speed.csv").open() as file:
        rows = list(csv.DictReader(file))
    differences = "points", "millionths"
    assert all(float(r["value"]) > 0 for r in rows if r["unit"] not in differences)
    apart = "forgetting score", "peak memory", "growth"
    compiled = [row for row in rows if not row["comparison"].startswith(apart)]
    compiled = [row for row in compiled if row["unit"] not in ("%", *differences)]
    assert all(float(row["compile_seconds"]) > 0 for row in compiled)
    table = (tmp_path / "speed.md").read_text()
    assert _timing.machine(devices.describe()) in table
    assert table in capsys.readouterr().out
    assert sum(row["candidate"] in table for row in rows) == len(rows)
    if "devices" in parts:
        (apart,) = [row for row in rows if row["unit"] == "millionths"]
        assert 0 <= float(apart["value"]) < 10  # of the losses of one device
    if "accuracy" in parts:
        tested = [row for row in rows if row["comparison"].endswith("to_94")]
        tested = [row["candidate"] for row in tested if row["unit"] == "%"]
        both = "test accuracy, ", "test accuracy, mean over mirror images, "
        assert tested == [f"{words}2 trainings" for words in both]


def test_recipes_side_by_side_differ_in_their_flips_alone():
    fast = speed.get_config("full").to_dict()["fast"]
    one, other = fast["to_94"], fast["to_94_random"]
    assert one["augment"].pop("alternate_flip") is True
    assert other["augment"].pop("alternate_flip") is False
    assert one == other and one["augment"]["flip"]


def test_all_parts_are_measured_on_a_cpu_or_an_accelerator():
    parts = {*speed.get_config("cpu").parts, *speed.get_config("full").parts}
    assert parts == set(_benchmark.PARTS)


def test_torch_nets_have_our_parameters():
    pytest.importorskip("torch", reason=PYTORCH)
    count = {
        206_922: _torch_peers.make_cnn((16, 32), "each", 28),
        1_625_866: _torch_peers.make_cnn((32, 64), "last", 28),
        11_173_962: _torch_peers.make_resnet18(64),
        288_746: _torch_peers.make_poolnet((32, 64, 128)),
    }
    for expected, net in count.items():
        assert sum(p.numel() for p in net.parameters()) == expected


@pytest.mark.slow
def test_smoke_with_torch(tmp_path):
    pytest.importorskip("torch", reason=PYTORCH)
    config = speed.get_config("smoke")
    speed.run(config, tmp_path)
    assert "PyTorch" in (tmp_path / "speed.csv").read_text()
