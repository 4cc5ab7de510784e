"""The run folder: damage, leftovers, other runs, stops; nothing is lost."""

import gc
import json
import shutil
import weakref

import jax
import pytest
from small_runs import Silent, results, run

from unlearn import devices, store
from unlearn.errors import InputError
from unlearn.pipeline import stages


@pytest.mark.slow
def test_running_again_changes_nothing(finished):
    folder, _ = finished
    changing = "manifest.json", ".lock"
    files = [p for p in folder.rglob("*") if p.is_file() and p.name not in changing]
    before = {p: p.read_bytes() for p in files if p.suffix != ".png"}
    starts = len(store.read_json(folder / "manifest.json")["starts"])
    run(folder)
    assert {p: p.read_bytes() for p in before} == before
    assert len(store.read_json(folder / "manifest.json")["starts"]) == starts + 1


class Stop(BaseException):
    pass


@pytest.mark.slow
def test_stopped_anywhere_it_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch):
    """An exception at the n-th write of a file, for many n, then the same command."""
    folder, _ = finished
    monkeypatch.setattr(stages, "CHECKPOINT_SECONDS", -1.0)
    again, write = tmp_path / "small", store.files.write_bytes
    stops = 0
    for allowed in range(0, 200, 3):
        left = allowed

        def write_or_stop(path, data):
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop
            write(path, data)

        monkeypatch.setattr(store.files, "write_bytes", write_or_stop)
        try:
            run(again)
            break
        except Stop:
            stops += 1
    assert stops >= 6
    drop = ("seconds", "compile_seconds")
    for a, b in zip(results(folder), results(again), strict=True):
        assert {k: v for k, v in a.items() if k not in drop} == {
            k: v for k, v in b.items() if k not in drop
        }
    sums = sorted(p.relative_to(folder) for p in folder.rglob("checksum.json"))
    assert sums == sorted(p.relative_to(again) for p in again.rglob("checksum.json"))
    for name in sums:
        assert (folder / name).read_bytes() == (again / name).read_bytes()
    lines = store.Log(again / "log.jsonl").lines
    epochs = [(x["stage"], x["seed"], x["epoch"]) for x in lines]
    assert len(epochs) == len(set(epochs))
    whole = store.Log(folder / "log.jsonl").lines
    assert set(epochs) == {(x["stage"], x["seed"], x["epoch"]) for x in whole}


@pytest.fixture
def copy_of_finished(finished, tmp_path):
    """A folder that a test may damage."""
    folder = tmp_path / finished[0].name
    shutil.copytree(finished[0], folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, seed, suffix", [("original", 0, ".npz"), ("finetune", 1, ".json")]
)
def test_a_deleted_evaluation_is_computed_anew(copy_of_finished, name, seed, suffix):
    """And all rows are there, before it and after it."""
    before = results(copy_of_finished)
    path = copy_of_finished / "evaluations" / name / f"{seed}{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[:99])
    with pytest.raises(InputError, match=f"{seed}{suffix} is damaged.*delete it"):
        run(copy_of_finished)
    path.unlink()
    run(copy_of_finished)
    assert path.read_bytes() == content and results(copy_of_finished) == before


@pytest.mark.slow
def test_a_deleted_checkpoint_is_made_anew(copy_of_finished):
    before = results(copy_of_finished)
    final = copy_of_finished / "checkpoints" / "finetune" / "0" / "final"
    weights = (final / "checksum.json").read_text()
    shutil.rmtree(final)
    run(copy_of_finished)
    drop = {"seconds", "compile_seconds"}
    for old, new in zip(before, results(copy_of_finished), strict=True):
        assert {k: v for k, v in old.items() if k not in drop} == {
            k: v for k, v in new.items() if k not in drop
        }
    old, new = json.loads(weights), json.loads((final / "checksum.json").read_text())
    assert old["sha256"] == new["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("finetune,0,", "finetune,0,0.123", 1),
        lambda text: text.replace("ok", "nan", 1),
        lambda text: "\n".join(text.splitlines()[:3]),
        lambda text: text.replace("retain_accuracy", "other", 1),
        lambda text: "\x00\xff,,\n\n1",
    ],
)
def test_results_are_written_anew_whatever_the_file_says(copy_of_finished, edit):
    path = copy_of_finished / "results.csv"
    before = path.read_text()
    path.write_text(edit(before))
    result = run(copy_of_finished)
    assert path.read_text() == before
    assert len(result.rows) == 8


@pytest.mark.slow
def test_a_finished_run_looks_at_its_weights(copy_of_finished):
    """One flipped byte of any model is found, and the remedy works."""
    final = copy_of_finished / "checkpoints" / "ssd" / "1" / "final"
    files = [p for p in (final / "state").rglob("*") if p.is_file()]
    file = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="ssd/1/final.*delete that folder"):
        run(copy_of_finished)
    shutil.rmtree(final)
    run(copy_of_finished)


