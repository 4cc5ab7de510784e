"""The benchmark runs and its arithmetic is right; its numbers are not tested."""

import csv
import time

import pytest

from experiments.speed import get_config
from unlearn import speed


def test_ratios_are_our_speed_over_theirs():
    candidates = [
        speed.Candidate("ours", lambda: time.sleep(0.01), 10),
        speed.Candidate("theirs", lambda: time.sleep(0.04), 20, target=1.5),
    ]
    ours, theirs = speed.alternate("sleep", candidates, rounds=3)
    assert ours.ratio == 1 and ours.value == pytest.approx(1000, rel=0.3)
    assert theirs.ratio == pytest.approx(2, rel=0.3)
    assert theirs.target == ">= 1.5"


@pytest.mark.parametrize(
    "parts", [("train", "evaluation"), ("resnet", "fisher"), ("models", "audit")]
)
def test_smoke(parts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "has_torch", lambda: False)
    config = get_config("smoke")
    config.parts = parts
    speed.run(config, tmp_path)
    with (tmp_path / "speed.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["value"]) > 0 for row in rows)
    compiled = [row for row in rows if row["comparison"] != "forgetting score"]
    assert all(float(row["compile_seconds"]) > 0 for row in compiled)
    table = (tmp_path / "speed.md").read_text()
    assert table in capsys.readouterr().out
    assert sum(row["candidate"] in table for row in rows) == len(rows)


def test_torch_nets_have_our_parameters():
    pytest.importorskip("torch", reason="PyTorch is an optional benchmark dependency")
    count = {
        206_922: speed.torch_cnn((16, 32), "each", 28),
        1_625_866: speed.torch_cnn((32, 64), "last", 28),
        11_173_962: speed.torch_resnet18(64),
    }
    for expected, net in count.items():
        assert sum(p.numel() for p in net.parameters()) == expected


@pytest.mark.slow
def test_smoke_with_torch(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is an optional benchmark dependency")
    config = get_config("smoke")
    speed.run(config, tmp_path)
    assert "PyTorch" in (tmp_path / "speed.csv").read_text()
