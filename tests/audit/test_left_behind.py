"""Every file that an audit leaves is counted once, in the group it belongs to."""

import shlex
import subprocess

import pytest

from unlearn.audit.left_behind import left_behind

FILES = {
    "checkpoints/original/0/final/state/d": 100,
    "checkpoints/retrain/0/final/state/d": 7,
    "checkpoints/ssd/0/final/state/d": 10,
    "checkpoints/ssd/1/final/state/d": 11,
    "checkpoints/scrub/0/final/info.json": 12,
    "export/ssd/0.npz": 13,
    "export/ssd/1.npz": 14,
    "export/retrain/0.npz": 8,
    "studies/shadow/original/00000_32.npz": 1000,
    "studies/request/sets.json": 20,
    "evaluations/ssd/0.npz": 30,
    "relearning/ssd/0.npz": 40,
    "relearning/ssd/note.txt": 1,
    "odd name/x.bin": 2,
    "perturbed.npz": 3,
    "split.npz": 50,
    "config.json": 51,
    "salt.json": 52,
    "manifest.json": 53,
    "figures/roc.png": 60,
    "report.json": 61,
    ".lock": 0,
}


@pytest.fixture
def folder(tmp_path):
    for name, size in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return tmp_path


def by_what(groups):
    return {group["what"]: group for group in groups}


def held(folder, group):
    """The files below the paths of a group, as a shell takes them."""
    words = [word for path in group["paths"] for word in shlex.split(path)]
    found = []
    for word in words:
        path = folder / word
        found += (
            [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        )
    return found


@pytest.mark.parametrize("released", [None, ("ssd", 0), ("retrain", 0)])
def test_every_file_is_in_one_group(folder, released):
    groups = left_behind(folder, released)
    files = [path for group in groups for path in held(folder, group)]
    assert len(files) == len(set(files)) == len(FILES)
    for group in groups:
        mine = held(folder, group)
        assert group["files"] == len(mine)
        assert group["bytes"] == sum(path.stat().st_size for path in mine)


def test_what_was_trained_or_measured_on_the_request_is_to_be_deleted(folder):
    groups = by_what(left_behind(folder))
    deleted = {what for what, group in groups.items() if group["advice"] == "delete"}
    assert deleted == {
        "Original models",
        "Shadow models and their answers",
        "Answers of every model",
        "Other measurements",
    }
    assert groups["Original models"]["paths"] == ["checkpoints/original"]
    assert groups["Shadow models and their answers"]["bytes"] == 1020
    assert groups["Other measurements"]["paths"] == [
        "'odd name'",
        "perturbed.npz",
        "relearning",
    ]
    assert groups["Unlearned models"]["paths"] == [
        "checkpoints/scrub",
        "checkpoints/ssd",
        "export/ssd",
    ]


def test_of_unlearned_models_only_the_released_one_stays(folder):
    groups = by_what(left_behind(folder, ("ssd", 0)))
    assert groups["Released model"]["paths"] == [
        "checkpoints/ssd/0",
        "export/ssd/0.npz",
    ]
    assert groups["Released model"]["advice"] == "keep"
    assert groups["Other unlearned models"]["paths"] == [
        "checkpoints/scrub",
        "checkpoints/ssd/1",
        "export/ssd/1.npz",
    ]
    assert groups["Other unlearned models"]["advice"] == "delete"


def test_the_command_of_the_page_deletes_just_that(folder):
    groups = left_behind(folder, ("ssd", 0))
    paths = [p for g in groups if g["advice"] == "delete" for p in g["paths"]]
    subprocess.run(["sh", "-c", f"rm -r -- {' '.join(paths)}"], cwd=folder, check=True)
    left = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert left == {
        "checkpoints/ssd/0/final/state/d",
        "checkpoints/retrain/0/final/state/d",
        "export/ssd/0.npz",
        "export/retrain/0.npz",
        "split.npz",
        "config.json",
        "salt.json",
        "manifest.json",
        "figures/roc.png",
        "report.json",
        ".lock",
    }
    assert not [g for g in left_behind(folder, ("ssd", 0)) if g["advice"] == "delete"]


@pytest.mark.parametrize("released", [None, ("ssd", 0), ("retrain", 0)])
def test_a_stray_file_does_not_take_the_kept_ones_with_it(folder, released):
    stray = "checkpoints/.DS_Store", "export/a b.txt", "figures/odd.npz"
    for name in stray:
        (folder / name).write_bytes(b"x")
    groups = left_behind(folder, released)
    measured = by_what(groups)["Other measurements"]["paths"]
    assert {shlex.split(path)[0] for path in measured} >= set(stray)
    kept = [g for g in groups if g["advice"] == "keep"]
    before = [path for group in kept[:-1] for path in held(folder, group)]
    paths = [p for g in groups if g["advice"] == "delete" for p in g["paths"]]
    subprocess.run(["sh", "-c", f"rm -r -- {' '.join(paths)}"], cwd=folder, check=True)
    assert all(path.exists() for path in before)
    assert (folder / "figures/roc.png").exists()
    assert not [name for name in stray if (folder / name).exists()]


def test_the_advice_on_unlearned_models_does_not_contradict_itself(folder):
    group = by_what(left_behind(folder))["Unlearned models"]
    assert group["advice"] == "keep" and not group["why"].startswith("delete")