@pytest.mark.slow
def test_rows_of_another_run_are_refused(copy_of_finished, tmp_path):
    run(tmp_path / "other", train__epochs=1, seeds=1)
    for part in ("evaluations", "checkpoints"):
        shutil.rmtree(copy_of_finished / part / "retrain")
        shutil.copytree(
            tmp_path / "other" / part / "retrain", copy_of_finished / part / "retrain"
        )
    with pytest.raises(InputError, match="retrain/0.json is of another run or model"):
        run(copy_of_finished)


@pytest.mark.parametrize(
    "source, target",
    [
        ("finetune/1", "finetune/0"),
        ("finetune/0", "ssd/0"),
        ("retrain/1", "original/1"),
    ],
)
@pytest.mark.slow
def test_a_model_is_not_taken_for_another(copy_of_finished, source, target):
    """Rows, logits and weights of another seed or model; or its weights alone."""
    for part in ("evaluations", "checkpoints"):
        for suffix in (".npz", ".json") if part == "evaluations" else ("",):
            old = copy_of_finished / part / f"{source}{suffix}"
            new = copy_of_finished / part / f"{target}{suffix}"
            if new.is_dir():
                shutil.rmtree(new)
                shutil.copytree(old, new)
            else:
                shutil.copy(old, new)
    with pytest.raises(InputError, match=f"{target}.json is of another run or model"):
        run(copy_of_finished)
    shutil.rmtree(copy_of_finished / "evaluations")
    with pytest.raises(InputError, match=f"{target}/final is of another run or model"):
        run(copy_of_finished)


@pytest.mark.slow
@pytest.mark.parametrize("gone", [["config.json"], ["config.json", "checkpoints"]])
def test_what_another_run_left_is_refused(copy_of_finished, gone):
    for name in gone:
        path = copy_of_finished / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match="without a config.json"):
        run(copy_of_finished)


def test_other_sets_in_the_folder_are_refused(copy_of_finished):
    path = copy_of_finished / "split.npz"
    sets = store.load_arrays(path)
    sets["forget"], sets["validation"] = sets["validation"], sets["forget"]
    store.save_arrays(path, sets)
    with pytest.raises(InputError, match="split.npz holds other sets"):
        run(copy_of_finished)


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"data": {}, "starts": [1]}'])
def test_a_damaged_manifest_is_one_line(copy_of_finished, text):
    (copy_of_finished / "manifest.json").write_text(text)
    words = "manifest.json (is damaged|cannot be read)"
    with pytest.raises(InputError, match=words) as caught:
        run(copy_of_finished)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_each_start_is_in_the_manifest_and_other_versions_are_said(
    copy_of_finished, monkeypatch
):
    describe = devices.describe

    def elsewhere():
        return describe() | {"devices": 64}

    progress = Silent()
    path = copy_of_finished / "manifest.json"
    starts = len(store.read_json(path)["starts"])
    run(copy_of_finished, progress=progress)
    assert not any("Warning" in line for line in progress.lines)
    monkeypatch.setattr(devices, "describe", elsewhere)
    run(copy_of_finished, progress=progress)
    (warning,) = [line for line in progress.lines if "Warning" in line]
    assert "64 now" in warning
    starts = store.read_json(path)["starts"][starts:]
    assert [start["devices"] == 64 for start in starts] == [False, True]
    assert all(start["created"] and start["versions"]["jax"] for start in starts)


@pytest.mark.slow
def test_nothing_of_the_data_stays_in_memory(tmp_path):
    """Neither on the device nor on the host, once the result is dropped."""

    def images():
        return [
            array.shape for array in jax.live_arrays() if array.shape[1:] == (7, 5, 1)
        ]

    name = "synthetic:7x5x1,classes=3,train=200,test=90"
    methods = "finetune", "gradient_ascent", "ssd"
    result = run(tmp_path / "x", seeds=1, run=methods, data__name=name)
    kept = weakref.ref(result.run)
    assert images()
    del result
    gc.collect()
    assert kept() is None and not images()


@pytest.mark.slow
def test_remains_of_killed_saves_are_cleared(tmp_path):
    run(tmp_path / "x", seeds=1, run=())
    seed = tmp_path / "x" / "checkpoints" / "original" / "0"
    for name in ("epoch_0001", ".epoch_0001.partial"):
        (seed / name).mkdir()
    (tmp_path / "x" / "evaluations" / "original" / "0.json").unlink()
    run(tmp_path / "x", seeds=1, run=())
    assert [p.name for p in seed.iterdir()] == ["final"]


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path / "x", seeds=1)
    path = tmp_path / "x" / "checkpoints" / "original" / "0" / "final"
    (path / "checksum.json").write_text('{"sha256": "0"}')
    with pytest.raises(InputError, match="original/0/final is damaged"):
        run(tmp_path / "x", seeds=1)
